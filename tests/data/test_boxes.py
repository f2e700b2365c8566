from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite.data.boxes import (
    CodeType,
    Measure,
    areas,
    best_first,
    clip,
    clip_inside,
    decode,
    encode,
    from_deltas,
    nms,
    nms_of_many,
    overlaps,
    paired_overlaps,
    to_deltas,
)


def size_by_hand(box, inclusive) -> float:
    x1, y1, x2, y2 = map(float, box)
    return max(0.0, x2 - x1 + inclusive) * max(0.0, y2 - y1 + inclusive)


def overlap_by_hand(a, b, inclusive=False) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0]) + inclusive
    height = min(a[3], b[3]) - max(a[1], b[1]) + inclusive
    if width <= 0 or height <= 0:
        return 0.0
    union = size_by_hand(a, inclusive) + size_by_hand(b, inclusive) - width * height
    return width * height / union if union > 0 else 0.0


def nms_by_hand(boxes, threshold, eta=1.0, most=None, inclusive=False) -> list[int]:
    kept = []
    for i, box in enumerate(boxes):
        if most is not None and len(kept) == most:
            break
        if all(overlap_by_hand(box, boxes[j], inclusive) <= threshold for j in kept):
            kept.append(i)
            if eta < 1 and threshold > 0.5:
                threshold *= eta
    return kept


def random_boxes(rng, count, size=0.3, dtype=np.float64) -> np.ndarray:
    """Boxes of which many overlap, and a few are inverted, empty or the same."""
    centre = rng.uniform(0, 1, (count, 2))
    half = rng.uniform(-0.02, size, (count, 2))
    boxes = np.concatenate([centre - half, centre + half], 1)
    boxes[rng.random(count) < 0.05, 2:] = 0.5
    if count:
        boxes[rng.random(count) < 0.1] = boxes[0]
    return boxes.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("inclusive", [False, True])
def test_areas_and_overlaps(inclusive, dtype) -> None:
    rng = np.random.default_rng(0)
    scale = 40 if inclusive else 1
    a, b = (random_boxes(rng, n, dtype=dtype) * dtype(scale) for n in (30, 20))
    found = overlaps(a, b, inclusive)
    assert found.dtype == areas(a).dtype == dtype
    np.testing.assert_allclose(areas(a, inclusive), [size_by_hand(box, inclusive) for box in a], rtol=1e-5, atol=1e-6)
    wanted = [[overlap_by_hand(x, y, inclusive) for y in b] for x in a]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    assert 0 < (found > 0).mean() < 1


