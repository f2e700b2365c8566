"""Yolov3 and GaussianYolov3 against the rules of the original, applied to one place and one true box at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from caffe_lite.errors import LayerError
from caffe_lite.layers.common.iou_loss import Measure, slopes

from .gradient import Bottom, make_net

ANCHORS = [(10, 20), (30, 26), (70, 40), (24, 60)]
MASK = [1, 3]
SCALE, WIDTH, HEIGHT = 16, 4, 3
CLASSES = 3


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def iou_by_hand(a, b, signed=False):
    w = min(a[0] + a[2] / 2, b[0] + b[2] / 2) - max(a[0] - a[2] / 2, b[0] - b[2] / 2)
    h = min(a[1] + a[3] / 2, b[1] + b[3] / 2) - max(a[1] - a[3] / 2, b[1] - b[3] / 2)
    if (w < 0 or h < 0) and not signed:
        return 0
    return w * h / (a[2] * a[3] + b[2] * b[3] - w * h)


def agreement_by_hand(kind, a, b):
    iou = iou_by_hand(a, b)
    w = max(a[0] + a[2] / 2, b[0] + b[2] / 2) - min(a[0] - a[2] / 2, b[0] - b[2] / 2)
    h = max(a[1] + a[3] / 2, b[1] + b[3] / 2) - min(a[1] - a[3] / 2, b[1] - b[3] / 2)
    if kind == "GIOU":
        x = max(0, min(a[0] + a[2] / 2, b[0] + b[2] / 2) - max(a[0] - a[2] / 2, b[0] - b[2] / 2))
        y = max(0, min(a[1] + a[3] / 2, b[1] + b[3] / 2) - max(a[1] - a[3] / 2, b[1] - b[3] / 2))
        return iou - (w * h - (a[2] * a[3] + b[2] * b[3] - x * y)) / (w * h)
    far = ((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) / (w * w + h * h)
    if kind == "DIOU":
        return iou - far**0.6
    if kind == "CIOU":
        aspect = 4 / math.pi**2 * (math.atan(b[2] / b[3]) - math.atan(a[2] / a[3])) ** 2
        return iou - far - aspect**2 / (1 - iou + aspect + 1e-6)
    return iou


def slope_by_hand(kind, box, truth):
    """Return what the original takes for derivatives; see the docstring of ``slopes``."""

    def measured(b):
        w = max(b[0] + b[2] / 2, truth[0] + truth[2] / 2) - min(b[0] - b[2] / 2, truth[0] - truth[2] / 2)
        h = max(b[1] + b[3] / 2, truth[1] + truth[3] / 2) - min(b[1] - b[3] / 2, truth[1] - truth[3] / 2)
        plain = agreement_by_hand("GIOU" if kind == "GIOU" else "IOU", b, truth)
        return np.array([plain, (b[0] - truth[0]) ** 2 + (b[1] - truth[1]) ** 2, w * w + h * h])

    _, distance, diagonal = measured(box)
    step, found = 1e-6, []
    for i in range(4):
        high, low = list(box), list(box)
        high[i] += step
        low[i] -= step
        plain, of_distance, of_diagonal = (measured(high) - measured(low)) / (2 * step)
        found.append(plain * (2 if i > 1 else 1))
        if kind in ("DIOU", "CIOU"):
            found[i] -= of_distance / diagonal
            found[i] += (1 if i > 1 else -1) * of_diagonal * distance / diagonal**2
    if kind == "CIOU":
        away = math.atan(truth[2] / truth[3]) - math.atan(box[2] / box[3])
        aspect = 4 / math.pi**2 * away**2
        weight = aspect / (1 - iou_by_hand(box, truth, signed=True) + aspect + 1e-6)
        found[2] += weight * 8 / math.pi**2 * away * box[3]
        found[3] -= weight * 8 / math.pi**2 * away * box[2]
    return found


def by_hand(
    x,
    lists,
    kind="MSE",
    *,
    thresh=0.5,
    iou_thresh=0.5,
    coord=1.5,
    scale=2.0,
    eps=0.1,
    normalizer=0.25,
    bound=10.0,
    accumulate=True,
    focal=False,
    gaussian=False,
):
    """Return the loss and d for maps (N, A, values, H, W) and lists of (class, x, y, w, h)."""
    objectness = 8 if gaussian else 4
    step = objectness // 4
    d = np.zeros_like(x)
    active = 1 / (1 + np.exp(-x))
    measure = "IOU" if kind == "MSE" else kind
    frame = (WIDTH * SCALE, HEIGHT * SCALE)
    counted = []

    def box(n, a, j, i):
        width, height = ANCHORS[MASK[a]]
        return (
            (i + active[n, a, 0, j, i]) / WIDTH,
            (j + active[n, a, step, j, i]) / HEIGHT,
            math.exp(x[n, a, 2 * step, j, i]) * width / frame[0],
            math.exp(x[n, a, 3 * step, j, i]) * height / frame[1],
        )

    for n, truths in enumerate(lists):
        for a in range(len(MASK)):
            for j in range(HEIGHT):
                for i in range(WIDTH):
                    best = max([0, *(agreement_by_hand(measure, box(n, a, j, i), t[1:]) for t in truths)])
                    d[n, a, objectness, j, i] = 0 if best > thresh else active[n, a, objectness, j, i]
        for label, *truth in truths:
            shape = (0, 0, *truth[2:])
            alike = [agreement_by_hand(measure, (0, 0, w / frame[0], h / frame[1]), shape) for w, h in ANCHORS]
            best = int(np.argmax(alike))
            i, j = int(truth[0] * WIDTH), int(truth[1] * HEIGHT)
            for a, number in enumerate(MASK):
                if number != best and not alike[number] > iou_thresh:
                    continue
                place = (n, a, slice(None), j, i)
                p, q, out = x[place], active[place], d[place]
                weight = coord * (2 - truth[2] * truth[3])
                target = [
                    truth[0] * WIDTH - i,
                    truth[1] * HEIGHT - j,
                    math.log(truth[2] * frame[0] / ANCHORS[number][0]),
                    math.log(truth[3] * frame[1] / ANCHORS[number][1]),
                ]
                found = box(n, a, j, i)
                if gaussian:
                    for k in range(4):
                        mean, s = (q if k < 2 else p)[2 * k], q[2 * k + 1]
                        away = (target[k] - mean) / s
                        for index, value in ((2 * k, away / s), (2 * k + 1, away**2 / s - 1 / (s + 0.3))):
                            value = max(-bound, min(bound, value * weight * normalizer / 2))
                            out[index] = (out[index] if accumulate else 0) - value
                elif kind == "MSE":
                    out[:4] = [weight * ((q if k < 2 else p)[k] - target[k]) for k in range(4)]
                else:
                    for k, value in enumerate(slope_by_hand(kind, found, truth)):
                        value *= normalizer * (math.exp(p[k]) if k > 1 else 1)
                        out[k] = (out[k] if accumulate else 0) - max(-bound, min(bound, value))
                counted.append(
                    1 - agreement_by_hand("DIOU" if kind == "IOU" and not gaussian else measure, found, truth)
                )
                out[objectness] = q[objectness] - 1
                classes, wrong = q[objectness + 1 :], out[objectness + 1 :]
                if wrong.any():
                    wrong[label] = scale * (classes[label] - (1 - eps / 2))
                    continue
                for c in range(CLASSES):
                    y = float(c == label) if focal else (c == label) * (1 - eps) + eps / 2
                    wrong[c] = scale * (classes[c] - y)
                if focal:
                    pt = classes[label]
                    wrong *= 0.5 * -(1 - pt) * (2 * pt * math.log(pt) + pt - 1)
    if kind == "MSE" and not gaussian:
        return (d**2).sum() / len(x), d
    return ((d[:, :, objectness:] ** 2).sum() + normalizer * np.mean(counted)) / len(x), d


TRUTH = [
    [(0, 0.31, 0.4, 0.3, 0.45), (2, 0.72, 0.61, 0.9, 0.3), (1, 0.35, 0.45, 0.33, 0.4), (1, 0.99, 0.02, 0.1, 0.2)],
    [(2, 0.5, 0.5, 0.4, 0.9)],
    [],
]


def lists_of(truth):
    rows = np.zeros((len(truth), 1, 6, 5))
    for image, own in enumerate(truth):
        rows[image, 0, : len(own)] = np.reshape(own, (-1, 5))
    return rows


def rows_of(truth):
    rows = [
        (n, c + 1, 0, x - w / 2, y - h / 2, x + w / 2, y + h / 2, 0)
        for n, own in enumerate(truth)
        for c, x, y, w, h in own
    ]
    return np.array([*rows, [-1] * 8], float)[None, None]


def run(engine, labels, text="", layer="Yolov3", values=8, dtype="float64", thresh=0.5):
    x = np.random.default_rng(3).normal(0, 0.7, (3, len(MASK), values, HEIGHT, WIDTH))
    biases = " ".join(f"biases: {side}" for anchor in ANCHORS for side in anchor)
    masks = " ".join(f"mask: {number}" for number in MASK)
    net = make_net(
        f'type: "{layer}" loss_weight: 1 yolov3_param {{ num_class: {CLASSES} num: 2 anchors_scale: {SCALE} {biases} '
        f"{masks} coord_scale: 1.5 class_scale: 2 thresh: {thresh} {text} }}",
        [
            Bottom((3, 2 * values, HEIGHT, WIDTH), lambda rng: x.reshape(3, -1, HEIGHT, WIDTH)),
            Bottom(labels.shape, lambda rng: labels),
        ],
        engine=engine,
        dtype=dtype,
    )
    net.forward()
    net.backward()
    return x, float(net.blobs["y0"].data), net.blobs["x0"].diff.reshape(x.shape)


@pytest.mark.parametrize("kind", ["MSE", "IOU", "GIOU", "DIOU", "CIOU"])
def test_losses(kind: str, engine: str) -> None:
    x, loss, diff = run(engine, lists_of(TRUTH), f"iou_loss: {kind}")
    wanted, d = by_hand(x, TRUTH, kind)
    np.testing.assert_allclose(loss, wanted, rtol=1e-6)
    np.testing.assert_allclose(diff, d / 3, rtol=1e-5, atol=1e-8)


CROWD = [[(0, 0.31, 0.4, 0.3, 0.45), (2, 0.32, 0.41, 0.31, 0.4)], TRUTH[1], TRUTH[0]]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("use_focal_loss: true", {"focal": True}),
        ("label_smooth_eps: 0 iou_thresh: 1", {"eps": 0, "iou_thresh": 1}),
        ("iou_thresh: 0.3", {"thresh": 0.2, "iou_thresh": 0.3}),
        ("iou_loss: GIOU accumulate: false", {"kind": "GIOU", "accumulate": False}),
        ("iou_loss: CIOU max_delta: 0.05 iou_normalizer: 0.7", {"kind": "CIOU", "bound": 0.05, "normalizer": 0.7}),
    ],
)
def test_options(text: str, options: dict) -> None:
    x, loss, diff = run("numpy", lists_of(CROWD), text, thresh=options.get("thresh", 0.5))
    wanted, d = by_hand(x, CROWD, **options)
    np.testing.assert_allclose(loss, wanted, rtol=1e-6)
    np.testing.assert_allclose(diff, d / 3, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("text", ["", "accumulate: false max_delta: 0.2"])
def test_gaussian(text: str, engine: str) -> None:
    x, loss, diff = run(engine, lists_of(CROWD), text, "GaussianYolov3", 12)
    options = {"accumulate": False, "bound": 0.2} if text else {}
    wanted, d = by_hand(x, CROWD, gaussian=True, eps=0, **options)
    np.testing.assert_allclose(loss, wanted, rtol=1e-6)
    np.testing.assert_allclose(diff, d / 3, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("kind", ["MSE", "GIOU"])
def test_logic_gradient(kind: str) -> None:
    x, loss, diff = run("numpy", lists_of(TRUTH), f"iou_loss: {kind}")
    _, with_slope, other = run("numpy", lists_of(TRUTH), f"iou_loss: {kind} use_logic_gradient: true")
    assert loss == with_slope
    slope = 1 / (1 + np.exp(-x)) * (1 - 1 / (1 + np.exp(-x)))
    slope[:, :, 2:4] = 1
    np.testing.assert_allclose(other, diff * slope)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_forms_of_true_boxes(dtype: str, engine: str) -> None:
    _, loss, diff = run(engine, lists_of(TRUTH), dtype=dtype)
    _, again, other = run(engine, rows_of(TRUTH), dtype=dtype)
    np.testing.assert_allclose(again, loss, rtol=1e-5)
    np.testing.assert_allclose(other, diff, rtol=1e-4, atol=1e-5)


def test_a_list_ends_at_a_width_of_0() -> None:
    lists = lists_of(TRUTH)
    lists[0, 0, 2] = 0
    _, loss, _ = run("numpy", lists)
    assert loss == run("numpy", lists_of([TRUTH[0][:2], *TRUTH[1:]]))[1]


@pytest.mark.parametrize("kind", ["IOU", "GIOU", "DIOU", "CIOU"])
def test_slopes_of_boxes_apart(kind: str) -> None:
    box, truth = np.array([[0.2, 0.3, 0.1, 0.2]]), np.array([[0.7, 0.37, 0.3, 0.1]])

    def measured(b):
        shared = np.minimum(b[:2] + b[2:] / 2, truth[0, :2] + truth[0, 2:] / 2)
        shared -= np.maximum(b[:2] - b[2:] / 2, truth[0, :2] - truth[0, 2:] / 2)
        iou = iou_by_hand(b, truth[0], signed=True)
        union = b[2:].prod() + truth[0, 2:].prod() - shared.prod()
        return iou if kind == "IOU" else union / (b[2:] + truth[0, 2:] - shared).prod()

    found = slopes(Measure[kind], box, truth)[0]
    if kind in ("DIOU", "CIOU"):
        wanted = slope_by_hand(kind, box[0], truth[0])
    else:
        each = [(measured(box[0] + h) - measured(box[0] - h)) / 2e-6 for h in np.eye(4) * 1e-6]
        wanted = np.array(each) * [1, 1, 2, 2]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("yolov3_param { num: 1 biases: 3 mask: 0 num_class: 2 }", "there are 1 biases"),
        ("yolov3_param { num: 1 biases: 3 biases: 0 mask: 0 num_class: 2 }", "one of the biases is 0"),
        ("yolov3_param { num: 2 biases: 3 biases: 4 mask: 0 num_class: 2 }", "mask has 1 numbers, up to 0"),
        ("yolov3_param { num: 1 biases: 3 biases: 4 mask: 1 num_class: 2 }", "mask has 1 numbers, up to 1"),
        ("yolov3_param { num: 1 biases: 3 biases: 4 mask: 0 num_class: 0 }", "num_class 0"),
        ("yolov3_param { num: 1 biases: 3 biases: 4 mask: 0 num_class: 3 }", "1 anchors need 8 numbers each"),
    ],
)
def test_mistakes_in_the_settings(text: str, what: str) -> None:
    with pytest.raises(LayerError, match=what):
        make_net(f'type: "Yolov3" {text}', [Bottom((1, 7, 2, 2)), Bottom((1, 1, 3, 5))], engine="numpy")


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ((3, 0.5, 0.5, 0.2, 0.2), "one of 3 classes"),
        ((-1, 0.5, 0.5, 0.2, 0.2), "one of 3 classes"),
        ((1, 0.5, np.nan, 0.2, 0.2), "a true box is"),
        ((1, 0.5, 0.5, 0.2, 0), "a width and a height above 0"),
    ],
)
def test_mistakes_in_the_truth(row: tuple[float, ...], what: str) -> None:
    with pytest.raises(LayerError, match=what):
        run("numpy", lists_of([[row], [], []]))


def test_true_boxes_of_another_shape() -> None:
    with pytest.raises(LayerError, match=r"true boxes have the shape \(2, 1, 3, 5\)"):
        run("numpy", np.zeros((2, 1, 3, 5)))
