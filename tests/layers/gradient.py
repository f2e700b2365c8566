"""The directional gradient check: a layer's gradients against differences of its outputs, along random directions.

One direction takes two evaluations where one derivative per element would take two each (as HIPS autograd checks).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from google.protobuf import text_format

from caffe_lite.net import TRAIN, Net, Node
from caffe_lite.proto import caffe_pb2

Values = Callable[[np.random.Generator], np.ndarray]
STEP = 1e-5


@dataclass(frozen=True)
class Bottom:
    """What a case gives a layer to read.

    The values lie between -2 and 2, keep away from 0 and from each other, also across the bottoms of a case, so that
    no step of a difference meets a kink; or ``values`` makes them.
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
    """Whole numbers from 0 on; every class but the last appears where there is room."""
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
) -> Net:
    """A float64 net of one layer (a prototxt's text without name, bottoms and tops), its inputs and parameters filled.

    With ``chain``, "in place" or "apart", the layer stands between two Sigmoids.
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
    net = Net(text_format.Parse(text, caffe_pb2.NetParameter()), phase, engine=engine, dtype="float64", seed=seed)
    rng = np.random.default_rng(seed)
    for i, (name, bottom) in enumerate(zip(inputs, bottoms, strict=True)):
        net.blobs[name].data[...] = bottom.fill(rng, i, len(bottoms))
    for blob in net.params.get("under_test", ()):
        blob.data[...] = rng.uniform(0.5, 1.5, blob.shape)
    return net


def check(net: Net, seed: int = 0, layer: str = "under_test", tops: Sequence[str] | None = None) -> None:
    """Assert that every gradient of a layer is that of <r, tops> for random weights r; of all tops, or of these."""
    rng = np.random.default_rng(seed)
    random_state = net.rng.bit_generator.state
    node = net.node(layer)
    names = node.top_names if tops is None else tops

    def forward() -> list[np.ndarray]:
        net.rng.bit_generator.state = random_state
        net.forward()
        return [net.blobs[name].data for name in names]

    weights = [rng.standard_normal(y.shape) for y in forward()]
    for name, weight in zip(names, weights, strict=True):
        net.blobs[name].diff[...] = weight
    net.clear_param_diffs()
    net.backward()

    variables = list(_variables(net, node))
    gradients = {name: diff.copy() for name, _, diff in variables}
    for name, data, _ in variables:
        direction, kept = rng.uniform(-1, 1, data.shape), data.copy()
        values = []
        for step in (STEP, -STEP):
            data[...] = kept + step * direction
            values.append(sum(float(np.sum(w * y)) for w, y in zip(weights, forward(), strict=True)))
        data[...] = kept
        expected = (values[0] - values[1]) / (2 * STEP)
        products = gradients[name] * direction
        assert abs(products.sum() - expected) <= 1e-6 * (1 + np.abs(products).sum()), (
            f"the gradient of {name} along a direction is {products.sum():.9g}, the difference {expected:.9g}"
        )


def _variables(net: Net, node: Node) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, data and diff of all that the layer can have a gradient in."""
    for i, name in enumerate(node.bottom_names):
        if node.layer.gradient_reaches(i, len(node.bottom)):
            yield name, net.blobs[name].data, net.blobs[name].diff
    for param in net.learnable_params:
        if param.owner is node and param.lr_mult:
            blob = net.params[node.name][param.index]
            yield f"param {param.index}", blob.data, blob.diff
