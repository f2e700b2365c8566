from __future__ import annotations

import itertools

import numpy as np
import pytest

from caffe_lite import TRAIN, Net
from caffe_lite.errors import LayerError
from caffe_lite.proto.caffe_pb2 import NetParameter
from caffe_lite.proto.parser import parse_text

from .gradient import Bottom, make_net


def malis(engine, *values, top: int = 1, more: str = ""):
    bottoms = [Bottom(np.shape(v), lambda rng, v=v: np.asarray(v)) for v in values]
    net = make_net(f'type: "MalisLoss" {more}', bottoms, top, engine=engine)
    net.forward()
    net.backward()
    return net, float(net.blobs["y0"].data), net.blobs["x0"].diff


def pair_by_pair(affinity: np.ndarray, labels: np.ndarray, steps, same: bool) -> tuple[float, np.ndarray]:
    """Return half of a sample's loss over the pairs with equal labels, or with different ones, and its gradient.

    Each pair's edge is found by adding edges, the strongest first, until there is a path.
    """
    volume, gradient, loss = affinity.shape[1:], np.zeros(affinity.shape), 0.0
    edges = []
    for place in np.ndindex(affinity.shape):
        end = tuple(np.add(place[1:], steps[place[0]]))
        if all(0 <= x < n for x, n in zip(end, volume, strict=True)):
            edges.append((affinity[place], place, end))
    edges.sort(key=lambda edge: -edge[0])
    labelled = [node for node in np.ndindex(volume) if labels[node]]
    pairs = [p for p in itertools.combinations(labelled, 2) if (labels[p[0]] == labels[p[1]]) == same]
    for a, b in pairs:
        reached = {node: {node} for node in np.ndindex(volume)}
        for value, place, end in edges:
            both = reached[place[1:]] | reached[end]
            for node in both:
                reached[node] = both
            if b in reached[a]:
                loss += (value - same) ** 2 / len(pairs)
                gradient[place] += (value - same) / len(pairs)
                break
    return loss / 2, gradient / 2


STEPS = {(3, 4): np.eye(2, dtype=int), (2, 2, 3): np.eye(3, dtype=int), (9,): np.eye(1, dtype=int)}


@pytest.mark.parametrize("volume", STEPS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_pair(volume, channels, engine) -> None:
    rng = np.random.default_rng(len(volume))
    steps = STEPS[volume]
    shape = (2, len(steps), *volume)
    predicted, true = rng.uniform(size=shape), rng.integers(0, 2, shape) * 0.98 + rng.uniform(0, 0.02, shape)
    labels = rng.integers(0, 4, (2, channels, *volume))
    _, loss, dx = malis(engine, predicted, true, labels, more="loss_weight: 3")
    wanted, gradient = 0.0, np.zeros(shape)
    for n in range(2):
        for combine, label, same in ((np.maximum, labels[n, 0], False), (np.minimum, labels[n, -1], True)):
            cost, slope = pair_by_pair(combine(predicted[n], true[n]), label, steps, same)
            wanted += cost / 2
            gradient[n] += slope / 2
    assert loss == pytest.approx(wanted)
    np.testing.assert_allclose(dx, 3 * gradient, atol=1e-12)


def test_other_edges(engine) -> None:
    rng = np.random.default_rng(0)
    steps = np.array([[0, 0, 1], [0, -1, 0], [0, 1, 1], [0, 5, 0]])
    predicted, labels = rng.uniform(size=(1, 4, 3, 3)), rng.integers(0, 3, (1, 1, 3, 3))
    _, loss, dx = malis(engine, predicted, predicted, labels, steps[None, None])
    parts = [pair_by_pair(predicted[0], labels[0, 0], steps[:, 1:], same) for same in (True, False)]
    assert loss == pytest.approx(sum(part[0] for part in parts))
    np.testing.assert_allclose(dx[0], sum(part[1] for part in parts), atol=1e-12)


def test_a_perfect_segmentation_costs_nothing(engine) -> None:
    labels = np.array([[[[1, 1, 0, 2], [1, 1, 0, 2]]]])
    true = np.stack([labels[:, 0] > 0, np.pad(labels[..., :-1] == labels[..., 1:], [(0, 0)] * 3 + [(0, 1)])[:, 0]], 1)
    net, loss, dx = malis(engine, true * 1.0, true * 1.0, labels, top=2)
    assert loss == 0
    assert not dx.any()
    np.testing.assert_array_equal(net.blobs["y1"].data, true)
    # Without labels there are no pairs.
    assert malis(engine, true * 0.5, true * 1.0, labels * 0)[1] == 0


def test_a_net_may_leave_out_the_top(engine) -> None:
    text = "force_backward: true " + "".join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ dim: 1 dim: 1 dim: 4 }} }} }}'
        for name in ("a", "b", "c")
    )
    text += 'layer { name: "loss" type: "MalisLoss" bottom: "a" bottom: "b" bottom: "c" loss_weight: 2 }'
    net = Net(parse_text(text, NetParameter, "net.prototxt"), TRAIN, engine=engine)
    net.blobs["c"].data[...] = 1
    net.forward()
    net.backward()
    assert net.blobs["a"].diff.sum() == pytest.approx(-1)


def test_a_volume_is_fast(engine) -> None:
    rng = np.random.default_rng(0)
    values = rng.uniform(size=(1, 3, 8, 32, 32)).astype(np.float32)
    _, loss, _ = malis(engine, values, values, rng.integers(0, 30, (1, 1, 8, 32, 32)))
    assert 0 < loss < 1


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(1, 2)] * 3, "has 2 axes"),
        ([(1, 2, 3, 3), (1, 1, 3, 3), (1, 1, 3, 3)], "true affinities' shape"),
        ([(1, 2, 3, 3), (1, 2, 3, 3), (1, 3, 3, 3)], r"labels' shape is \(1, 3, 3, 3\)"),
        ([(1, 2, 3, 3), (1, 2, 3, 3), (1, 1, 3, 4)], r"labels' shape is \(1, 1, 3, 4\)"),
        ([(1, 4, 3, 3), (1, 4, 3, 3), (1, 1, 3, 3)], "there are 4 edges"),
        ([(1, 4, 3, 3), (1, 4, 3, 3), (1, 1, 3, 3), (4, 2)], r"edges' shape is \(4, 2\)"),
    ],
)
def test_errors(shapes, message, engine) -> None:
    with pytest.raises(LayerError, match=message):
        malis(engine, *(np.zeros(shape) for shape in shapes))


@pytest.mark.parametrize("shape", [(0, 2, 3, 3), (1, 0, 3, 3), (1, 2, 0, 3)])
def test_nothing_costs_nothing(shape, engine) -> None:
    values = np.zeros(shape)
    _, loss, dx = malis(engine, values, values, np.ones((shape[0], 1, *shape[2:])))
    assert loss == 0
    assert dx.shape == shape
