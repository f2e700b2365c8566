from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from math import exp, log, log1p

import numpy as np
import pytest

from caffe_lite import TEST, Net
from caffe_lite.errors import EngineError, LayerError

MakeNet = Callable[..., Net]


@dataclass
class Settings:
    """The fields of multibox_loss_param, with the defaults of SSD's Caffe."""

    num_classes: int = 4
    loc_loss_type: str = "SMOOTH_L1"
    conf_loss_type: str = "SOFTMAX"
    loc_weight: float = 1.0
    share_location: bool = True
    match_type: str = "PER_PREDICTION"
    overlap_threshold: float = 0.5
    use_prior_for_matching: bool = True
    background_label_id: int = 0
    use_difficult_gt: bool = True
    neg_pos_ratio: float = 3.0
    neg_overlap: float = 0.5
    code_type: str = "CORNER"
    encode_variance_in_target: bool = False
    map_object_to_agnostic: bool = False
    ignore_cross_boundary_bbox: bool = False
    bp_inside: bool = False
    mining_type: str = "MAX_NEGATIVE"
    sample_size: int = 64
    use_prior_for_nms: bool = False
    nms: tuple[float, int] | None = None

    def text(self) -> str:
        given = []
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "nms":
                given += [f"nms_param {{ nms_threshold: {value[0]} top_k: {value[1]} }}"] if value else []
            elif value != field.default or field.name == "num_classes":
                given.append(f"{field.name}: {str(value).lower() if isinstance(value, bool) else value}")
        return f"multibox_loss_param {{ {' '.join(given)} }}"


def iou(a, b) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    area = sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
    return width * height / (area - width * height)


def encoded(s: Settings, box, prior, variance) -> list[float]:
    size = [prior[2] - prior[0], prior[3] - prior[1]]
    if s.code_type == "CORNER":
        code = [box[i] - prior[i] for i in range(4)]
    elif s.code_type == "CORNER_SIZE":
        code = [(box[i] - prior[i]) / size[i % 2] for i in range(4)]
    else:
        code = [((box[i] + box[i + 2]) / 2 - (prior[i] + prior[i + 2]) / 2) / size[i] for i in range(2)]
        code += [log((box[i + 2] - box[i]) / size[i]) for i in range(2)]
    return [c / v for c, v in zip(code, variance, strict=True)]


def decoded(s: Settings, code, prior, variance) -> list[float]:
    if not s.encode_variance_in_target:
        code = [c * v for c, v in zip(code, variance, strict=True)]
    size = [prior[2] - prior[0], prior[3] - prior[1]]
    if s.code_type == "CORNER":
        return [prior[i] + code[i] for i in range(4)]
    if s.code_type == "CORNER_SIZE":
        return [prior[i] + code[i] * size[i % 2] for i in range(4)]
    centre = [(prior[i] + prior[i + 2]) / 2 + code[i] * size[i] for i in range(2)]
    half = [exp(code[i + 2]) * size[i] / 2 for i in range(2)]
    return [centre[0] - half[0], centre[1] - half[1], centre[0] + half[0], centre[1] + half[1]]


def matching(s: Settings, objects: list, boxes: list) -> tuple[list, list[float]]:
    """For each box the object it is matched to, None or "ignored"; and its largest overlap."""
    matched: list = [None] * len(boxes)
    best = [0.0] * len(boxes)
    pairs = {}
    for i, box in enumerate(boxes):
        if s.ignore_cross_boundary_bbox and not all(0 <= c <= 1 for c in box):
            matched[i] = "ignored"
            continue
        for j, (_, truth) in enumerate(objects):
            overlap = iou(box, truth)
            if overlap > 1e-6:
                pairs[i, j] = overlap
                best[i] = max(best[i], overlap)
    waiting = set(range(len(objects)))
    while True:
        free = [(-o, i, j) for (i, j), o in pairs.items() if matched[i] is None and j in waiting]
        if not free:
            break
        _, i, j = min(free)
        matched[i] = objects[j]
        waiting.remove(j)
    if s.match_type == "PER_PREDICTION":
        for i in range(len(boxes)):
            mine = [(-o, j) for (k, j), o in pairs.items() if k == i and o >= s.overlap_threshold]
            if matched[i] is None and mine:
                matched[i] = objects[min(mine)[1]]
    return matched, best


