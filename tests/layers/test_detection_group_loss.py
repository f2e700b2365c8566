from __future__ import annotations

import math

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .cascade import norm, run

MEAN, STD = (0, 0.1, 0, -0.1), (0.5, 0.4, 0.3, 0.2)
SIZES, STRIDE = ((24, 40), (40, 30)), 8
GROUPS = len(SIZES)


def text(param: str = "", more: str = "", classes: int = 3, sizes=SIZES) -> str:
    fields = " ".join(f"field_w: {width} field_h: {height}" for width, height in sizes)
    return (
        f'type: "DetectionGroupLoss" {norm(MEAN, STD)} detection_group_loss_param {{ cls_num: {classes} {fields} '
        f"stride: {STRIDE} {param} }} {more}"
    )


def maps(rng, images=2, classes=3, height=4, width=5, positive=0.3):
    """Return scores, deltas and truth; some anchors without an object overlap one by more than half."""
    count = images * GROUPS
    labels = rng.integers(1, 3, (count, 1, height, width)) * (rng.random((count, 1, height, width)) < positive)
    centre, size = rng.uniform(0, 40, (count, 2, height, width)), rng.uniform(1, 60, (count, 2, height, width))
    overlap = rng.uniform(0, 0.8, (count, 1, height, width))
    truth = np.concatenate([labels, centre, size, overlap], 1)
    return rng.normal(0, 1, (count, classes, height, width)), rng.normal(0, 1, (count, 4, height, width)), truth


def positions(truth):
    for n in range(len(truth)):
        for y in range(truth.shape[2]):
            for x in range(truth.shape[3]):
                yield n, y, x


def probability(scores, at, label):
    n, y, x = at
    return math.exp(scores[n, label, y, x]) / sum(math.exp(s) for s in scores[n, :, y, x])


def target(truth, at, sizes=SIZES):
    n, y, x = at
    _, cx, cy, width, height, _ = truth[:, :, y, x][n]
    w, h = sizes[n % len(sizes)]
    numbers = [
        (cx - (x + 0.5) * STRIDE) / w,
        (cy - (y + 0.5) * STRIDE) / h,
        math.log(max(width, 2) / w),
        math.log(max(height, 2) / h),
    ]
    return [(value - m) / s for value, m, s in zip(numbers, MEAN, STD, strict=True)]


def cost(difference, euclidean):
    return difference**2 / 2 if euclidean or abs(difference) < 1 else abs(difference) - 0.5


def losses(arrays, counts, *, factor=1.0, objectness=False, euclidean=False, ignore=None, bounds=None, weight=None):
    """Return the loss and its part of boxes, over the anchors that count."""
    scores, deltas, truth = arrays
    of_scores, of_boxes = [], []
    for at in counts:
        n, y, x = at
        label = int(truth[n, 0, y, x])
        name = min(label, 1) if objectness else label
        if name != ignore:
            w = 1.0 if weight is None else weight[label > 0]
            of_scores.append(-w * math.log(probability(scores, at, name)))
        if label not in (0, ignore):
            for i, wanted in enumerate(target(truth, at)):
                value = deltas[n, i, y, x]
                if bounds:
                    value = min(max(value, bounds[i][0]), bounds[i][1])
                of_boxes.append(cost(value - wanted, euclidean))
    boxes = factor * (np.mean(of_boxes) if of_boxes else 0)
    return (np.mean(of_scores) if of_scores else 0) + boxes, boxes


def candidates(truth, threshold=0.5):
    positive = [at for at in positions(truth) if truth[at[0], 0, at[1], at[2]] > 0]
    negative = [(n, y, x) for n, y, x in positions(truth) if truth[n, 0, y, x] == 0 and truth[n, 5, y, x] < threshold]
    return positive, negative


