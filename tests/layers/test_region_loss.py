"""RegionLoss against the rules of both originals, one place and one true box after the other."""

from __future__ import annotations

import math

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom, make_net
from .test_yolov3 import CROWD, iou_by_hand, lists_of, rows_of

ANCHORS = [(1.1, 1.3), (0.6, 2.1), (2.5, 0.9)]
CLASSES, HEIGHT, WIDTH = 3, 3, 4


def by_hand(x, lists, intel, rescore, match):
    active, d = 1 / (1 + np.exp(-x)), np.zeros_like(x)

    def box(n, a, j, i):
        p, q = x[n, a, :, j, i], active[n, a, :, j, i]
        w, h = ANCHORS[a]
        return (i + q[0]) / WIDTH, (j + q[1]) / HEIGHT, math.exp(p[2]) * w / WIDTH, math.exp(p[3]) * h / HEIGHT

    for n, truths in enumerate(lists):
        for a, j, i in np.ndindex(len(ANCHORS), HEIGHT, WIDTH):
            o = active[n, a, 4, j, i]
            near = max([0, *(iou_by_hand(box(n, a, j, i), t[1:]) for t in truths)]) > 0.4
            d[n, a, 4, j, i] = 0 if near else 0.7 * o * o * (1 - o)
        for label, *truth in truths:
            i, j = int(truth[0] * WIDTH), int(truth[1] * HEIGHT)
            shapes = [(w / WIDTH, h / HEIGHT) if match else box(n, a, j, i)[2:] for a, (w, h) in enumerate(ANCHORS)]
            a = int(np.argmax([iou_by_hand((0, 0, *shape), (0, 0, *truth[2:])) for shape in shapes]))
            p, q, out = x[n, a, :, j, i], active[n, a, :, j, i], d[n, a, :, j, i]
            w, h = ANCHORS[a]
            off = [
                q[0] - (truth[0] * WIDTH - i),
                q[1] - (truth[1] * HEIGHT - j),
                p[2] - math.log(truth[2] * WIDTH / w),
                p[3] - math.log(truth[3] * HEIGHT / h),
            ]
            scale = 1.5 if intel or rescore else 1.5 * (2 - truth[2] * truth[3])
            for k, value in enumerate(off):
                value = max(-1, min(1, value)) if intel else value
                out[k] = scale * value * (q[k] * (1 - q[k]) if k < 2 else 1)
            o = q[4]
            missing = -2 * (1 - o) ** 3 if intel else o - (iou_by_hand(box(n, a, j, i), truth) if rescore else 1)
            out[4] = 3 * missing * o * (1 - o)
            prob = np.exp(p[5:]) / np.exp(p[5:]).sum()
            out[5:] = [2 * (prob[c] - (c == label)) for c in range(CLASSES)]
    return (d**2).sum() / (1 if intel else len(x)), d


def run(engine, labels, text="", num=3):
    x = np.random.default_rng(4).normal(0, 0.8, (3, len(ANCHORS), 5 + CLASSES, HEIGHT, WIDTH))
    flat = x.reshape(3, -1, HEIGHT, WIDTH)
    biases = " ".join(f"biases: {side}" for anchor in ANCHORS for side in anchor)
    net = make_net(
        f'type: "RegionLoss" loss_weight: 1 region_loss_param {{ num_class: {CLASSES} num: {num} {biases} thresh: 0.4 '
        f"coord_scale: 1.5 object_scale: 3 noobject_scale: 0.7 class_scale: 2 {text} }}",
        [Bottom(flat.shape, lambda rng: flat), Bottom(labels.shape, lambda rng: labels)],
        engine=engine,
    )
    net.forward()
    net.backward()
    return x, float(net.blobs["y0"].data), net.blobs["x0"].diff.reshape(x.shape)


@pytest.mark.parametrize("match", [True, False])
@pytest.mark.parametrize("rescore", [True, False])
@pytest.mark.parametrize("intel", [True, False])
def test_loss(intel: bool, rescore: bool, match: bool, engine: str) -> None:
    labels = rows_of(CROWD) if intel else lists_of(CROWD)
    x, loss, diff = run(engine, labels, f"rescore: {int(rescore)} bias_match: {int(match)}")
    wanted, d = by_hand(x, CROWD, intel, rescore, match)
    np.testing.assert_allclose(loss, wanted, rtol=1e-6)
    np.testing.assert_allclose(diff, d / 3, rtol=1e-5, atol=1e-7)


def test_intels_differences_are_bounded() -> None:
    """The truth of this test is far enough from the predictions."""
    _, _, diff = run("numpy", rows_of(CROWD))
    assert (np.abs(diff[:, :, 2:4]) * 3).max() == pytest.approx(1.5)
    assert (np.abs(run("numpy", lists_of(CROWD))[2][:, :, 2:4]) * 3).max() > 1.6


@pytest.mark.parametrize(
    ("num", "text", "what"),
    [
        (3, 'softmax_tree: "9k.tree"', "of YOLO9000"),
        (3, 'class_map: "coco9k.map"', "of YOLO9000"),
        (4, "", "there are 6 biases"),
        (0, "", "num is 0"),
    ],
)
def test_mistakes(num: int, text: str, what: str) -> None:
    with pytest.raises(LayerError, match=what):
        run("numpy", rows_of(CROWD), text, num)