def f(s: Settings, d: float) -> tuple[float, float]:
    if s.loc_loss_type == "L2" or abs(d) < 1:
        return d * d / 2, d
    return abs(d) - 0.5, float(np.sign(d))


def class_loss(s: Settings, scores, classes: set[int]) -> tuple[float, np.ndarray]:
    """Loss and gradient; a softmax has one class, the last."""
    if s.conf_loss_type == "SOFTMAX":
        label = max(classes)
        shifted = [exp(x - max(scores)) for x in scores]
        p = np.array(shifted) / sum(shifted)
        gradient = p.copy()
        gradient[label] -= 1
        return -log(max(p[label], 1.1754943508222875e-38)), gradient
    targets = [float(k in classes) for k in range(len(scores))]
    loss = sum(max(x, 0) - x * t + log1p(exp(-abs(x))) for x, t in zip(scores, targets, strict=True))
    return loss, np.array([1 / (1 + exp(-x)) - t for x, t in zip(scores, targets, strict=True)])


def chosen(s: Settings, image: int, matched, best, costs, boxes) -> tuple[list[int], set[int]]:
    """Return the prior boxes that count as background, and those that mining keeps."""
    everything = range(len(matched))
    if s.mining_type == "MAX_NEGATIVE":
        candidates = [i for i in everything if matched[i] is None and best[i] < s.neg_overlap]
        most = int(s.neg_pos_ratio * sum(m not in (None, "ignored") for m in matched))
    else:
        candidates, most = list(everything), s.sample_size
    order = sorted(candidates, key=lambda i: (-costs[i], i))
    if s.nms:
        kept: list[int] = []
        for i in order[: s.nms[1] or None]:
            area = max(0, boxes[i][2] - boxes[i][0]) * max(0, boxes[i][3] - boxes[i][1])
            if area >= 1e-5 and all(iou(boxes[i], boxes[j]) <= s.nms[0] for j in kept):
                kept.append(i)
        order = kept
    picked = order[:most]
    return [i for i in picked if matched[i] is None], set(picked)