ALL = "bg_multiple: 100"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("param", "more", "settings"),
    [
        ("", "", {}),
        ("lambda: 2.5", "", {"factor": 2.5}),
        ('bbox_loss_type: "Euclidean_L2"', "", {"euclidean": True}),
        ("", "loss_param { ignore_label: 1 }", {"ignore": 1}),
        ("", "loss_param { ignore_label: 0 }", {"ignore": 0}),
        (
            "field_xyr: 2 field_whr: 1.5",
            "",
            {
                "bounds": [((-0.5 - 0.05) / math.sqrt(0.2), (0.5 - 0.05) / math.sqrt(0.2))] * 2
                + [((-math.log(1.5) + 0.05) / math.sqrt(0.06), (math.log(1.5) + 0.05) / math.sqrt(0.06))] * 2
            },
        ),
        ("field_xyr: 2", "", {}),
    ],
)
def test_losses_by_hand(engine, param, more, settings, dtype) -> None:
    arrays = maps(np.random.default_rng(0))
    positive, negative = candidates(arrays[2])
    assert len(positive) > 5 and len(negative) > 5
    net, (top,) = run(text(f"{ALL} {param}", more), arrays, engine=engine, dtype=dtype)
    assert top.shape == (1, 1, 1, 2)
    np.testing.assert_allclose(top.ravel(), losses(arrays, positive + negative, **settings), rtol=1e-4)
    np.testing.assert_array_equal(net.blobs["x1"].data, arrays[1].astype(dtype))


def test_objectness(engine) -> None:
    arrays = maps(np.random.default_rng(0), classes=2)
    positive, negative = candidates(arrays[2])
    _, (top,) = run(text(f"{ALL} objectness: true", classes=2), arrays, engine=engine)
    np.testing.assert_allclose(top.ravel(), losses(arrays, positive + negative, objectness=True), rtol=1e-4)


def test_weights_make_up_for_numbers(engine) -> None:
    arrays = maps(np.random.default_rng(0))
    positive, negative = candidates(arrays[2])
    total = len(positive) + len(negative)
    weight = {True: total / 4 / len(positive), False: total * 3 / 4 / len(negative)}
    param = "batch_size: 4000 bg_multiple: 3 pos_neg_weighted: true"
    _, (top,) = run(text(param), arrays, engine=engine)
    np.testing.assert_allclose(top.ravel(), losses(arrays, positive + negative, weight=weight), rtol=1e-4)


@pytest.mark.parametrize("param", ["lambda: 0.7", 'bbox_loss_type: "Euclidean_L2" pos_neg_weighted: true'])
def test_gradients_are_those_of_the_first_number(engine, param) -> None:
    rng = np.random.default_rng(1)
    arrays = maps(rng)
    net, _ = run(text(f"bg_multiple: 30 {param}", "loss_weight: 3"), arrays, engine=engine, dtype="float64")
    net.backward()
    diffs = [net.blobs[name].diff.copy() for name in ("x0", "x1")]
    for name, diff in zip(("x0", "x1"), diffs, strict=True):
        blob = net.blobs[name]
        for at in rng.permutation(list(np.ndindex(*diff.shape)))[:25]:
            at = tuple(at)
            values = []
            kept = blob.data[at]
            for step in (1e-5, -1e-5):
                blob.data[at] = kept + step
                values.append(3 * net.forward()["y0"].ravel()[0])
            blob.data[at] = kept
            np.testing.assert_allclose(diff[at], (values[0] - values[1]) / 2e-5, rtol=1e-4, atol=1e-8)
        assert (diff != 0).mean() > 0.1


def test_a_limited_delta_keeps_its_gradient(engine) -> None:
    arrays = maps(np.random.default_rng(1), images=1)
    arrays[1][...] = 100
    net, _ = run(text(f"{ALL} field_xyr: 2 field_whr: 1.1"), arrays, engine=engine)
    net.backward()
    assert ((net.blobs["x1"].diff != 0).any(1) == (arrays[2][:, 0] > 0)).all()


def sampled(net) -> np.ndarray:
    """Return whether each anchor counts, as its gradient tells."""
    net.forward()
    net.backward()
    return (net.blobs["x0"].diff != 0).any(1)