def test_special_overlaps() -> None:
    box, inside = [0.0, 0, 2, 2], [0.0, 0, 1, 2]
    beside, point, inverted = [2.0, 0, 4, 2], [1.0, 1, 1, 1], [1.0, 2, 0, 3]
    found = overlaps(np.array([box, point]), np.array([box, inside, beside, point, inverted]))
    np.testing.assert_array_equal(found, [[1, 0.5, 0, 0, 0], [0, 0, 0, 0, 0]])
    found = overlaps(np.array([box, point]), np.array([box, inside, beside, point]), inclusive=True)
    np.testing.assert_allclose(found, [[1, 6 / 9, 3 / 15, 1 / 9], [1 / 9, 1 / 6, 0, 1]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("measure", [Measure.SMALLER, Measure.FIRST])
def test_other_measures(measure, inclusive, dtype) -> None:
    rng = np.random.default_rng(0)
    a, b = (random_boxes(rng, n, dtype=dtype) * dtype(30) for n in (20, 30))
    found = overlaps(a, b, inclusive, measure)
    assert found.dtype == dtype
    for x, row in zip(a, found, strict=True):
        for y, value in zip(b, row, strict=True):
            union = overlap_by_hand(x, y, inclusive)
            shared = union / (1 + union) * (size_by_hand(x, inclusive) + size_by_hand(y, inclusive))
            sizes = [size_by_hand(x, inclusive)] + [size_by_hand(y, inclusive)] * (measure is Measure.SMALLER)
            assert value == pytest.approx(shared / min(sizes) if min(sizes) else 0, rel=1e-3, abs=1e-4)


def test_the_better_box_is_the_first_one() -> None:
    """An overlap is measured by the area of the box that was kept."""
    large, small = [0.0, 0, 10, 10], [0.0, 0, 10, 4]
    for boxes, kept in (([large, small], [0, 1]), ([small, large], [0])):
        assert nms(np.array(boxes), 0.5, measure=Measure.FIRST).tolist() == kept
        assert nms(np.array(boxes), 0.5, measure=Measure.SMALLER).tolist() == [0]
        assert nms(np.array(boxes), 0.5).tolist() == [0, 1]


@pytest.mark.parametrize("inclusive", [False, True])
def test_paired_overlaps(inclusive) -> None:
    a, b = (random_boxes(np.random.default_rng(seed), 30) for seed in (0, 1))
    found = paired_overlaps(a.reshape(5, 6, 4), b.reshape(5, 6, 4), inclusive)
    np.testing.assert_allclose(found.ravel(), overlaps(a, b, inclusive).diagonal(), rtol=1e-12)


def test_clip_inside() -> None:
    boxes = np.array([[-5, 2, 70, 80], [65, 1, 90, 3]], np.float32)
    clip_inside(boxes, 60, 50)
    np.testing.assert_array_equal(boxes, [[0, 2, 60, 50], [65, 1, 60, 3]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_deltas_lead_from_box_to_box(dtype) -> None:
    rng = np.random.default_rng(0)
    start = rng.uniform(0, 50, (2, 20, 2))
    boxes, targets = np.concatenate([start, start + rng.uniform(0, 40, (2, 20, 2))], -1).astype(dtype)
    deltas = to_deltas(boxes, targets)
    assert deltas.dtype == dtype
    for box, target, numbers in zip(boxes, targets, deltas, strict=True):
        for i in (0, 1):
            size, wanted = box[2 + i] - box[i] + 1, target[2 + i] - target[i] + 1
            shift = (target[i] + wanted / 2 - box[i] - size / 2) / size
            assert numbers[i] == pytest.approx(shift, abs=1e-5)
            assert numbers[2 + i] == pytest.approx(math.log(wanted / size), abs=1e-5)
    wider = targets + np.array([0, 0, 1, 1])
    np.testing.assert_allclose(from_deltas(boxes, deltas), wider, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("m", "n"), [(0, 0), (0, 3), (3, 0)])
def test_no_boxes(m, n) -> None:
    assert overlaps(np.zeros((m, 4)), np.zeros((n, 4))).shape == (m, n)
    assert areas(np.zeros((m, 4))).shape == (m,)
    assert nms(np.zeros((0, 4), np.float32), 0.5).tolist() == []
    assert best_first(np.zeros(0)).tolist() == []


def test_clip() -> None:
    boxes = np.array([[-0.5, 0.2, 0.7, 1.5]], np.float32)
    np.testing.assert_allclose(clip(boxes), [[0, 0.2, 0.7, 1]])
    np.testing.assert_allclose(clip(boxes * 100, 60, 90), [[0, 20, 60, 90]])
    assert clip(boxes).dtype == np.float32


@settings(deadline=None)
@given(
    scores=st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, -1.0, math.nan, -math.inf]), max_size=12),
    most=st.none() | st.integers(0, 14),
    above=st.sampled_from([-math.inf, 0.0, 0.25, 2.0]),
)
def test_the_best_scores_come_first_and_equals_in_order(scores, most, above) -> None:
    wanted = sorted((i for i, score in enumerate(scores) if score > above), key=lambda i: -scores[i])[:most]
    assert best_first(np.array(scores), most, above).tolist() == wanted


@settings(deadline=None, max_examples=60)
@given(
    count=st.sampled_from([0, 1, 5, 256, 257, 300]),
    threshold=st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]),
    eta=st.sampled_from([1.0, 0.9, 0.5]),
    most=st.none() | st.sampled_from([0, 1, 7, 1000]),
    inclusive=st.booleans(),
    seed=st.integers(0, 9),
)
def test_nms(count, threshold, eta, most, inclusive, seed) -> None:
    boxes = random_boxes(np.random.default_rng(seed), count) * (50 if inclusive else 1)
    kept = nms(boxes, threshold, eta=eta, most=most, inclusive=inclusive)
    assert kept.tolist() == nms_by_hand(boxes, threshold, eta, most, inclusive)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nms_of_many(dtype) -> None:
    lists = np.random.default_rng(1).integers(0, 9, (7, 12, 4)).astype(dtype)
    kept = nms_of_many(lists, 0.3)
    assert [np.flatnonzero(row).tolist() for row in kept] == [nms(boxes, 0.3).tolist() for boxes in lists]
    assert not kept.all() and nms_of_many(lists[:, :0], 0.3).shape == (7, 0)


