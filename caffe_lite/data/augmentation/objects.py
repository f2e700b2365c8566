"""The objects in an image, and what becomes of them in a part of it.

Objects are an array (n, 7) in float32, a row for each: label, instance_id, xmin, ymin, xmax, ymax as fractions of the
image, and difficult, 1 or 0. A window is xmin, ymin, xmax, ymax, as fractions, too.
"""

from __future__ import annotations

import numpy as np

from ...proto.caffe_pb2 import EmitConstraint
from ..boxes import areas, shared_areas

BOX = slice(2, 6)
NO_OBJECTS = np.zeros((0, 7), np.float32)


def with_boxes(objects: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the objects with other boxes."""
    moved = objects.copy()
    moved[:, BOX] = boxes
    return moved


def project(objects: np.ndarray, window: np.ndarray, emit: EmitConstraint | None = None) -> np.ndarray:
    """Return the objects that are at least partly in a window, with the parts of their boxes in it as its fractions.

    ``emit`` leaves out more: those whose centre lies outside, or of which no more than ``emit_overlap`` is inside.
    """
    boxes = objects[:, BOX]
    corner, size = window[:2], window[2:] - window[:2]
    inside = np.clip((boxes - np.tile(corner, 2)) / np.tile(size, 2), 0, 1)
    kept = areas(inside) > 0
    if emit is not None:
        kept &= _is_emitted(boxes, window, emit)
    return with_boxes(objects[kept], inside[kept])


def _is_emitted(boxes: np.ndarray, window: np.ndarray, emit: EmitConstraint) -> np.ndarray:
    if emit.emit_type == EmitConstraint.CENTER:
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        return ((centres >= window[:2]) & (centres <= window[2:])).all(1)
    shared = shared_areas(boxes, window)
    return (shared > 0) & (shared > np.float32(emit.emit_overlap) * areas(boxes))


def mirror(objects: np.ndarray) -> np.ndarray:
    """Return the objects of the image whose left and right are exchanged."""
    xmin, ymin, xmax, ymax = objects[:, BOX].T
    return with_boxes(objects, np.stack([1 - xmax, ymin, 1 - xmin, ymax], 1))
