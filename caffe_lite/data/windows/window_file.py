"""Window files, as R-CNN makes them: images, and boxes in them, each with a class and the overlap with its object."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import islice

import numpy as np

from ...errors import DataError, Where
from ...logs.log import logger
from ..paths import read_lines, resolve

# The columns of WindowFile.foreground and .background.
IMAGE, LABEL, X1, Y1, X2, Y2, LINE = range(7)
_PROGRESS = 100


class WindowFile:
    """Paths of images, and windows (n, 7): foreground, and background, whose label is 0. Other windows are left out.

    For each image, the file has the lines ``# number``, path, channels, height, width and number of windows, and then a
    line ``class overlap x1 y1 x2 y2`` for each window. The three sizes are ignored.
    """

    def __init__(self, source: str, where: Where | None, fg_threshold: float, bg_threshold: float) -> None:
        self.file = resolve(source, where)
        self.paths: list[str] = []
        self._path_lines = array("i")
        self._line = 0
        lines = read_lines(source, where, "window_data_param")
        foreground, background = [np.empty((0, 7), np.int32)], [np.empty((0, 7), np.int32)]
        for self._line, line in lines:
            self._begin_image(line)
            path = self._next(lines, "the path of an image")
            self.paths.append(path)
            self._path_lines.append(self._line)
            sizes = [self._number(lines, name) for name in ("channels", "height", "width")]
            count = self._number(lines, "the number of windows")
            windows, overlaps = self._windows(lines, count)
            fg = overlaps >= np.float32(fg_threshold)
            bg = ~fg & (overlaps < np.float32(bg_threshold))
            self._refuse(windows, fg & (windows[:, LABEL] < 1), "is of class 0 or less, with the overlap of an object")
            self._refuse(windows, (fg | bg) & (windows[:, X2] < windows[:, X1]), "has its x2 before its x1")
            self._refuse(windows, (fg | bg) & (windows[:, Y2] < windows[:, Y1]), "has its y2 before its y1")
            foreground.append(windows[fg])
            background.append(windows[bg])
            index = len(self.paths) - 1
            if index % _PROGRESS == 0:
                logger.info("num: %d %s %d %d %d windows to process: %d", index, path, *sizes, count)
        if not self.paths:
            raise DataError("the window file is empty", where=Where(self.file))
        self.foreground, self.background = np.concatenate(foreground), np.concatenate(background)
        self.background[:, LABEL] = 0

    def where_image(self, index: int) -> Where:
        return Where(self.file, self._path_lines[index], 1)

    def where_window(self, window: np.ndarray) -> Where:
        return Where(self.file, int(window[LINE]), 1)

    def _error(self, what: str, hint: str = "", line: int | None = None) -> DataError:
        return DataError(what, where=Where(self.file, self._line if line is None else line, 1), hint=hint)

    def _begin_image(self, line: str) -> None:
        wanted = f"# {len(self.paths)}"
        if line.split() != wanted.split():
            raise self._error(f"it is {line!r} where {wanted!r} should begin an image", "Number the images from 0 on")

    def _next(self, lines: Iterator[tuple[int, str]], what: str) -> str:
        for self._line, line in lines:
            return line
        raise self._error(f"the window file ends behind this line, where {what} should come")

    def _number(self, lines: Iterator[tuple[int, str]], what: str) -> int:
        text = self._next(lines, what)
        if not text.isdecimal() or len(text) > 9:
            raise self._error(f"{text!r} stands where {what} should be, a whole number")
        return int(text)

    def _windows(self, lines: Iterator[tuple[int, str]], count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the next windows and their overlaps."""
        numbered = list(islice(lines, count))
        if len(numbered) < count:
            self._line = numbered[-1][0] if numbered else self._line
            raise self._error(f"the window file ends behind this line, with {len(numbered)} of {count} windows")
        if not count:
            return np.empty((0, 7), np.int32), np.empty(0, np.float32)
        self._line = numbered[-1][0]
        try:
            values = np.loadtxt([line for _, line in numbered], comments=None, ndmin=2)
        except ValueError:
            values = np.empty((0, 0))
        whole = np.delete(values, 1, axis=1) if values.shape[1:] == (6,) else None
        if whole is None or not (
            np.isfinite(values).all() and (np.abs(whole) < 2**31).all() and (whole % 1 == 0).all()
        ):
            number, line = next((at for at in numbered if not _is_window(at[1])), numbered[0])
            raise self._error(f"{line!r} is no window", "Six numbers are needed: class overlap x1 y1 x2 y2", number)
        windows = np.empty((count, 7), np.int32)
        windows[:, IMAGE] = len(self.paths) - 1
        windows[:, LABEL:LINE] = whole
        windows[:, LINE] = [number for number, _ in numbered]
        return windows, values[:, 1].astype(np.float32)

    def _refuse(self, windows: np.ndarray, wrong: np.ndarray, what: str) -> None:
        if wrong.any():
            line = int(windows[wrong][0, LINE])
            raise self._error(f"the window {what}", "It is: class overlap x1 y1 x2 y2, with classes from 1 on", line)


def _is_window(line: str) -> bool:
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        return False
    whole = values[:1] + values[2:]
    return len(values) == 6 and all(abs(x) < 2**31 and x % 1 == 0 for x in whole) and abs(values[1]) < np.inf
