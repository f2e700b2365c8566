"""Masks beside images in the databases of MobileNet-YOLO: which pixels belong to which class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import DataError, Where
from ...proto.caffe_pb2 import Datum, YoloSegLabel
from ...proto.parser import parse_text
from ...proto.prototxt import read_text
from ..images.image import decode_image, import_cv2
from ..paths import resolve

_VALUES = 256
_ABOVE = 100  # what a value must be above to be of the only class


@dataclass(frozen=True)
class Masks:
    """How a mask of bytes becomes a map of each class, with values from 0 to 1.

    ``tables`` (C, 256) hold 255 for the values of a class, else 0; None: there is one class, of large values. Maps have
    the ``size``, height and width, or the image's divided by ``scale``.
    """

    tables: np.ndarray | None
    scale: int
    size: tuple[int, int] | None

    def shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return the shape of the maps for an image of this size."""
        classes = 1 if self.tables is None else len(self.tables)
        high, wide = self.size or (height // self.scale, width // self.scale)
        if high < 1 or wide < 1:
            raise DataError(
                f"the images are {height} x {width}, and seg_scales is {self.scale}",
                hint="Make seg_scales smaller, or the images larger",
            )
        return (classes, high, wide)

    def maps(self, mask: np.ndarray, height: int, width: int) -> np.ndarray:
        """Return the maps (C, h, w) of a mask (H, W), for an image of this size."""
        cv2 = import_cv2()
        _, *size = self.shape(height, width)
        layers = [mask] if self.tables is None else [table[mask] for table in self.tables]
        resized = np.stack([cv2.resize(layer, size[::-1], interpolation=cv2.INTER_AREA) for layer in layers])
        if self.tables is None:
            return (resized > _ABOVE).astype(np.float32)
        return resized.astype(np.float32) / np.float32(_VALUES - 1)


def mask_of(datum: Datum) -> np.ndarray:
    """Return the mask (H, W) of a record."""
    if not datum.seg_label:
        raise DataError("it has no seg_label, the mask for the third top", hint="Leave out that top, or add masks")
    return decode_image(datum.seg_label, color=False)


def read_classes(path: str, where: Where | None) -> np.ndarray:
    """Return a table for each class, as in ``Masks``, from a file of items.

    The items stand for the values 0, 1, ..., and their label_id is the class from 1 on, 0 for none.
    """
    file = resolve(path, where)
    items = parse_text(read_text(file), YoloSegLabel, file).message.item
    classes = [item.label_id for item in items[:_VALUES]]
    if max(classes, default=0) < 1:
        raise DataError("no item has a label_id of 1 or more", where=Where(file), hint="number the classes from 1 on")
    tables = np.zeros((max(classes), _VALUES), np.uint8)
    for value, number in enumerate(classes):
        if number > 0:
            tables[number - 1, value] = _VALUES - 1
    return tables
