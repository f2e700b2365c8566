"""Nets of one layer whose gradients are to be checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from google.protobuf import text_format

from caffe_lite import TRAIN, Net
from caffe_lite.inspection.gradient_check import check_gradients
from caffe_lite.proto import caffe_pb2

Values = Callable[[np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Bottom:
    """A bottom of a layer in a test case.

    The values lie between -2 and 2, away from 0 and from each other, also across the bottoms of a case, so that no
    step of a difference crosses a kink; or ``values`` makes them.
    """

    shape: tuple[int, ...]
    values: Values | None = None

    def fill(self, rng: np.random.Generator, index: int, of: int) -> np.ndarray:
        if self.values is not None:
            return self.values(rng)
        size = int(np.prod(self.shape))
        grid = rng.permutation(size) - size // 2 + (index + 1) / (of + 1)
        return (4 / size * grid).reshape(self.shape)


def positive(*shape: int) -> Bottom:
    return Bottom(shape, lambda rng: rng.uniform(0.5, 2, shape))


def labels(classes: int, *shape: int) -> Bottom:
    """Draw whole numbers from 0 on; every class except the last appears if there is room."""
    return Bottom(shape, lambda rng: rng.permutation(np.arange(np.prod(shape, dtype=int)) % classes).reshape(shape))


def make_net(
    layer: str,
    bottoms: Sequence[Bottom],
    tops: int = 1,
    *,
    engine: str,
    phase: int = TRAIN,
    chain: str | None = None,
    seed: int = 0,
    dtype: str = "float64",
) -> Net:
    """Make a net of one layer (prototxt without name, bottoms and tops), with its inputs and parameters filled.

    With ``chain``, "in place" or "apart", the layer is between two Sigmoids.
    """
    inputs = [f"x{i}" for i in range(len(bottoms))]
    text = "force_backward: true\n"
    for name, bottom in zip(inputs, bottoms, strict=True):
        dims = " ".join(f"dim: {n}" for n in bottom.shape)
        text += f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'
    names = [*inputs, *(f"y{i}" for i in range(tops))]
    if chain:
        before, top, after = ("a", "a", "a") if chain == "in place" else ("a", "b", "c")
        names = [before, top]
        text += f'layer {{ name: "before" type: "Sigmoid" bottom: "x0" top: "{before}" }}\n'
    ends = " ".join(f'{"bottom" if i < len(bottoms) else "top"}: "{name}"' for i, name in enumerate(names))
    text += f'layer {{ name: "under_test" {ends} {layer} }}\n'
    if chain:
        text += f'layer {{ name: "after" type: "Sigmoid" bottom: "{top}" top: "{after}" }}\n'
    net = Net(text_format.Parse(text, caffe_pb2.NetParameter()), phase, engine=engine, dtype=dtype, seed=seed)
    rng = np.random.default_rng(seed)
    for i, (name, bottom) in enumerate(zip(inputs, bottoms, strict=True)):
        net.blobs[name].data[...] = bottom.fill(rng, i, len(bottoms))
    for blob in net.params.get("under_test", ()):
        blob.data[...] = rng.uniform(0.5, 1.5, blob.shape)
    return net


def check(net: Net, seed: int = 0, layer: str = "under_test", tops: Sequence[str] | None = None) -> None:
    """Assert that every gradient of a layer is that of <r, tops> for random weights r, over all tops or these."""
    check_gradients(net, layer, seed, tops)
