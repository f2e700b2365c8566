from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net

LABELS = Bottom((5, 1), lambda rng: np.array([[2], [0], [2.9], [3], [2]]))


@pytest.mark.parametrize("kind", ["L1", "L2"])
def test_the_loss_and_what_moves_the_centres(kind, engine) -> None:
    param = f'loss_weight: 0.25 center_loss_param {{ num_output: 5 distance_type: "{kind}" }}'
    net = make_layer_net(f'type: "CenterLoss" {param}', [Bottom((5, 2, 3)), LABELS], engine=engine)
    net.forward()
    net.backward()
    x, (centres,) = net.blobs["x0"].data.reshape(5, 6), net.params["under_test"]
    loss, dx, dc, members = 0.0, np.zeros((5, 6)), np.zeros((5, 6)), np.zeros(5)
    for n, label in enumerate([2, 0, 2, 3, 2]):
        for k in range(6):
            d = x[n, k] - centres.data[label, k]
            loss += abs(d) if kind == "L1" else d**2 / 2
            slope = np.sign(d) if kind == "L1" else d
            dx[n, k] = slope / 5
            dc[label, k] -= slope
        members[label] += 1
    assert float(net.blobs["y0"].data) == pytest.approx(loss / 5)
    np.testing.assert_allclose(net.blobs["x0"].diff.reshape(5, 6), 0.25 * dx, rtol=1e-12)
    np.testing.assert_allclose(centres.diff, dc / (1 + members[:, None]), rtol=1e-12)  # not weighted


@pytest.mark.parametrize(
    ("param", "bottoms", "what"),
    [
        ("", [Bottom((5, 2)), LABELS], "num_output is 0. Give center_loss_param the number of classes"),
        ('num_output: 5 distance_type: "L3"', [Bottom((5, 2)), LABELS], "distance_type is 'L3'"),
        ("num_output: 5", [Bottom((4, 2)), LABELS], "the vectors (4, 2) need 4 labels, and the labels (5, 1) are 5"),
        ("num_output: 3", [Bottom((5, 2)), LABELS], "index 3 of sample 3 is none of the 3 centres, 0 to 2"),
    ],
)
def test_what_is_refused(param, bottoms, what, engine) -> None:
    with pytest.raises(LayerError) as error:
        make_layer_net(f'type: "CenterLoss" center_loss_param {{ {param} }}', bottoms, engine=engine).forward()
    assert what in str(error.value)


def test_vectors_of_another_size(engine) -> None:
    net = make_layer_net(
        'type: "CenterLoss" center_loss_param { num_output: 4 }', [Bottom((5, 2)), LABELS], engine=engine
    )
    net.blobs["x0"].reshape(5, 3)
    with pytest.raises(LayerError, match="3 values for each sample, the centres have 2"):
        net.reshape()
