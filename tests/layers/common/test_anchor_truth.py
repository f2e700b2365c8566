from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite.data.windows.detection_batches import Area
from caffe_lite.layers.common.anchor_truth import AnchorMap, AnchorRules, truth_of

from ..cascade import overlap

MAPS = [AnchorMap(8, 20, 30), AnchorMap(8, 31, 16), AnchorMap(16, 40, 50)]


def area_of(box) -> float:
    return max(0.0, box[2] - box[0] + 1) * max(0.0, box[3] - box[1] + 1)


def covered(box, other) -> float:
    inner = [max(box[0], other[0]), max(box[1], other[1]), min(box[2], other[2]), min(box[3], other[3])]
    return area_of(inner) / area_of(box) if inner[0] <= inner[2] + 1 and inner[1] <= inner[3] + 1 else 0.0


def rounded(x: float) -> int:
    return math.floor(x + 0.5)


def by_hand(maps, rules, size, area, objects, regions):
    """Follow the rules place by place."""
    truth = [np.zeros((6, rounded(size[0] / m.stride), rounded(size[1] / m.stride))) for m in maps]
    counts, best, best_map = [0] * len(objects), [0.0] * len(objects), [0] * len(objects)

    def say(values, row, column, thing, label, share):
        x1, y1, x2, y2 = thing[3:]
        values[:, row, column] = [label, (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1 + 1, y2 - y1 + 1, share]

    for n, (m, values) in enumerate(zip(maps, truth, strict=True)):
        left, top = rounded(area.left / m.stride), rounded(area.top / m.stride)
        right, bottom = left + rounded(area.width / m.stride), top + rounded(area.height / m.stride)
        for row in range(values.shape[1]):
            for column in range(values.shape[2]):
                x, y = (column + 0.5) * m.stride, (row + 0.5) * m.stride
                box = [x - m.width / 2, y - m.height / 2, x + m.width / 2, y + m.height / 2]
                far = False
                if rules.anchor_ignore_margin_ratio is not None:
                    mx, my = (rules.anchor_ignore_margin_ratio * side / 2 for side in (m.width, m.height))
                    far = box[0] < area.left - mx or box[2] >= area.left + area.width + mx
                    far = far or box[1] < area.top - my or box[3] >= area.top + area.height + my
                elif rules.anchor_ignore_iou_thr is not None:
                    image = [area.left, area.top, area.left + area.width, area.top + area.height]
                    far = covered(box, image) < rules.anchor_ignore_iou_thr
                if far or not (left <= column < right and top <= row < bottom):
                    values[5, row, column] = 1
                    continue
                match, most = None, 0.0
                for i, thing in enumerate(objects):
                    share = overlap(thing[3:], box)
                    if share > most:
                        match, most = i, share
                    if share > best[i]:
                        best[i], best_map[i] = share, n
                if match is not None and most > rules.fg_threshold:
                    thing = objects[match]
                    say(values, row, column, thing, 0 if thing[1] else thing[0], most)
                    counts[match] += 1
                else:
                    spared = sum(covered(box, region) for region in regions) >= rules.ignore_fg_threshold
                    values[5, row, column] = 1 if spared else most
    for i, thing in enumerate(objects):
        if thing[1] or counts[i] or best[i] < rules.pickup_iou_thr or not maps:
            continue
        m, values = maps[best_map[i]], truth[best_map[i]]
        row = min(max(math.floor((thing[4] + thing[6]) / 2 / m.stride), 0), values.shape[1] - 1)
        column = min(max(math.floor((thing[3] + thing[5]) / 2 / m.stride), 0), values.shape[2] - 1)
        if values[0, row, column] <= 0:
            say(values, row, column, thing, thing[0], best[i])
    return truth


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    things=st.integers(0, 6),
    regions=st.integers(0, 3),
    margin=st.none() | st.sampled_from([0.0, 0.5]),
    least=st.none() | st.sampled_from([0.5, 0.9]),
    threshold=st.sampled_from([0.3, 0.5, 0.7]),
    pickup=st.sampled_from([0.0, 0.2, 0.5]),
)
def test_the_rules_place_by_place(seed, things, regions, margin, least, threshold, pickup) -> None:
    rng = np.random.default_rng(seed)
    area = Area(*rng.integers(0, 20, 2).tolist(), *rng.integers(40, 76, 2).tolist())
    start = rng.uniform(0, 70, (things + regions, 2))
    boxes = np.concatenate([start, start + rng.uniform(2, 50, (things + regions, 2))], 1)
    kinds = rng.integers([1, 0, 0], [5, 2, 2], (things, 3))
    kinds[:, 1] = rng.random(things) < 0.2
    objects = np.concatenate([kinds, boxes[:things]], 1).astype(np.float32)
    spared = boxes[things:].astype(np.float32)
    rules = AnchorRules(threshold, 0.4, pickup, margin, least)
    size = (100, 92)
    found = truth_of(MAPS, rules, size, area, objects, spared)
    wanted = by_hand(MAPS, rules, size, area, objects.astype(float), spared.astype(float))
    for values, expected in zip(found, wanted, strict=True):
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(100, 92), (3, 3), (0, 0)])
def test_nothing_to_say(size) -> None:
    area, none = Area(0, 0, size[1], size[0]), np.zeros((0, 7), np.float32)
    for values in truth_of(MAPS, AnchorRules(0.5, 0.4, 0.2), size, area, none, none[:, 3:]):
        assert not values.any()
    thing = np.array([[1, 0, 0, 0, 0, 40, 40]], np.float32)
    truth_of(MAPS, AnchorRules(0.5, 0.4, 0), size, area, thing, none[:, 3:])
    assert truth_of([], AnchorRules(0.5, 0.4, 0.2), size, area, thing, none[:, 3:]) == []
