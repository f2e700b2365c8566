"""Files of images and the objects in them, as Cascade R-CNN's layers read them."""

from __future__ import annotations

import numpy as np

from ...errors import Where
from ...logs.log import logger
from .image_blocks import ImageBlocks, numbers

# The columns of ObjectFile.objects, and the first of its four columns of corners.
LABEL, IGNORE, DIFFICULT = range(3)
CORNERS = slice(3, 7)
_PROGRESS = 1000


class ObjectFile(ImageBlocks):
    """Paths and sizes of images, the objects (n, 7) in each, and its regions (m, 4) that are of no interest.

    For each image, the file has the lines ``# number``, path, channels, height, width and number of objects, a line
    ``class ignore difficult x1 y1 x2 y2`` for each object, the number of regions of no interest, and a line
    ``x1 y1 x2 y2`` for each of them. The number of channels is ignored.
    """

    def __init__(self, source: str, where: Where | None, param: str) -> None:
        super().__init__(source, where, param)
        self.sizes: list[tuple[int, int]] = []  # height, width
        self.objects: list[np.ndarray] = []
        self.ignored: list[np.ndarray] = []
        for channels, height, width in self._blocks():
            self.sizes.append((height, width))
            self.objects.append(self._objects())
            self.ignored.append(self._regions())
            index = len(self.paths) - 1
            if index % _PROGRESS == 0:
                sizes = (channels, height, width, len(self.objects[-1]), len(self.ignored[-1]))
                logger.info(
                    "num: %d %s %d %d %d windows to process: %d, RONI windows: %d", index, self.paths[-1], *sizes
                )
        logger.info("Number of images: %d", len(self.paths))
        labels = np.concatenate(self.objects)[:, LABEL].astype(int)
        for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
            logger.info("class %d has %d samples", label, count)

    def _objects(self) -> np.ndarray:
        rows = self._rows(self._number("the number of objects"), "objects")
        values = numbers(rows, 7)
        if values is None or not _have_classes(values):
            number, line = next(row for row in rows if (one := numbers([row], 7)) is None or not _have_classes(one))
            raise self._error(
                f"{line!r} is no object",
                "Seven numbers are needed: class ignore difficult x1 y1 x2 y2, with classes from 1 on",
                number,
            )
        return values.astype(np.float32)

    def _regions(self) -> np.ndarray:
        rows = self._rows(self._number("the number of regions of no interest"), "regions")
        values = numbers(rows, 4)
        if values is None:
            number, line = next(row for row in rows if numbers([row], 4) is None)
            raise self._error(f"{line!r} is no region", "Four numbers are needed: x1 y1 x2 y2", number)
        return values.astype(np.float32)


def _have_classes(objects: np.ndarray) -> bool:
    return bool((objects[:, LABEL] >= 1).all() and (objects[:, LABEL] % 1 == 0).all())
