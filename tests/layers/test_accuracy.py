from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from caffe_lite import Net
from caffe_lite.errors import LayerError

MakeNet = Callable[..., Net]


def accuracy_net(
    make_net: MakeNet, scores: tuple[int, ...], labels: tuple[int, ...], param: str = "", layer: str = ""
) -> Net:
    text = ""
    for name, shape in (("x", scores), ("label", labels)):
        dims = " ".join(f"dim: {n}" for n in shape)
        text += f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'
    return make_net(
        f"""{text} layer {{ name: "accuracy" type: "Accuracy" bottom: "x" bottom: "label" top: "accuracy" {layer}
                            accuracy_param {{ {param} }} }}"""
    )


def run(net: Net, x: object, label: object) -> float:
    net.blobs["x"].data[...] = x
    net.blobs["label"].data[...] = label
    net.forward()
    return float(net.blobs["accuracy"].data)


@pytest.mark.parametrize(("top_k", "expected"), [(1, 0.25), (2, 0.5), (3, 0.75), (4, 1)])
def test_top_k(make_net: MakeNet, top_k: int, expected: float) -> None:
    net = accuracy_net(make_net, (4, 4), (4,), f"top_k: {top_k}")
    assert run(net, [[4, 3, 2, 1]] * 4, [0, 1, 2, 3]) == expected


@pytest.mark.parametrize(("top_k", "expected"), [(1, 0), (2, 0.5), (3, 1)])
def test_a_tie_counts_against_the_label(make_net: MakeNet, top_k: int, expected: float) -> None:
    net = accuracy_net(make_net, (2, 3), (2,), f"top_k: {top_k}")
    assert run(net, [[1, 1, 0], [1, 1, 1]], [0, 0]) == expected


def test_scores_of_nan_are_wrong(make_net: MakeNet) -> None:
    net = accuracy_net(make_net, (3, 3), (3,), "top_k: 3")
    nan = float("nan")
    assert run(net, [[nan, nan, nan], [nan, 0, 0], [nan, 0, 0]], [1, 0, 1]) == pytest.approx(1 / 3)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
@pytest.mark.parametrize("ignore", [None, 1, 255])
@pytest.mark.parametrize("top_k", [1, 2])
def test_each_class_along_any_axis(make_net: MakeNet, axis: int, ignore: int | None, top_k: int) -> None:
    shape = (3, 4, 5)
    rest = tuple(n for i, n in enumerate(shape) if i != axis % 3)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 5, shape)
    labels = rng.integers(0, shape[axis] - 1, rest)
    if ignore == 255:
        labels.flat[::4] = ignore
    hits, seen = np.zeros(shape[axis]), np.zeros(shape[axis])
    for scores, label in zip(np.moveaxis(x, axis, -1).reshape(-1, shape[axis]), labels.flat, strict=True):
        if label != ignore:
            seen[label] += 1
            rivals = [score for c, score in enumerate(scores) if c != label and score >= scores[label]]
            hits[label] += len(rivals) < top_k
    param = f"axis: {axis} top_k: {top_k}" + (f" ignore_label: {ignore}" if ignore is not None else "")
    net = accuracy_net(make_net, shape, rest, param, 'top: "per_class"')
    assert run(net, x, labels) == pytest.approx(hits.sum() / seen.sum(), rel=1e-6)
    # Neither the last class nor an ignored one has labels: 0.
    np.testing.assert_allclose(net.blobs["per_class"].data, hits / np.maximum(seen, 1), rtol=1e-6)


def test_nothing_counts(make_net: MakeNet) -> None:
    net = accuracy_net(make_net, (2, 2), (2,), "ignore_label: 0", 'top: "per_class"')
    assert run(net, [[1, 0], [1, 0]], 0) == 0
    assert net.blobs["per_class"].data.tolist() == [0, 0]


def test_labels_need_only_be_as_many(make_net: MakeNet) -> None:
    net = accuracy_net(make_net, (2, 3, 2), (4,))
    assert run(net, np.arange(12).reshape(2, 3, 2), [2, 2, 0, 2]) == 0.75


@pytest.mark.parametrize("top_k", [0, 4])
def test_top_k_without_meaning(make_net: MakeNet, top_k: int) -> None:
    with pytest.raises(LayerError, match=rf"top_k is {top_k}.*\(2, 3\) have 3 classes.*Use 1 to 3"):
        accuracy_net(make_net, (2, 3), (2,), f"top_k: {top_k}")


def test_no_gradient(make_net: MakeNet) -> None:
    net = accuracy_net(make_net, (2, 3), (2,), layer="loss_weight: 1 propagate_down: true propagate_down: false")
    net.forward()
    with pytest.raises(LayerError, match="accuracy has no gradient"):
        net.backward()


def test_beside_a_loss_it_takes_no_part(make_net: MakeNet) -> None:
    net = make_net(
        """force_backward: true
        layer { name: "in" type: "Input" top: "x" top: "label"
                input_param { shape { dim: 2 dim: 3 } shape { dim: 2 } } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "x" bottom: "label" top: "loss" }
        layer { name: "accuracy" type: "Accuracy" bottom: "x" bottom: "label" top: "accuracy" }"""
    )
    net.forward()
    net.backward()
    np.testing.assert_allclose(net.blobs["x"].diff, [[-1 / 3, 1 / 6, 1 / 6]] * 2, rtol=1e-6)


def test_the_smallest_score_may_be_the_best(make_net: MakeNet) -> None:
    net = accuracy_net(make_net, (3, 3), (3,), "min_is_better: true")
    assert run(net, [[1, 2, 3], [3, 2, 1], [1, 1, 2]], [0, 0, 1]) == pytest.approx(1 / 3)


def test_the_denominator_may_be_given(make_net: MakeNet) -> None:
    net = accuracy_net(make_net, (4, 2), (4,), "denominator: 10 ignore_label: 7")
    assert run(net, [[0, 1]] * 4, [1, 1, 0, 7]) == pytest.approx(0.2)
    with pytest.raises(LayerError, match="denominator is -1"):
        accuracy_net(make_net, (4, 2), (4,), "denominator: -1")
