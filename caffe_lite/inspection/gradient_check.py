"""The gradient check for authors of layers: a layer's gradients are compared with differences of its outputs.

A random direction, as in HIPS autograd, takes two evaluations; a derivative for each element would take two per
element.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..net.wiring import Node
from ..pycaffe.net import Net

STEP = 1e-5
TOLERANCE = 1e-6


def check_gradients(net: Net, layer: str, seed: int = 0, tops: Sequence[str] | None = None) -> None:
    """Raise an AssertionError unless every gradient of a layer is that of <r, tops> for random weights r.

    Args:
        net: made with ``dtype="float64"`` and with its inputs filled. No output may jump or bend between these values
            and values ``STEP`` away from them. ``force_backward: true`` lets gradients reach the inputs.
        layer: the layer's name in the net. The gradients of all its bottoms and learnable parameters are checked.
        seed: for the weights and directions.
        tops: the tops that count, if not all do.
    """
    rng = np.random.default_rng(seed)
    graph = net._caffe_graph
    random_state = graph.rng.bit_generator.state
    node = graph.node(layer)
    names = node.top_names if tops is None else tops

    def forward() -> list[np.ndarray]:
        graph.rng.bit_generator.state = random_state
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
        if not abs(products.sum() - expected) <= TOLERANCE * (1 + np.abs(products).sum()):
            raise AssertionError(
                f"the gradient of {name} along a direction is {products.sum():.9g}, the difference {expected:.9g}"
            )


def _variables(net: Net, node: Node) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield name, data and diff of everything that the layer can have a gradient for."""
    for i, name in enumerate(node.bottom_names):
        if node.layer.gradient_reaches(i, len(node.bottom)):
            yield name, net.blobs[name].data, net.blobs[name].diff
    for param in net._caffe_graph.learnable_params:
        if param.owner is node and param.lr_mult:
            blob = net.params[node.name][param.index]
            yield f"param {param.index}", blob.data, blob.diff
