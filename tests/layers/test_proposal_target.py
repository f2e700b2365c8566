from __future__ import annotations

import math

import numpy as np
import pytest

from caffe_lite.errors import CaffeError

from .cascade import norm, overlap, random_regions, run

MEAN, STD = (0, 0.1, 0, -0.1), (0.1, 0.1, 0.2, 0.2)
TOPS = 7


def text(param: str = "", cls_aware: bool = True) -> str:
    reg = norm(MEAN, STD, f"cls_aware: {str(cls_aware).lower()}")
    return f'type: "ProposalTarget" {reg} proposal_target_param {{ cls_num: 4 img_width: 90 img_height: 80 {param} }}'


def scene(rng, regions=60, objects=5, images=3):
    """Return regions, some of them close to objects; the last image has no object, and one row is no object at all."""
    truth = np.zeros((objects + 1, 8))
    truth[:objects, :5] = random_regions(rng, objects, images - 1)
    truth[:objects, 5] = rng.integers(1, 4, objects)
    truth[0, 6] = 1
    truth[-1] = -1
    boxes = random_regions(rng, regions, images)
    near = np.arange(regions // 2) % objects
    boxes[: regions // 2] = truth[near, :5] + np.append(0, [1] * 4) * rng.normal(0, 4, (regions // 2, 5))
    boxes[:, 3:] = np.maximum(boxes[:, 1:3], boxes[:, 3:])
    return boxes, truth


def matches(boxes, truth):
    """Return for each region the object it overlaps most, or None, and how much."""
    found = []
    for box in boxes:
        best = None, 0.0
        for g, thing in enumerate(truth):
            if thing[0] == box[0] and thing[0] >= 0:
                share = overlap(box[1:], thing[1:5])
                if best[0] is None or share > best[1]:
                    best = g, share
        found.append(best)
    return found


def deltas(box, thing):
    width, height = box[3] - box[1] + 1, box[4] - box[2] + 1
    numbers = [
        ((thing[1] + thing[3]) / 2 - (box[1] + box[3]) / 2) / width,
        ((thing[2] + thing[4]) / 2 - (box[2] + box[4]) / 2) / height,
        math.log((thing[3] - thing[1] + 1) / width),
        math.log((thing[4] - thing[2] + 1) / height),
    ]
    return [(x - m) / s for x, m, s in zip(numbers, MEAN, STD, strict=True)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cls_aware", [True, False])
@pytest.mark.parametrize("append", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_all_regions_by_hand(engine, cls_aware, append, weighted, dtype) -> None:
    boxes, truth = scene(np.random.default_rng(3))
    param = (
        "batch_size: -1 fg_thr: 0.6 bg_thr_hg: 0.5 bg_thr_lw: 0.05 bbox_thr_lw: 0.65 bbox_thr_hg: 0.9 "
        f"append_gtbox: {str(append).lower()} iou_weighted: {str(weighted).lower()} fg_fraction: 0.3"
    )
    _, tops = run(text(param, cls_aware), [boxes, truth], TOPS, engine=engine, dtype=dtype)
    if append:
        boxes = np.concatenate([boxes, truth[:-1, :5]])
    found = matches(boxes, truth)
    foreground = [i for i, (g, share) in enumerate(found) if share >= 0.6 and not truth[g, 6]]
    background = [i for i, (_, share) in enumerate(found) if 0.05 <= share < 0.5]
    assert foreground and background
    assert any(share >= 0.6 and truth[g, 6] for g, share in found)
    taken, width = foreground + background, 16 if cls_aware else 8
    labels, targets, weights, objects = (np.zeros((len(taken), k)) for k in (1, width, width, 6))
    for row, i in enumerate(foreground):
        g, share = found[i]
        labels[row] = truth[g, 5]
        column = 4 * int(truth[g, 5]) if cls_aware else 4
        targets[row, column : column + 4] = deltas(boxes[i], truth[g])
        weights[row, column : column + 4] = 0.65 <= share <= 0.9
        objects[row] = [truth[g, 5], *truth[g, 1:5], share]
    worth = np.ones(len(taken))
    if weighted:
        worth[: len(foreground)] = objects[: len(foreground), 5]
    worth[: len(foreground)] *= 0.3 * len(taken) / worth[: len(foreground)].sum()
    worth[len(foreground) :] *= 0.7 * len(taken) / len(background)
    wanted = [boxes[taken], labels, targets, weights, weights, objects, worth]
    for top, values in zip(tops, wanted, strict=True):
        values = values.reshape(len(taken), -1, 1, 1)
        assert top.shape == values.shape
        np.testing.assert_allclose(top, values, rtol=1e-4, atol=1e-4)
    assert 0 < weights.sum() < 4 * len(foreground)


def test_a_batch_is_drawn(engine) -> None:
    boxes, truth = scene(np.random.default_rng(0), 200)
    found = matches(boxes, truth)
    background = sum(0.05 <= share < 0.5 for _, share in found)
    param = "batch_size: 32 fg_fraction: 0.25 bg_thr_lw: 0.05 append_gtbox: false"
    net, _ = run(text(param), [boxes, truth], 6, engine=engine)
    drawn = []
    for _ in range(3):
        net.forward()
        labels = net.blobs["y1"].data.ravel()
        assert len(labels) == 32 < background
        assert (labels[:8] > 0).all() and not labels[8:].any()
        regions = net.blobs["y0"].data[:, :, 0, 0].copy()
        assert len(np.unique(regions, axis=0)) == 32
        drawn.append(regions)
    assert not np.array_equal(drawn[0], drawn[1]) or not np.array_equal(drawn[1], drawn[2])


@pytest.mark.parametrize("pickup", [True, False])
def test_spare_regions_fill_up(engine, pickup) -> None:
    """The first ones, of those that overlap too little for the background, come after it."""
    boxes = np.array([[0, 0, 0, 9, 9], [0, 50, 50, 59, 59], [0, 0, 0, 9, 29], [0, 60, 60, 69, 69], [0, 70, 70, 79, 79]])
    truth = np.array([[0, 0, 0, 9, 9, 2, 0, 0]])
    param = f"batch_size: 4 fg_fraction: 0.5 append_gtbox: false pickup_discard: {str(pickup).lower()}"
    _, tops = run(text(param), [boxes, truth], 6, engine=engine)
    np.testing.assert_array_equal(tops[0][:, :, 0, 0], boxes[[0, 2, 1, 3] if pickup else [0, 2]])
    np.testing.assert_array_equal(tops[1].ravel(), [2, 0, 0, 0] if pickup else [2, 0])


@pytest.mark.parametrize("objects", [np.full((1, 8), -1), np.array([[1, 10, 10, 60, 60, 1, 1, 0]])])
def test_a_region_is_drawn_if_there_is_none(engine, objects) -> None:
    param = "batch_size: -1 append_gtbox: false num_img_per_batch: 2"
    net, tops = run(text(param), [np.zeros((0, 5)), objects], TOPS, engine=engine)
    for _ in range(20):
        (image, x1, y1, x2, y2) = net.blobs["y0"].data.ravel()
        assert image in (0, 1) and x1 >= 0 and y1 >= 0 and x2 < 90 and y2 < 80 and min(x2 - x1, y2 - y1) >= 31
        assert image != objects[0, 0] or overlap([x1, y1, x2, y2], objects[0, 1:5]) < 0.5
        assert not any(net.blobs[f"y{i}"].data.any() for i in range(1, 6))
        net.forward()
    np.testing.assert_array_equal(tops[6].ravel(), [1])


def test_background_alone_keeps_its_weights(engine) -> None:
    _, tops = run(text("batch_size: 4 bg_thr_lw: 0"), [np.ones((3, 5)), np.full((1, 8), -1)], TOPS, engine=engine)
    np.testing.assert_array_equal(tops[6].ravel(), [1, 1, 1])


@pytest.mark.parametrize(
    ("param", "objects", "tops", "what"),
    [
        ("cls_num: 0", np.ones((1, 8)), 6, "there is no cls_num"),
        ("batch_size: 0", np.ones((1, 8)), 6, "batch_size is 0"),
        ("fg_thr: 0.4", np.ones((1, 8)), 6, "fg_thr 0.4 is below bg_thr_hg 0.5"),
        ("fg_fraction: 1.5", np.ones((1, 8)), 6, "fg_fraction is 1.5"),
        ("", np.ones((1, 6)), 6, "the objects have the shape (1, 6)"),
        ("", np.array([[0, 1, 1, 2, 2, 4, 0, 0]]), 6, "the class of an object is 4. Classes of objects are 1 to 3"),
        ("", np.array([[0, 1, 1, 2, 2, 0, 0, 0]]), 6, "the class of an object is 0"),
        ("img_width: 32 batch_size: -1", np.full((1, 8), -1), 6, "from an image of 32 x 80 pixels"),
        ("", np.ones((1, 8)), 5, "5 tops, a ProposalTarget layer takes 6 to 7"),
    ],
)
def test_errors(engine, param, objects, tops, what) -> None:
    layer = text(param)
    for field in ("cls_num: 4", "img_width: 90"):
        if field.split()[0] in param:
            layer = layer.replace(field, "")
    with pytest.raises(CaffeError) as error:
        run(layer, [np.zeros((0, 5)), objects], tops, engine=engine)
    assert what in str(error.value)