def by_hand(s: Settings, loc, conf, prior, gt, normalization: str = "VALID", fixed: float = 1.0):
    """Loss and gradients, image by image and prior box by prior box."""
    count = prior.shape[-1] // 4
    samples, k = len(loc), 1 if s.share_location else s.num_classes
    loc, conf = loc.reshape(samples, count, k, 4), conf.reshape(samples, count, s.num_classes)
    priors, variances = prior.reshape(2, count, 4)
    dloc, dconf, total, matches = np.zeros(loc.shape), np.zeros(conf.shape), 0.0, 0
    for n in range(samples):
        objects = []
        for row in gt.reshape(-1, 8):
            if int(row[0]) == n and (s.use_difficult_gt or not row[7]):
                label = s.background_label_id + 1 if s.map_object_to_agnostic else int(row[1])
                objects.append((label, row[3:7].tolist()))
        groups = [None] if s.use_prior_for_matching or s.share_location else range(s.num_classes)
        matchings = {}
        best = [0.0] * count
        for group in groups:
            boxes = [
                priors[i] if s.use_prior_for_matching else decoded(s, loc[n, i, group or 0], priors[i], variances[i])
                for i in range(count)
            ]
            mine = [o for o in objects if group in (None, o[0])]
            matchings[group], best = matching(s, mine, boxes) if mine else ([None] * count, best)
        classes = [
            {m[i][0] for m in matchings.values() if m[i] not in (None, "ignored")} or {s.background_label_id}
            for i in range(count)
        ]
        places: dict[int, list] = {i: [] for i in range(count)}
        for matched in matchings.values():
            for i, found in enumerate(matched):
                if found in (None, "ignored"):
                    continue
                label, box = found
                c = 0 if s.share_location else label
                target = encoded(s, box, priors[i], [1] * 4 if s.encode_variance_in_target else variances[i])
                own = priors[i]
                if not s.use_prior_for_matching:
                    own = decoded(s, loc[n, i, c], priors[i], variances[i])
                for x in range(4):
                    if s.bp_inside and not 0 <= own[x] <= 1:
                        continue
                    scale = 1 / variances[i][x] if s.encode_variance_in_target else 1
                    loss, slope = f(s, (loc[n, i, c, x] - target[x]) * scale)
                    places[i].append((loss, (n, i, c, x), slope * scale))
        costs = [class_loss(s, conf[n, i], classes[i])[0] for i in range(count)]
        if s.mining_type == "NONE":
            negatives, kept = list(range(count)), set(range(count))
            positives = [i for i in range(count) for m in matchings.values() if m[i] not in (None, "ignored")]
            counted = range(count)
        else:
            if not objects:
                continue
            (matched,) = matchings.values()
            if s.mining_type == "HARD_EXAMPLE":
                costs = [c + sum(p[0] for p in places[i]) for i, c in enumerate(costs)]
            boxes = priors
            if not s.use_prior_for_nms:
                boxes = [decoded(s, loc[n, i, 0], priors[i], variances[i]) for i in range(count)]
            negatives, kept = chosen(s, n, matched, best, costs, boxes)
            positives = [i for i in range(count) if matched[i] not in (None, "ignored")]
            if s.mining_type == "HARD_EXAMPLE":
                positives = [i for i in positives if i in kept]
            counted = [*positives, *negatives]
        matches += len(positives)
        for i in set(positives):
            for loss, at, slope in places[i]:
                total += s.loc_weight * loss
                dloc[at] += s.loc_weight * slope
        for i in counted:
            loss, gradient = class_loss(s, conf[n, i], classes[i])
            total += loss
            dconf[n, i] = gradient
    z = {"VALID": matches, "FULL": samples * count, "BATCH_SIZE": samples, "PRE_FIXED": fixed, "NONE": 1}[normalization]
    z = max(1, z)
    return total / z, dloc.reshape(samples, -1) / z, dconf.reshape(samples, -1) / z, matches


def scene(s: Settings, samples: int = 3, count: int = 40, objects: int = 9, seed: int = 0, code_scale: float = 0.5):
    """Values for the four bottoms: prior boxes near the objects, predictions near the prior boxes."""
    rng = np.random.default_rng(seed)
    k = 1 if s.share_location else s.num_classes
    gt = np.zeros((objects, 8))
    gt[:, 0] = rng.integers(-1, samples - 1, objects) if samples > 1 else 0  # the last image shows nothing
    others = [c for c in range(s.num_classes) if c != s.background_label_id]
    gt[:, 1] = rng.choice(others, objects)
    centre, size = rng.uniform(0.1, 0.9, (objects, 2)), rng.uniform(0.1, 0.4, (objects, 2))
    gt[:, 3:7] = np.hstack([centre - size / 2, centre + size / 2])
    gt[:, 7] = rng.integers(0, 2, objects)
    boxes = gt[rng.integers(0, objects, count), 3:7] + rng.uniform(-0.1, 0.1, (count, 4))
    far = boxes[:, :2] >= boxes[:, 2:]
    boxes[:, 2:][far] = boxes[:, :2][far] + 0.05
    variances = rng.choice([0.1, 0.2], (count, 4))
    scale = code_scale * (0.1 if s.encode_variance_in_target else 1)
    return {
        "loc": rng.standard_normal((samples, count * k * 4)) * scale,
        "conf": rng.standard_normal((samples, count * s.num_classes)) * 2,
        "prior": np.stack([boxes.ravel(), variances.ravel()])[None],
        "gt": gt[None, None],
    }


def loss_net(make_net: MakeNet, param: str, values: dict, more: str = "", **kw) -> Net:
    text = "force_backward: true\n"
    for name, value in values.items():
        dims = " ".join(f"dim: {n}" for n in value.shape)
        text += f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'
    bottoms = " ".join(f'bottom: "{name}"' for name in values)
    net = make_net(f'{text}layer {{ name: "mbox" type: "MultiBoxLoss" {bottoms} top: "loss" {param} {more} }}', **kw)
    for name, value in values.items():
        net.blobs[name].data[...] = value
    return net