@pytest.mark.parametrize(
    ("param", "positive", "negative"),
    [
        ("bg_multiple: 1", None, "positive"),
        ("bg_multiple: 0 min_num_neg: 3", None, 3),
        ("batch_size: 12 bg_multiple: 2", 4, 8),
        ("batch_size: 12 bg_multiple: 2 neg_mining_type: 'bootstrap'", 4, 8),
        ("batch_size: 12 bg_multiple: 2 neg_mining_type: 'mixture' neg_ranking_type: 'conf_prob'", 4, 8),
    ],
)
def test_how_many_are_drawn_from_each_image(engine, param, positive, negative) -> None:
    arrays = maps(np.random.default_rng(0), positive=0.25)
    net, _ = run(text(param), arrays, engine=engine)
    labels, overlap = (arrays[2][:, i].reshape(2, -1) for i in (0, 5))
    seen = []
    for _ in range(4):
        kept = sampled(net).reshape(2, -1)
        seen.append(kept)
        for image in range(2):
            positives = int((labels[image] > 0).sum())
            wanted = positives if positive is None else positive
            assert (kept[image] & (labels[image] > 0)).sum() == wanted
            assert (kept[image] & (labels[image] == 0)).sum() == (positives if negative == "positive" else negative)
            assert not (kept[image] & (labels[image] == 0) & (overlap[image] >= 0.5)).any()
    assert any((seen[0] != other).any() for other in seen[1:])


@pytest.mark.parametrize("mining", ["bootstrap", "mixture"])
@pytest.mark.parametrize("ranking", ["conf_loss", "conf_prob"])
def test_the_hardest_negatives_count(engine, mining, ranking) -> None:
    arrays = maps(np.random.default_rng(0), images=1, positive=0)
    param = f"batch_size: 7 neg_mining_type: '{mining}' neg_ranking_type: '{ranking}'"
    net, _ = run(text(param), arrays, engine=engine)
    _, negative = candidates(arrays[2])
    hardest = sorted(negative, key=lambda at: probability(arrays[0], at, 0))
    certain = 7 if mining == "bootstrap" else 4
    others = set()
    for _ in range(5):
        kept = {tuple(map(int, at)) for at in np.argwhere(sampled(net))}
        assert len(kept) == 7 and kept >= set(hardest[:certain])
        others |= kept - set(hardest[:certain])
    assert len(others) > 3 or mining == "bootstrap"


def test_nothing_counts(engine) -> None:
    for images in (0, 1):
        arrays = maps(np.random.default_rng(0), images, positive=0)
        arrays[2][:, 5] = 1
        net, (top,) = run(text(), arrays, engine=engine)
        np.testing.assert_array_equal(top.ravel(), [0, 0])
        net.backward()
        assert not net.blobs["x0"].diff.any() and not net.blobs["x1"].diff.any()


@pytest.mark.parametrize(
    ("change", "classes", "what"),
    [
        ("cls_num: 0", 3, "there is no cls_num"),
        ("cls_num: 4", 3, "the shape of the scores is (4, 3, 4, 5)"),
        ("objectness: true", 3, "objectness is set, and cls_num is 3"),
        ("neg_mining_type: 'hard'", 3, "neg_mining_type is 'hard'. Use random or bootstrap or mixture"),
        ("neg_ranking_type: 'hard'", 3, "neg_ranking_type is 'hard'"),
        ("bbox_loss_type: 'L1'", 3, "bbox_loss_type is 'L1'"),
        ("batch_size: 0", 3, "batch_size is 0"),
        ("field_w: 3", 3, "field_w has 3 values and field_h 2"),
        ("field_w: 3 field_h: 3", 3, "does not divide into 3 anchors"),
        ("stride: 0", 3, "there is no stride"),
        ("", 2, "label 2 of sample 0, position"),
    ],
)
def test_errors(engine, change, classes, what) -> None:
    arrays = maps(np.random.default_rng(0), classes=classes)
    layer = text(classes=classes)
    for field in (f"cls_num: {classes}", "stride: 8"):
        if field.split()[0] in change:
            layer = layer.replace(field, "")
    layer = layer.replace("group_loss_param {", f"group_loss_param {{ {change}")
    with pytest.raises(LayerError) as error:
        run(layer, arrays, engine=engine)
    assert what in str(error.value)
