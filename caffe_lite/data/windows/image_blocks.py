"""Files that describe image after image, as those of windows and of objects do."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import islice

import numpy as np

from ...errors import DataError, Where
from ..paths import read_lines, resolve


class ImageBlocks:
    """A block of lines for each image: ``# number``, path, channels, height, width, then what else belongs to it.

    ``param`` is the message whose field ``source`` names the file. Images are numbered from 0 on.
    """

    def __init__(self, source: str, where: Where | None, param: str) -> None:
        self.file = resolve(source, where)
        self.paths: list[str] = []
        self._path_lines = array("i")
        self._line = 0
        self._lines = read_lines(source, where, param)

    def where_image(self, index: int) -> Where:
        return Where(self.file, self._path_lines[index], 1)

    def _blocks(self) -> Iterator[list[int]]:
        """Yield the channels, height and width of each image; what follows is to be read before the next."""
        for number, line in self._lines:
            self._line = number
            wanted = f"# {len(self.paths)}"
            if line.split() != wanted.split():
                raise self._error(
                    f"it is {line!r} where {wanted!r} should begin an image", "Number the images from 0 on"
                )
            self.paths.append(self._next("the path of an image"))
            self._path_lines.append(self._line)
            yield [self._number(name) for name in ("channels", "height", "width")]
        if not self.paths:
            raise DataError("the window file is empty", where=Where(self.file))

    def _error(self, what: str, hint: str = "", line: int | None = None) -> DataError:
        return DataError(what, where=Where(self.file, self._line if line is None else line, 1), hint=hint)

    def _next(self, what: str) -> str:
        for number, line in self._lines:
            self._line = number
            return line
        raise self._error(f"the window file ends behind this line, where {what} should come")

    def _number(self, what: str) -> int:
        text = self._next(what)
        if not text.isdecimal() or len(text) > 9:
            raise self._error(f"{text!r} stands where {what} should be, a whole number")
        return int(text)

    def _rows(self, count: int, what: str) -> list[tuple[int, str]]:
        """Return the next lines, which describe ``what``, with their numbers."""
        rows = list(islice(self._lines, count))
        self._line = rows[-1][0] if rows else self._line
        if len(rows) < count:
            raise self._error(f"the window file ends behind this line, with {len(rows)} of {count} {what}")
        return rows


def numbers(rows: list[tuple[int, str]], columns: int) -> np.ndarray | None:
    """Return what numbered lines say, if all of them hold so many finite numbers: (n, columns)."""
    try:
        values = np.array([line.split() for _, line in rows], float).reshape(len(rows), columns)
    except ValueError:
        return None
    return values if np.isfinite(values).all() else None
