from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net

SHAPE = (2, 3, 2, 4)


def some_unknown(rng: np.random.Generator) -> np.ndarray:
    values = rng.uniform(-2, 2, SHAPE)
    values[0, :, 1, 2] = values[1, 0, 0, 0] = np.nan
    return values


def flownet(d: np.ndarray, lengths=False, mean=False, entries=False, plateau=0.0, eps=0.0):
    """Return the loss and its gradient in d."""
    known = ~np.isnan(d)
    divisor = known.sum() / 3 if entries else 2
    loss, slope = 0.0, np.zeros(d.shape)
    for n, h, w in np.ndindex(2, 2, 4):
        vector = np.nan_to_num(d[n, :, h, w])
        if lengths:
            square = sum(vector**2) / (3 if mean else 1)
            flat = square < plateau**2
            loss += np.sqrt((0 if flat else square) + eps)
            if not flat:
                slope[n, :, h, w] = vector / np.sqrt(square + eps) / (3 if mean else 1)
            continue
        for c in range(3):
            if known[n, c, h, w] and abs(vector[c]) >= plateau:
                loss += abs(vector[c])
                slope[n, c, h, w] = 1 if vector[c] > 0 else -1
    return loss / divisor, np.where(known, slope, 0) / divisor


@pytest.mark.parametrize("bottoms", [1, 2])
@pytest.mark.parametrize(
    ("param", "options"),
    [
        ("", {}),
        ("plateau: 0.5 normalize_by_num_entries: true", {"plateau": 0.5, "entries": True}),
        ("l2_per_location: true epsilon: 0.25 normalize_by_num_entries: true", {"eps": 0.25, "entries": True}),
        (
            "l2_per_location: true epsilon: 0.25 l2_prescale_by_channels: true plateau: 1",
            {"eps": 0.25, "mean": True, "plateau": 1},
        ),
    ],
)
def test_flownet(param, options, bottoms, engine) -> None:
    layer = f'type: "L1Loss" loss_weight: 3 l1_loss_param {{ {param} }}'
    net = make_layer_net(layer, [Bottom(SHAPE, some_unknown), Bottom(SHAPE)][:bottoms], engine=engine)
    net.forward()
    net.backward()
    d = net.blobs["x0"].data - (net.blobs["x1"].data if bottoms > 1 else 0)
    loss, slope = flownet(d, lengths="l2" in param, **options)
    assert float(net.blobs["y0"].data) == pytest.approx(loss)
    np.testing.assert_allclose(net.blobs["x0"].diff, 3 * slope, rtol=1e-12)
    if bottoms > 1:
        np.testing.assert_array_equal(net.blobs["x1"].diff, -net.blobs["x0"].diff)


def test_nvidia(engine) -> None:
    values = [Bottom((2, 2), lambda rng: np.array([[1, 5], [-3, 2]])), Bottom((2, 2), lambda rng: np.full((2, 2), 2))]
    net = make_layer_net('type: "L1Loss" loss_weight: 4', values, engine=engine)
    net.forward()
    net.backward()
    assert float(net.blobs["y0"].data) == 4.5
    np.testing.assert_array_equal(net.blobs["x0"].diff, [[-2, 2], [-2, 0]])
    np.testing.assert_array_equal(net.blobs["x1"].diff, [[2, -2], [2, 0]])


def test_where_they_agree_flownet_goes_down(engine) -> None:
    zeros = Bottom((1, 2), lambda rng: np.zeros((1, 2)))
    net = make_layer_net('type: "L1Loss"', [zeros], engine=engine)
    net.forward()
    net.backward()
    np.testing.assert_array_equal(net.blobs["x0"].diff, [[-1, -1]])


def test_a_nan_is_nvidias_loss_and_nothing_for_flownet(engine) -> None:
    bottoms = [Bottom(SHAPE, some_unknown), Bottom(SHAPE)]
    for param, known in [("", False), ("l1_loss_param { }", True)]:
        net = make_layer_net(f'type: "L1Loss" {param}', bottoms, engine=engine)
        net.forward()
        assert np.isfinite(net.blobs["y0"].data) == known


def test_nothing_known_costs_nothing(engine) -> None:
    unknown = Bottom((1, 2, 1, 1), lambda rng: np.full((1, 2, 1, 1), np.nan))
    net = make_layer_net('type: "L1Loss" l1_loss_param { normalize_by_num_entries: true }', [unknown], engine=engine)
    net.forward()
    net.backward()
    assert float(net.blobs["y0"].data) == 0
    assert not net.blobs["x0"].diff.any()


@pytest.mark.parametrize(
    ("param", "shapes", "what"),
    [
        ("", [(2, 3), (2, 4)], "have 3 and 4 values for each sample"),
        ("", [(2,)], "the bottom's shape (2,) has no channels"),
        ("plateau: -1", [(2, 3)], "epsilon is 0.01 and plateau is -1. Give numbers of 0 or more"),
    ],
)
def test_what_is_refused(param, shapes, what, engine) -> None:
    with pytest.raises(LayerError) as error:
        make_layer_net(f'type: "L1Loss" l1_loss_param {{ {param} }}', [Bottom(s) for s in shapes], engine=engine)
    assert what in str(error.value)