CASES = {
    "as SSD": Settings(code_type="CENTER_SIZE"),
    "defaults": Settings(),
    "corner size": Settings(code_type="CORNER_SIZE", loc_weight=2.5),
    "L2": Settings(loc_loss_type="L2"),
    "logistic": Settings(conf_loss_type="LOGISTIC"),
    "logistic, no background": Settings(conf_loss_type="LOGISTIC", background_label_id=4),
    "logistic, no mining": Settings(conf_loss_type="LOGISTIC", mining_type="NONE"),
    "bipartite": Settings(match_type="BIPARTITE"),
    "no mining": Settings(mining_type="NONE"),
    "low thresholds": Settings(overlap_threshold=0.2, neg_overlap=0.3, neg_pos_ratio=0.7),
    "few negatives": Settings(neg_pos_ratio=0),
    "all negatives": Settings(neg_pos_ratio=1000),
    "another background": Settings(background_label_id=2),
    "no difficult ones": Settings(use_difficult_gt=False),
    "agnostic": Settings(num_classes=2, map_object_to_agnostic=True),
    "ignore crossing": Settings(ignore_cross_boundary_bbox=True),
    "ignore crossing, hard": Settings(ignore_cross_boundary_bbox=True, mining_type="HARD_EXAMPLE", sample_size=15),
    "inside": Settings(bp_inside=True, encode_variance_in_target=True),
    "inside, predicted": Settings(bp_inside=True, use_prior_for_matching=False, code_type="CENTER_SIZE"),
    "variance in target": Settings(encode_variance_in_target=True, code_type="CENTER_SIZE"),
    "variance in target, predicted": Settings(encode_variance_in_target=True, use_prior_for_matching=False),
    "predicted boxes": Settings(use_prior_for_matching=False, code_type="CENTER_SIZE"),
    "places of classes": Settings(share_location=False, mining_type="NONE", code_type="CENTER_SIZE"),
    "predicted places of classes": Settings(share_location=False, mining_type="NONE", use_prior_for_matching=False),
    "logistic places of classes": Settings(
        share_location=False, mining_type="NONE", use_prior_for_matching=False, conf_loss_type="LOGISTIC"
    ),
    "hard examples": Settings(mining_type="HARD_EXAMPLE", sample_size=12),
    "few hard examples": Settings(mining_type="HARD_EXAMPLE", sample_size=5, loc_loss_type="L2"),
    "hard logistic examples": Settings(mining_type="HARD_EXAMPLE", sample_size=20, conf_loss_type="LOGISTIC"),
    "hard examples apart": Settings(mining_type="HARD_EXAMPLE", sample_size=12, nms=(0.3, 0), use_prior_for_nms=True),
    "hard examples apart, predicted": Settings(mining_type="HARD_EXAMPLE", sample_size=12, nms=(0.4, 25)),
    "negatives apart": Settings(nms=(0.2, 30), use_prior_for_nms=True),
    "negatives apart, predicted": Settings(nms=(0.2, 0), code_type="CENTER_SIZE"),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", CASES)
def test_prior_box_by_prior_box(make_net: MakeNet, case: str, seed: int) -> None:
    s = CASES[case]
    values = scene(s, seed=seed)
    if s.map_object_to_agnostic:
        values["gt"][..., 1] += 7
    loss, dloc, dconf, matches = by_hand(s, **values)
    assert matches > 0
    net = loss_net(make_net, s.text(), values, dtype="float64")
    assert net.forward()["loss"] == pytest.approx(loss, rel=1e-6)  # fields are float32
    net.backward()
    np.testing.assert_allclose(net.blobs["loc"].diff, dloc, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(net.blobs["conf"].diff, dconf, rtol=1e-6, atol=1e-12)
    assert not net.blobs["prior"].diff.any() and not net.blobs["gt"].diff.any()


@pytest.mark.parametrize("case", ["as SSD", "hard examples", "logistic", "places of classes"])
def test_float32(make_net: MakeNet, case: str) -> None:
    s = CASES[case]
    values = {name: value.astype("f") for name, value in scene(s, seed=5, count=300).items()}
    loss, dloc, dconf, _ = by_hand(s, **values)
    net = loss_net(make_net, s.text(), values)
    assert net.forward()["loss"] == pytest.approx(loss, rel=1e-4)
    net.backward()
    np.testing.assert_allclose(net.blobs["loc"].diff, dloc, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(net.blobs["conf"].diff, dconf, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "normalization"),
    [
        ("normalize: true", "VALID"),
        ("normalize: false", "BATCH_SIZE"),
        *((f"normalization: {mode} pre_fixed_normalizer: 6.5", mode) for mode in ("VALID", "FULL", "BATCH_SIZE")),
        *((f"normalization: {mode} pre_fixed_normalizer: 6.5", mode) for mode in ("PRE_FIXED", "NONE")),
    ],
)
def test_normalization(make_net: MakeNet, text: str, normalization: str) -> None:
    s = CASES["as SSD"]
    values = scene(s)
    loss, dloc, _, _ = by_hand(s, **values, normalization=normalization, fixed=6.5)
    net = loss_net(make_net, f"{s.text()} loss_param {{ {text} }} loss_weight: 3", values, dtype="float64")
    assert net.forward()["loss"] == pytest.approx(loss, rel=1e-6)
    net.backward()
    np.testing.assert_allclose(net.blobs["loc"].diff, 3 * dloc, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("mining", ["MAX_NEGATIVE", "HARD_EXAMPLE", "NONE"])
def test_images_without_objects(make_net: MakeNet, mining: str) -> None:
    s = Settings(mining_type=mining)
    values = scene(s)
    values["gt"][..., 0] = -1
    values["gt"][..., 1] = -1
    net = loss_net(make_net, s.text(), values, dtype="float64")
    assert net.forward()["loss"] == pytest.approx(by_hand(s, **values)[0], rel=1e-6)
    net.backward()
    assert not net.blobs["loc"].diff.any() and net.blobs["conf"].diff.any() == (mining == "NONE")


@pytest.mark.parametrize("first", [True, False])
def test_a_part_without_gradient_is_no_part_of_the_loss(make_net: MakeNet, first: bool) -> None:
    """As the original has it."""
    s = CASES["as SSD"]
    values = scene(s)
    asked = f"propagate_down: {str(first).lower()} propagate_down: {str(not first).lower()}"
    net = loss_net(make_net, s.text(), values, f"{asked} propagate_down: false propagate_down: false", dtype="float64")
    whole = by_hand(s, **values)[0]
    classes = by_hand(Settings(code_type="CENTER_SIZE", loc_weight=0), **values)[0]
    assert net.forward()["loss"] == pytest.approx(whole - classes if first else classes, rel=1e-6)


@pytest.mark.parametrize("in_target", [False, True])
@pytest.mark.parametrize("code", ["CORNER", "CENTER_SIZE", "CORNER_SIZE"])
def test_what_is_learned_is_detected(make_net: MakeNet, code: str, in_target: bool) -> None:
    """Gradient descent on predictions, until DetectionOutput finds the objects of both images."""
    start = """
        layer { name: "in" type: "Input" top: "map" top: "image" top: "gt" input_param {
                shape { dim: 2 dim: 1 dim: 6 dim: 6 } shape { dim: 2 dim: 3 dim: 120 dim: 120 }
                shape { dim: 1 dim: 1 dim: 3 dim: 8 } } }
        layer { name: "prior" type: "PriorBox" bottom: "map" bottom: "image" top: "prior" prior_box_param {
                min_size: 30 max_size: 60 aspect_ratio: 2 variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 } }
        layer { name: "loc" type: "Parameter" top: "loc" parameter_param { shape { dim: 2 dim: 576 } } }
        layer { name: "conf" type: "Parameter" top: "conf" parameter_param { shape { dim: 2 dim: 432 } } }"""
    learned = make_net(
        f"""{start} layer {{ name: "mbox" type: "MultiBoxLoss" bottom: "loc" bottom: "conf" bottom: "prior" bottom: "gt"
            top: "loss" multibox_loss_param {{ num_classes: 3 code_type: {code}
            encode_variance_in_target: {str(in_target).lower()} }} }}"""
    )
    gt = np.array(
        [[0, 1, 0, 0.1, 0.2, 0.5, 0.5, 0], [0, 2, 0, 0.6, 0.5, 0.9, 0.95, 0], [1, 2, 0, 0.3, 0.3, 0.8, 0.6, 0]]
    )
    learned.blobs["gt"].data[...] = gt
    for _ in range(100):
        learned.forward()
        learned.clear_param_diffs()
        learned.backward()
        for name, rate in (("loc", 0.02 if in_target else 2), ("conf", 20)):
            (param,) = learned.params[name]
            param.data[...] -= rate * param.diff
    found = make_net(
        f"""{start} layer {{ name: "rows" type: "Reshape" bottom: "conf" top: "rows"
            reshape_param {{ shape {{ dim: 2 dim: -1 dim: 3 }} }} }}
        layer {{ name: "prob" type: "Softmax" bottom: "rows" top: "prob" softmax_param {{ axis: 2 }} }}
        layer {{ name: "flat" type: "Flatten" bottom: "prob" top: "flat" }}
        layer {{ name: "out" type: "DetectionOutput" bottom: "loc" bottom: "flat" bottom: "prior" top: "out"
            detection_output_param {{ num_classes: 3 code_type: {code} confidence_threshold: 0.8
            variance_encoded_in_target: {str(in_target).lower()} nms_param {{ nms_threshold: 0.45 }} }} }}
        layer {{ name: "unread" type: "Silence" bottom: "gt" }}""",
        TEST,
    )
    found.share_with(learned)
    found.forward()
    rows = found.blobs["out"].data[0, 0]
    assert rows[:, :2].tolist() == gt[:, :2].tolist()
    np.testing.assert_allclose(rows[:, 3:], gt[:, 3:7], atol=0.02)


def test_scores_that_are_far_apart(make_net: MakeNet) -> None:
    s = CASES["as SSD"]
    values = scene(s, count=30)
    values["conf"] = values["conf"] * 1e4
    net = loss_net(make_net, s.text(), values)
    assert np.isfinite(net.forward()["loss"])
    assert net.blobs["loss"].data < 31 * 87.34


def test_a_whole_batch_of_ssd300(make_net: MakeNet) -> None:
    """Four images of 8732 prior boxes and 21 classes cost what each of them costs."""
    s = Settings(num_classes=21, code_type="CENTER_SIZE")
    values = scene(s, samples=4, count=8732, objects=30)
    net = loss_net(make_net, s.text(), values, "loss_param { normalization: NONE }")
    whole = float(net.forward()["loss"])
    total = 0.0
    for image in range(4):
        gt = values["gt"].copy()
        gt[..., 0] = np.where(gt[..., 0] == image, 0, -1)
        gt[..., 1] = np.where(gt[..., 0] == 0, gt[..., 1], -1)
        one = {
            "loc": values["loc"][image, None],
            "conf": values["conf"][image, None],
            "prior": values["prior"],
            "gt": gt,
        }
        total += float(loss_net(make_net, s.text(), one, "loss_param { normalization: NONE }").forward()["loss"])
    assert whole == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize(
    ("param", "what"),
    [
        ("", "num_classes is not given, or 0"),
        ("num_classes: 4 do_neg_mining: false", "do_neg_mining does not agree with mining_type: MAX_NEGATIVE"),
        ("num_classes: 4 share_location: false", "mining works only with share_location"),
        ("num_classes: 4 mining_type: HARD_EXAMPLE sample_size: 0", "sample_size is 0"),
        ("num_classes: 4 background_label_id: 4", "background_label_id 4 is none of the 4 classes"),
        ("num_classes: 1 map_object_to_agnostic: true", "there is no class for map_object_to_agnostic"),
        ("num_classes: 4 ignore_difficult_gt: true", "ignore_difficult_gt is set, which no fork reads"),
        ("num_classes: 4 objectness_score: 0.1", "objectness_score is given"),
        ("num_classes: 5", r"the scores \(3, 160\) do not fit 40 prior boxes with 5 values each. Give \(3, 200\)"),
        ("num_classes: 4 share_location: false mining_type: NONE", r"the places \(3, 160\) do not fit 40 prior boxes"),
    ],
)
def test_refused_settings(make_net: MakeNet, param: str, what: str) -> None:
    with pytest.raises(LayerError, match=what):
        loss_net(make_net, f"multibox_loss_param {{ {param} }}", scene(Settings()))


@pytest.mark.parametrize(
    ("name", "shape", "what"),
    [
        ("loc", (2, 160), r"\(2, 160\) and \(3, 160\) differ in their first axis"),
        ("prior", (2, 1, 160), r"the prior boxes have the shape \(2, 1, 160\)"),
        ("prior", (1, 2, 158), r"the prior boxes have the shape \(1, 2, 158\)"),
        ("gt", (1, 1, 9, 7), r"the truth has the shape \(1, 1, 9, 7\). Give \(1, 1, M, 8\)"),
    ],
)
def test_shapes_that_do_not_fit(make_net: MakeNet, name: str, shape: tuple[int, ...], what: str) -> None:
    with pytest.raises(LayerError, match=what):
        loss_net(make_net, Settings().text(), scene(Settings()) | {name: np.zeros(shape)})


@pytest.mark.parametrize(
    ("column", "value", "what"),
    [
        (0, 3, r"row 2 of the truth, \[3.0, .*\], is of none of the 3 images"),
        (0, -2, "is of none of the 3 images"),
        (4, np.nan, "is not finite"),
        (1, 0, "is of the background"),
        (1, 4, "is of none of the 4 classes"),
        (1, -1, "is of none of the 4 classes"),
    ],
)
def test_a_truth_that_cannot_be(make_net: MakeNet, column: int, value: float, what: str) -> None:
    values = scene(Settings())
    values["gt"][..., 2, 0] = 1
    values["gt"][..., 2, column] = value
    net = loss_net(make_net, Settings().text(), values)
    with pytest.raises(LayerError, match=what):
        net.forward()


def test_a_variance_of_zero(make_net: MakeNet) -> None:
    values = scene(Settings())
    values["prior"][0, 1, 5] = 0
    with pytest.raises(LayerError, match="a variance of the prior boxes is not above 0"):
        loss_net(make_net, Settings().text(), values).forward()


@pytest.mark.parametrize("code", ["CORNER_SIZE", "CENTER_SIZE"])
def test_a_prior_box_without_a_size(make_net: MakeNet, code: str) -> None:
    """A prediction relative to its size is always a point; one relative to its corners may be matched."""
    values = scene(Settings())
    values["prior"][0, 0, :4] = [0.5, 0.5, 0.5, 0.7]
    values["loc"][:, :4] = [-1, 0, 1, 0]
    values["gt"][0, 0, 0] = [0, 1, 0, 0.4, 0.5, 0.6, 0.7, 0]
    values["prior"][0, 1, :4] = 0.1
    net = loss_net(make_net, Settings(use_prior_for_matching=False).text(), values)
    assert np.isfinite(net.forward()["loss"])
    net = loss_net(make_net, Settings(use_prior_for_matching=False, code_type=code).text(), values)
    assert np.isfinite(net.forward()["loss"])


def test_the_truth_has_no_gradient(make_net: MakeNet) -> None:
    asked = "propagate_down: true propagate_down: true propagate_down: false propagate_down: true"
    net = loss_net(make_net, Settings().text(), scene(Settings()), asked)
    net.forward()
    with pytest.raises(LayerError, match="a gradient is asked for the prior boxes or the truth"):
        net.backward()


def test_it_cannot_be_compiled(make_net: MakeNet, engine: str) -> None:
    if engine != "torch":
        pytest.skip("only torch compiles")
    net = loss_net(make_net, Settings().text(), scene(Settings()), compile=True, phase=TEST)
    with pytest.raises(EngineError, match=r"MultiBoxLoss.*cannot be compiled: it computes on the host"):
        net.forward()
