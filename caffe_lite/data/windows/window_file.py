"""Window files, as R-CNN makes them: images, and boxes in them, each with a class and the overlap with its object."""

from __future__ import annotations

import numpy as np

from ...errors import Where
from ...logs.log import logger
from .image_blocks import ImageBlocks, numbers

# The columns of WindowFile.foreground and .background.
IMAGE, LABEL, X1, Y1, X2, Y2, LINE = range(7)
_PROGRESS = 100


class WindowFile(ImageBlocks):
    """Paths of images, and windows (n, 7): foreground, and background, whose label is 0. Other windows are left out.

    For each image, the file has the lines ``# number``, path, channels, height, width and number of windows, and then a
    line ``class overlap x1 y1 x2 y2`` for each window. The three sizes are ignored.
    """

    def __init__(self, source: str, where: Where | None, fg_threshold: float, bg_threshold: float) -> None:
        super().__init__(source, where, "window_data_param")
        foreground, background = [np.empty((0, 7), np.int32)], [np.empty((0, 7), np.int32)]
        for sizes in self._blocks():
            count = self._number("the number of windows")
            windows, overlaps = self._windows(count)
            fg = overlaps >= np.float32(fg_threshold)
            bg = ~fg & (overlaps < np.float32(bg_threshold))
            self._refuse(windows, fg & (windows[:, LABEL] < 1), "is of class 0 or less, with the overlap of an object")
            self._refuse(windows, (fg | bg) & (windows[:, X2] < windows[:, X1]), "has its x2 before its x1")
            self._refuse(windows, (fg | bg) & (windows[:, Y2] < windows[:, Y1]), "has its y2 before its y1")
            foreground.append(windows[fg])
            background.append(windows[bg])
            index = len(self.paths) - 1
            if index % _PROGRESS == 0:
                logger.info("num: %d %s %d %d %d windows to process: %d", index, self.paths[-1], *sizes, count)
        self.foreground, self.background = np.concatenate(foreground), np.concatenate(background)
        self.background[:, LABEL] = 0

    def where_window(self, window: np.ndarray) -> Where:
        return Where(self.file, int(window[LINE]), 1)

    def _windows(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the next windows and their overlaps."""
        rows = self._rows(count, "windows")
        values = numbers(rows, 6)
        if values is None or not _are_whole(whole := np.delete(values, 1, axis=1)):
            number, line = next((at for at in rows if not _is_window(at[1])), rows[0])
            raise self._error(f"{line!r} is no window", "Six numbers are needed: class overlap x1 y1 x2 y2", number)
        windows = np.empty((count, 7), np.int32)
        windows[:, IMAGE] = len(self.paths) - 1
        windows[:, LABEL:LINE] = whole
        windows[:, LINE] = [number for number, _ in rows]
        return windows, values[:, 1].astype(np.float32)

    def _refuse(self, windows: np.ndarray, wrong: np.ndarray, what: str) -> None:
        if wrong.any():
            line = int(windows[wrong][0, LINE])
            raise self._error(f"the window {what}", "It is: class overlap x1 y1 x2 y2, with classes from 1 on", line)


def _are_whole(values: np.ndarray) -> bool:
    return bool((np.abs(values) < 2**31).all() and (values % 1 == 0).all())


def _is_window(line: str) -> bool:
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        return False
    whole = values[:1] + values[2:]
    return len(values) == 6 and all(abs(x) < 2**31 and x % 1 == 0 for x in whole) and abs(values[1]) < np.inf
