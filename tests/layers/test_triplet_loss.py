from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net


@pytest.mark.parametrize("margin", [None, 0.2, 30])
def test_each_triplet(margin, engine) -> None:
    param = "" if margin is None else f"triplet_loss_param {{ margin: {margin} }}"
    net = make_layer_net(f'type: "TripletLoss" {param}', [Bottom((6, 2, 2))] * 3, engine=engine)
    net.forward()
    net.backward()
    loss = 0.0
    for n in range(6):
        a, p, q = (net.blobs[f"x{i}"].data[n].ravel() for i in range(3))
        cost = float(np.float32(margin or 1)) + np.dot(a - p, a - p) - np.dot(a - q, a - q)
        loss += max(cost, 0) / 12
        for i, dx in enumerate([q - p, p - a, a - q]):
            np.testing.assert_allclose(net.blobs[f"x{i}"].diff[n].ravel(), dx / 6 if cost > 0 else 0 * dx, rtol=1e-12)
    assert float(net.blobs["y0"].data) == pytest.approx(loss)
    assert net.blobs["x0"].diff.any()


@pytest.mark.parametrize("at", [1, 2])
def test_vectors_of_different_sizes(at, engine) -> None:
    bottoms = [Bottom((6, 4))] * 3
    bottoms[at] = Bottom((6, 5))
    with pytest.raises(LayerError, match="4 and 5 values for each sample"):
        make_layer_net('type: "TripletLoss"', bottoms, engine=engine)