def test_an_overlap_of_just_the_threshold_is_kept() -> None:
    boxes = np.array([[0, 0, 2, 2], [0, 0, 1, 2], [0, 0, 2, 1.5]], np.float32)
    assert nms(boxes, 0.5).tolist() == [0, 1]


def test_eta_lowers_the_threshold_only_above_a_half() -> None:
    boxes = [[0, 0, 10, 10], [0, 0, 10, 6.5], [0, 0, 10, 5.5], [20, 0, 30, 10], [20, 0, 30, 4]]
    for eta, kept in [(1, [0, 1, 3, 4]), (0.9, [0, 2, 3, 4]), (0.6, [0, 3, 4])]:
        assert nms(np.array(boxes), 0.7, eta=eta).tolist() == kept


def test_boxes_of_nan_are_dropped_once_another_is_kept() -> None:
    boxes = np.array([[0, 0, 1, 1], [np.nan, 0, 1, 1], [2, 2, 3, 3]])
    assert nms(boxes, 0.5).tolist() == [0, 2]


def code_by_hand(code, box, prior, variance) -> list[float]:
    """SSD's paper, and its three codes, one number at a time."""
    width, height = prior[2] - prior[0], prior[3] - prior[1]
    if code == CodeType.CENTER_SIZE:
        numbers = [
            ((box[0] + box[2]) / 2 - (prior[0] + prior[2]) / 2) / width,
            ((box[1] + box[3]) / 2 - (prior[1] + prior[3]) / 2) / height,
            math.log((box[2] - box[0]) / width),
            math.log((box[3] - box[1]) / height),
        ]
    else:
        unit = [width, height, width, height] if code == CodeType.CORNER_SIZE else [1] * 4
        numbers = [(x - p) / u for x, p, u in zip(box, prior, unit, strict=True)]
    return [number / v for number, v in zip(numbers, variance, strict=True)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("in_target", [False, True])
@pytest.mark.parametrize("code", CodeType)
def test_codes(code, in_target, dtype) -> None:
    rng = np.random.default_rng(0)
    start = rng.uniform(0, 0.5, (2, 7, 2))
    boxes, priors = np.concatenate([start, start + rng.uniform(0.1, 0.5, (2, 7, 2))], -1).astype(dtype)
    variances = rng.uniform(0.1, 0.3, (7, 4)).astype(dtype)
    used = None if in_target else variances
    coded = encode(code, boxes, priors, used)
    ones = np.ones((7, 4))
    wanted = list(map(code_by_hand, [code] * 7, boxes, priors, ones if in_target else variances))
    np.testing.assert_allclose(coded, wanted, rtol=1e-3 if dtype == np.float32 else 1e-12, atol=1e-6)
    both = decode(code, np.stack([coded, coded]), priors, used)
    np.testing.assert_allclose(both, np.stack([boxes, boxes]), rtol=1e-5)
    assert coded.dtype == both.dtype == dtype


def test_code_types_have_the_numbers_of_the_files() -> None:
    assert {code.name: code.value for code in CodeType} == {"CORNER": 1, "CENTER_SIZE": 2, "CORNER_SIZE": 3}
