"""A single layer between an input ``x`` and an output ``y`` with one axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from caffe_lite import Net


def neuron(make_net: Callable[..., Net], layer: str, size: int = 1) -> Net:
    return make_net(
        f"""force_backward: true
        layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ dim: {size} }} }} }}
        layer {{ name: "out" bottom: "x" top: "y" {layer} }}"""
    )


def outcome(make_net: Callable[..., Net], layer: str, x: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the layer's results for these numbers, and the gradient of their sum."""
    net = neuron(make_net, layer, len(x))
    net.forward(x=np.array(x))
    net.blobs["y"].diff[...] = 1
    net.backward()
    return net.blobs["y"].data, net.blobs["x"].diff
