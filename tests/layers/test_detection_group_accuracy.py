from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .cascade import moved, norm, overlap, run
from .test_detection_group_loss import MEAN, SIZES, STD, STRIDE, maps, positions


def text(param: str = "", more: str = "", classes: int = 3) -> str:
    fields = " ".join(f"field_w: {width} field_h: {height}" for width, height in SIZES)
    return (
        f'type: "DetectionGroupAccuracy" {norm(MEAN, STD)} detection_group_accuracy_param {{ cls_num: {classes} '
        f"{fields} stride: {STRIDE} field_whr: 1.5 field_xyr: 3 {param} }} {more}"
    )


def by_hand(arrays, threshold=0.5, objectness=False, ignore=None):
    scores, deltas, truth = arrays
    right, of_objects, shares = [], [], []
    for n, y, x in positions(truth):
        label, cx, cy, width, height, share = truth[n, :, y, x]
        name = min(label, 1) if objectness else label
        if name != ignore and not (name == 0 and share >= threshold):
            best = max(range(scores.shape[1]), key=lambda k: scores[n, k, y, x])
            right.append(best == name)
            if name:
                of_objects.append(best == name)
        if label not in (0, ignore):
            w, h = SIZES[n % len(SIZES)]
            ax, ay = (x + 0.5) * STRIDE - w / 2, (y + 0.5) * STRIDE - h / 2
            bounds = [1 / 3, 1 / 3, np.log(1.5), np.log(1.5)]
            delta = [min(max(deltas[n, i, y, x] * STD[i] + MEAN[i], -bound), bound) for i, bound in enumerate(bounds)]
            thing = [cx - width / 2, cy - height / 2, cx + width / 2 - 1, cy + height / 2 - 1]
            shares.append(overlap(moved([ax, ay, ax + w - 1, ay + h - 1], delta), thing))
    return [np.mean(x) if x else -1 for x in (right, of_objects, shares)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("tops", [1, 2])
@pytest.mark.parametrize(
    ("param", "more", "settings"),
    [
        ("", "", {}),
        ("bg_threshold: 0.3", "", {"threshold": 0.3}),
        ("objectness: true", "", {"objectness": True}),
        ("", "loss_param { ignore_label: 1 }", {"ignore": 1}),
    ],
)
def test_numbers_by_hand(engine, param, more, settings, tops, dtype) -> None:
    classes = 2 if settings.get("objectness") else 3
    arrays = maps(np.random.default_rng(0), classes=classes)
    _, found = run(text(param, more, classes), arrays, tops, engine=engine, dtype=dtype)
    wanted = by_hand(arrays, **settings)
    assert found[0].shape == (1, 1, 1, 2)
    np.testing.assert_allclose(found[0].ravel(), wanted[:2], rtol=1e-6)
    if tops == 2:
        assert wanted[2] > 0.01
        np.testing.assert_allclose(found[1].ravel(), wanted[2:], rtol=1e-4)


def test_nothing_counts(engine) -> None:
    for images in (0, 1):
        arrays = maps(np.random.default_rng(0), images, positive=0)
        arrays[2][:, 5] = 1
        _, found = run(text(), arrays, 2, engine=engine)
        assert [x for top in found for x in top.ravel()] == [-1, -1, -1]


@pytest.mark.parametrize(
    ("shapes", "what"),
    [
        ([(4, 2, 3, 3), (4, 4, 3, 3), (4, 6, 3, 3)], "the shape of the scores is (4, 2, 3, 3)"),
        ([(4, 3, 3, 3), (4, 8, 3, 3), (4, 6, 3, 3)], "the shape of the deltas is (4, 8, 3, 3)"),
        ([(4, 3, 3, 3), (4, 4, 3, 3), (4, 5, 3, 3)], "the shape of the truth is (4, 5, 3, 3)"),
        ([(4, 3, 3, 3), (4, 4, 3, 2), (4, 6, 3, 3)], "give maps of one size"),
        ([(3, 3, 3, 3), (3, 4, 3, 3), (3, 6, 3, 3)], "does not divide into 2 anchors"),
    ],
)
def test_errors(engine, shapes, what) -> None:
    with pytest.raises(LayerError) as error:
        run(text(), [np.zeros(shape) for shape in shapes], engine=engine)
    assert what.lower() in str(error.value).lower()
