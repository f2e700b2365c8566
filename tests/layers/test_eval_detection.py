from __future__ import annotations

import math

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom, make_net
from .test_yolov3 import iou_by_hand, rows_of, sigmoid

ANCHORS = [(1.1, 1.3), (2.5, 0.9)]
CLASSES, HEIGHT, WIDTH = 3, 2, 3
TRUTH = [
    [(0, 0.31, 0.4, 0.3, 0.45), (2, 0.72, 0.61, 0.9, 0.3), (1, 0.35, 0.45, 0.33, 0.4), (1, 0.5, 0.5, 0.8, 0.7)],
    [],
    [(1, 0.5, 0.6, 0.5, 0.6)],
]


def by_hand(x, kind, nms):
    """Return the rows of each image: class, score, right, wrong."""
    images = []
    for n, truths in enumerate(TRUTH):
        boxes = []
        for j, i, a in np.ndindex(HEIGHT, WIDTH, len(ANCHORS)):
            p, (w, h) = x[n, a, :, j, i], ANCHORS[a]
            prob = np.exp(p[5:]) / np.exp(p[5:]).sum()
            score = {"OBJ": sigmoid(p[4]), "PROB": prob.max(), "MULTIPLY": sigmoid(p[4]) * prob.max()}[kind]
            box = (
                (i + sigmoid(p[0])) / WIDTH,
                (j + sigmoid(p[1])) / HEIGHT,
                math.exp(p[2]) * w / WIDTH,
                math.exp(p[3]) * h / HEIGHT,
            )
            boxes.append((score, int(prob.argmax()), box))
        boxes.sort(key=lambda each: -each[0])
        kept = []
        for each in boxes:
            if nms < 0 or all(iou_by_hand(each[2], other[2]) < nms for other in kept):
                kept.append(each)
        rows = []
        for label in range(CLASSES):
            own, taken = [t[1:] for t in truths if t[0] == label], set()
            for score, _, box in (each for each in kept if each[1] == label):
                right = wrong = 0
                if not own:
                    wrong = 1
                elif max(shared := [iou_by_hand(box, t) for t in own]) >= 0.3:
                    best = int(np.argmax(shared))
                    right, wrong = int(best not in taken), int(best in taken)
                    taken.add(best)
                rows.append([label, score, right, wrong])
        images.append(rows)
    return images


def run(engine, text, labels, anchors=2):
    x = np.random.default_rng(6).normal(0, 0.7, (3, 2, 5 + CLASSES, HEIGHT, WIDTH))
    flat = x.reshape(3, -1, HEIGHT, WIDTH)
    biases = " ".join(f"biases: {side}" for anchor in ANCHORS for side in anchor)
    net = make_net(
        f'type: "EvalDetection" eval_detection_param {{ num_class: {CLASSES} num_object: {anchors} {biases} '
        f"threshold: 0.3 {text} }}",
        [Bottom(flat.shape, lambda rng: flat), Bottom(labels.shape, lambda rng: labels), Bottom((1, 2))],
        engine=engine,
    )
    net.forward()
    return x, net.blobs["y0"].data


@pytest.mark.parametrize(("kind", "nms"), [("MULTIPLY", 0.45), ("OBJ", -1), ("PROB", 0.3)])
def test_rows(kind: str, nms: float, engine: str) -> None:
    x, top = run(engine, f"score_type: {kind} nms: {nms}", rows_of(TRUTH))
    assert top.shape == (3, CLASSES + 4 * 2 * HEIGHT * WIDTH)
    np.testing.assert_array_equal(top[:, :CLASSES], [[1, 2, 1], [0, 0, 0], [0, 1, 0]])
    wanted = by_hand(x, kind, nms)
    assert {tuple(row[2:]) for rows in wanted for row in rows} >= {(0, 0), (1, 0), (0, 1)}
    for got, rows in zip(top[:, CLASSES:], wanted, strict=True):
        np.testing.assert_allclose(got[: 4 * len(rows)].reshape(-1, 4), rows, rtol=1e-6)
        assert not got[4 * len(rows) :].any()


def test_boxes_with_the_smallest_scores_are_left_out(engine: str) -> None:
    """But not where there is no nms."""
    text = 'type: "EvalDetection" eval_detection_param { num_class: 1 num_object: 1 biases: 1 biases: 1 nms: %s }'
    far = np.array([[[-9, 0]]], float)  # the objectness of two places
    maps = np.concatenate([np.zeros((1, 4, 1, 2)), far[None], np.zeros((1, 1, 1, 2))], 1)
    for nms, count in (("0.5", 1), ("-1", 2)):
        bottoms = [Bottom(maps.shape, lambda rng: maps), Bottom((1, 1, 1, 8), lambda rng: -np.ones((1, 1, 1, 8)))]
        net = make_net(text % nms, bottoms, engine=engine)
        net.forward()
        assert (net.blobs["y0"].data.reshape(-1)[1:].reshape(2, 4)[:, 1] > 0).sum() == count


def test_mistakes() -> None:
    with pytest.raises(LayerError, match="nms is 0"):
        run("numpy", "nms: 0", rows_of(TRUTH))
    with pytest.raises(LayerError, match="num_object is 0"):
        run("numpy", "", rows_of(TRUTH), anchors=0)
    with pytest.raises(LayerError, match="one of 3 images"):
        run("numpy", "", rows_of([*TRUTH, TRUTH[0]]))
