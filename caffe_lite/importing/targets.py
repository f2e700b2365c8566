"""Which layers an imported net may have: BVLC's of Caffe 1.0, SSD's besides, or every one that caffe_lite has."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A Caffe that the net is for. ``layers`` are its types that imported nets use; None stands for all.

    ``PoolingParameter.round_mode`` and the like, besides types, name fields that Caffe 1.0 lacks.
    """

    name: str
    title: str
    layers: Collection[str] | None

    def has(self, layers: Collection[str]) -> bool:
        """Return whether it has all these layers."""
        return self.layers is None or set(layers) <= set(self.layers)


_BVLC = frozenset(
    (
        *("AbsVal", "ArgMax", "BatchNorm", "Bias", "BNLL", "Concat", "Convolution", "Deconvolution", "ELU", "Eltwise"),
        *("Embed", "Exp", "Flatten", "InnerProduct", "Input", "Log", "LRN", "LSTM", "MVN", "Parameter", "Pooling"),
        *("Power", "PReLU", "ReLU", "Reduction", "Reshape", "Scale", "Sigmoid", "Silence", "Slice", "Softmax", "Split"),
        *("TanH", "Threshold", "Tile"),
    )
)
TARGETS = {
    target.name: target
    for target in (
        Target("bvlc", "BVLC's Caffe 1.0", _BVLC),
        Target("ssd", "SSD's Caffe", _BVLC | {"DetectionOutput", "Normalize", "Permute", "PriorBox"}),
        Target("all", "caffe_lite", None),
    )
}
