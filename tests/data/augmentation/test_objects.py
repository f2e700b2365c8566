"""Where objects are after a crop, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.data.augmentation.objects import NO_OBJECTS, mirror, project
from caffe_lite.data.boxes import shared_areas
from caffe_lite.proto.caffe_pb2 import EmitConstraint


def objects(*boxes: tuple[float, float, float, float]) -> np.ndarray:
    return np.array([(3, number, *box, 1) for number, box in enumerate(boxes)], np.float32).reshape(-1, 7)


WINDOW = np.array([0.25, 0.5, 0.75, 1], np.float32)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0.25, 0.5, 0.75, 1), (0, 0, 1, 1)),
        ((0.5, 0.75, 0.625, 0.875), (0.5, 0.5, 0.75, 0.75)),
        ((0, 0, 1, 1), (0, 0, 1, 1)),
        ((0, 0.625, 0.5, 0.75), (0, 0.25, 0.5, 0.5)),
        ((0, 0, 0.25, 1), None),  # it only touches the window
        ((0.3, 0.6, 0.3, 0.9), None),  # no width
        ((0.8, 0.6, 0.9, 0.9), None),
    ],
)
def test_a_box_in_fractions_of_a_window(
    box: tuple[float, float, float, float], expected: tuple[float, ...] | None
) -> None:
    inside = project(objects(box), WINDOW)
    assert inside.tolist() == ([] if expected is None else [[3, 0, *expected, 1]])


def test_a_window_larger_than_the_image() -> None:
    inside = project(objects((0, 0, 0.5, 1)), np.array([-1, -0.5, 3, 1.5], np.float32))
    assert inside.tolist() == [[3, 0, 0.25, 0.25, 0.375, 0.75, 1]]


@pytest.mark.parametrize(
    ("emit", "kept"),
    [
        (None, [0, 1, 2]),
        (EmitConstraint(), [1, 2]),  # the centre of 0 is at x = 0.1875
        (EmitConstraint(emit_type="MIN_OVERLAP", emit_overlap=0.2), [0, 1, 2]),
        (EmitConstraint(emit_type="MIN_OVERLAP", emit_overlap=0.25), [1, 2]),  # of 0, a quarter; more is needed
        (EmitConstraint(emit_type="MIN_OVERLAP", emit_overlap=0.6), [2]),
    ],
)
def test_what_too_little_is_left_of_is_dropped(emit: EmitConstraint | None, kept: list[int]) -> None:
    boxes = objects((0.0625, 0.5, 0.3125, 1), (0, 0.5, 0.5, 1), (0.25, 0.6, 0.5, 0.7))
    inside = project(boxes, WINDOW, emit)
    assert inside[:, 1].tolist() == kept


def test_a_mirrored_box() -> None:
    assert mirror(objects((0.125, 0.25, 0.5, 1))).tolist() == [[3, 0, 0.5, 0.25, 0.875, 1, 1]]


def test_no_objects_stay_none() -> None:
    assert mirror(project(NO_OBJECTS, WINDOW, EmitConstraint())).shape == (0, 7)
    assert shared_areas(WINDOW[None, None], NO_OBJECTS[:, 2:6]).shape == (1, 0)
