"""The SegAccuracy layer against counts of single pixels."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from caffe_lite import Net
from caffe_lite.errors import LayerError

MakeNet = Callable[..., Net]


def text(scores: tuple[int, ...], labels: tuple[int, ...], param: str = "") -> str:
    inputs = ""
    for name, shape in (("x", scores), ("label", labels)):
        dims = " ".join(f"dim: {n}" for n in shape)
        inputs += f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'
    return (
        f'{inputs} layer {{ name: "score" type: "SegAccuracy" bottom: "x" bottom: "label" top: "score" '
        f"seg_accuracy_param {{ {param} }} }}"
    )


def run(net: Net, x: np.ndarray, label: np.ndarray) -> list[float]:
    net.blobs["x"].data[...] = x
    net.blobs["label"].data[...] = label
    net.forward()
    return net.blobs["score"].data.ravel().tolist()


def by_pixels(pairs: list[tuple[np.ndarray, np.ndarray]], ignored: set[int]) -> list[float]:
    """Compute the three values one pixel at a time, as the original does."""
    classes = pairs[0][0].shape[1]
    matrix = np.zeros((classes, classes), int)
    for x, label in pairs:
        for n, h, w in np.ndindex(*np.delete(x.shape, 1)):
            true = int(label[n, 0, h, w])
            if true not in ignored:
                _, best = max((score, c) for c, score in enumerate(x[n, :, h, w]))
                matrix[true, best] += 1
    recalls = [matrix[c, c] / matrix[c].sum() for c in range(classes) if matrix[c].any()]
    unions = [matrix[c].sum() + matrix[:, c].sum() - matrix[c, c] for c in range(classes)]
    overlaps = [matrix[c, c] / unions[c] if unions[c] else 1.0 for c in range(classes)]
    total = matrix.sum()
    return [
        matrix.trace() / total if total else 0.0,
        sum(recalls) / len(recalls) if recalls else 0.0,
        sum(overlaps) / classes,
    ]


def batch(seed: int, classes: int = 6, ignored: tuple[int, ...] = (255, 2)) -> tuple[np.ndarray, np.ndarray]:
    """Scores with ties, and labels where two of the classes are missing, some of them ignored."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 3, (2, classes, 5, 4)).astype(np.float32)
    x[:, classes - 1] = -1
    return x, rng.choice([0, 1, 2, 3, *ignored], (2, 1, 5, 4)).astype(np.float32)


@pytest.mark.parametrize("ignored", [(), (2,), (255, 2)])
def test_values(make_net: MakeNet, ignored: tuple[int, ...]) -> None:
    x, label = batch(0, ignored=ignored)
    net = make_net(text(x.shape, label.shape, " ".join(f"ignore_label: {i}" for i in ignored)))
    for _ in range(2):
        assert run(net, x, label) == pytest.approx(by_pixels([(x, label)], set(ignored)), abs=1e-6)


def test_nothing_counts(make_net: MakeNet) -> None:
    x, label = batch(0)
    net = make_net(text(x.shape, label.shape, "ignore_label: 255"))
    assert run(net, x, np.full_like(label, 255)) == [0, 0, 1]
    for name in ("x", "label"):
        net.blobs[name].reshape(0, *net.blobs[name].shape[1:])
    assert run(net, x[:0], label[:0]) == [0, 0, 1]


def test_without_reset_batches_add_up(make_net: MakeNet) -> None:
    net_text = text((2, 6, 5, 4), (2, 1, 5, 4), "ignore_label: 255 ignore_label: 2 reset: false")
    net = make_net(net_text)
    batches = [batch(seed) for seed in range(5)]
    for count in range(1, 4):
        expected = by_pixels(batches[:count], {255, 2})
        assert run(net, *batches[count - 1]) == pytest.approx(expected, abs=1e-6)
    resumed = make_net(net_text)
    resumed.restore_state(json.loads(json.dumps(net.state())))
    for count in range(4, 6):
        assert run(resumed, *batches[count - 1]) == pytest.approx(by_pixels(batches[:count], {255, 2}), abs=1e-6)


def test_a_snapshot_of_another_net(make_net: MakeNet) -> None:
    state = make_net(text((2, 6, 5, 4), (2, 1, 5, 4), "reset: false")).state()
    with pytest.raises(LayerError, match="the snapshot is that of another net"):
        make_net(text((2, 5, 5, 4), (2, 1, 5, 4), "reset: false")).restore_state(state)


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ((2, 3, 4, 5), (2, 1, 5, 4), "the labels (2, 1, 5, 4). Give labels as (2, 1, 4, 5)"),
        ((2, 3, 4, 5), (2, 4, 5), "Give labels as (2, 1, 4, 5)"),
        ((2, 3, 4, 5), (1, 1, 4, 5), "Give labels as (2, 1, 4, 5)"),
        ((2, 0, 4, 5), (2, 1, 4, 5), "there are no classes"),
        ((2,), (2,), "the scores have the shape (2,)"),
    ],
)
def test_shapes_that_do_not_agree(
    make_net: MakeNet, scores: tuple[int, ...], labels: tuple[int, ...], message: str
) -> None:
    with pytest.raises(LayerError) as caught:
        make_net(text(scores, labels))
    assert message in str(caught.value)


def test_a_label_that_is_no_class(make_net: MakeNet) -> None:
    x, label = batch(0)
    label[1, 0, 3, 2] = 7
    net = make_net(text(x.shape, label.shape, "ignore_label: 255 ignore_label: 2"))
    with pytest.raises(LayerError) as caught:
        run(net, x, label)
    assert "label 7 of sample 1, position (0, 3, 2), is none of the classes 0 to 5" in str(caught.value)
    assert ", nor ignore_label 255, nor ignore_label 2 (1 of 40 labels are wrong)" in str(caught.value)
