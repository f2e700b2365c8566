from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.layers.common.matching import IGNORED, UNMATCHED, hardest, log_sum_exp, match


def test_each_object_gets_a_box_of_its_own() -> None:
    """The second object's best box is taken by the first, so that it gets the next best; the third gets none."""
    boxes = np.array([[0.0, 0, 1, 1], [0, 0, 1, 2], [5, 5, 6, 6]])
    truth = np.array([[0.0, 0, 1, 1], [0, 0, 1, 1.1], [8, 8, 9, 9]])
    number, largest = match(truth, boxes, None)
    assert number.tolist() == [0, 1, UNMATCHED]
    assert largest == pytest.approx([1, 0.55, 0])


def test_a_threshold_matches_the_others() -> None:
    boxes = np.array([[0.0, 0, 1, 1], [0, 0, 1, 0.9], [0, 0, 1, 0.5], [0, 0, 1, 0.4]])
    truth = np.array([[0.0, 0, 1, 1]])
    assert match(truth, boxes, 0.5)[0].tolist() == [0, 0, 0, UNMATCHED]
    assert match(truth, boxes, None)[0].tolist() == [0, UNMATCHED, UNMATCHED, UNMATCHED]


def test_of_equal_overlaps_the_first_box_and_object_match() -> None:
    same = np.array([[0.0, 0, 1, 1]] * 3)
    assert match(same[:2], same, None)[0].tolist() == [0, 1, UNMATCHED]
    assert match(same[:2], same, 0.5)[0].tolist() == [0, 1, 0]


def test_boxes_beyond_the_image() -> None:
    boxes = np.array([[-0.1, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1.1]])
    number, largest = match(boxes[1:2], boxes, 0.5, within_image=True)
    assert number.tolist() == [IGNORED, 0, IGNORED]
    assert largest.tolist() == [0, 1, 0]


@pytest.mark.parametrize(("objects", "boxes"), [(0, 0), (0, 3), (3, 0)])
def test_nothing_to_match(objects: int, boxes: int) -> None:
    number, largest = match(np.zeros((objects, 4)), np.ones((boxes, 4)), 0.5)
    assert number.tolist() == [UNMATCHED] * boxes and largest.tolist() == [0] * boxes


def test_hardest_of_all() -> None:
    losses = np.array([1.0, 3, 3, 2])
    assert hardest(losses, 3).tolist() == [1, 2, 3]
    assert hardest(losses, 0).tolist() == [] == hardest(losses[:0], 2).tolist()


def test_hardest_that_lie_apart() -> None:
    """Box 2 overlaps the harder box 1, box 3 has no area."""
    losses = np.array([1.0, 4, 3, 2, 0])
    boxes = np.array([[5.0, 5, 6, 6], [0, 0, 1, 1], [0, 0, 1, 0.9], [2, 2, 2, 3], [3, 3, 4, 4]])
    assert hardest(losses, 5, boxes, 0.5).tolist() == [1, 0, 4]
    assert hardest(losses, 5, boxes, 0.5, top_k=4).tolist() == [1, 0]
    assert hardest(losses, 1, boxes, 0.5).tolist() == [1]


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("scale", [1, 30, 1e4])
def test_log_sum_exp(scale: float, dtype: str) -> None:
    x = (np.random.default_rng(0).standard_normal((5000, 7)) * scale).astype(dtype)
    wanted = np.logaddexp.reduce(x.astype("d"), 1)
    np.testing.assert_allclose(log_sum_exp(x), wanted, rtol=1e-5 if dtype == "f" else 1e-12, atol=1e-5)
    assert log_sum_exp(x).dtype == x.dtype
    assert log_sum_exp(x[:0]).shape == (0,)
    assert np.isnan(log_sum_exp(np.full((2, 3), np.nan, dtype))).all()
