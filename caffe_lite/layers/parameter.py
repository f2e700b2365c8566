"""Parameter: a learned blob as the output of a layer."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from .common.fillers import fill
from .input import sizes


@register_layer("Parameter")
class ParameterLayer(Layer):
    """A blob that is learned: the top shares its data and diff.

    Top and blob: the shape given in ``parameter_param``. The blob starts as zeros, or with the values of ``filler``,
    which OpenVINO's fork adds, or ``blob_filler``, as happynear's calls it.
    Source: the original's parameter_layer.hpp. Differences: gradients of several passes (iter_size) add up (in the
    original only the last one counts); a loss_weight of the top has an effect (the original loses it).
    """

    kind = Kind.DATA
    formula = r"y = w"
    bottoms = (0, 0)
    is_constant = True
    reads_fork_fields = ("ParameterParameter.filler", "ParameterParameter.blob_filler")

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.parameter_param
        self.blobs = [Blob(self.ops, sizes(self, p.shape.dim))]
        for field in ("filler", "blob_filler"):
            if p.HasField(field):
                fill(self.blobs[0], getattr(p, field), self.rng)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].Reshape(self.blobs[0].shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data = self.blobs[0].data
        self.saved.lent = None
        if not any(self.param.loss_weight):
            top[0].diff = self.blobs[0].diff  # one array: writing into one diff writes into the other
            top[0].diff_is_shared = self.blobs[0].diff_is_shared = True
            self.saved.lent = top[0].diff

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        return [g.value(self.blobs[0])]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        blob = self.blobs[0]
        if self.param_propagate_down[0] and not (blob.has_diff and top[0].diff is self.saved.lent):
            blob.add_diff(top[0].diff)
