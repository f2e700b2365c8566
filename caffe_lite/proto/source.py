"""A text and the file it came from."""

from __future__ import annotations

import bisect
import functools
import re

from ..errors import Where
from ..text.foreign_bytes import shown

_MOST_SHOWN, _MOST_QUOTED = 1000, 40
_BLANKS = re.compile(r"[^\S\n]*")
_WORD = re.compile(r"[^\s#{}<>;,]*")


class Source:
    """Turns the offsets of a text into lines and columns."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self._first_words: dict[int, int] = {}  # the offset of each line's first word

    @functools.cached_property
    def _line_starts(self) -> list[int]:
        return [0] + [match.end() for match in re.finditer("\n", self.text)]

    def line(self, offset: int) -> int:
        """Return the line of an offset, counted from 1."""
        return bisect.bisect_right(self._line_starts, offset)

    def column(self, offset: int) -> int:
        """Return the column of an offset in its line, counted from 1."""
        return offset - self._line_starts[self.line(offset) - 1] + 1

    def where(self, offset: int) -> Where:
        """Return the place of an offset."""
        return Where(self.file, self.line(offset), self.column(offset))

    def indent(self, offset: int) -> int:
        """Return how far the line of an offset is indented, at most up to the offset."""
        line = self.line(offset)
        if line not in self._first_words:
            blanks = _BLANKS.match(self.text, self._line_starts[line - 1])
            self._first_words[line] = blanks.end() if blanks else 0
        return min(offset, self._first_words[line]) - self._line_starts[line - 1]

    def first_on_line(self, offset: int) -> bool:
        """Return whether an offset has only blanks before it on its line."""
        return self.column(offset) - 1 == self.indent(offset)

    def rest_of_word(self, offset: int) -> str:
        """Return the text from an offset up to a blank, a comment or a mark that ends a field."""
        match = _WORD.match(self.text, offset)
        return match.group() if match else ""

    def excerpt(self, start: int, end: int) -> str:
        """Return the text between two offsets, on one line and shortened."""
        text = " ".join(self.text[start : min(end, start + _MOST_SHOWN)].split())
        return text if len(text) <= _MOST_QUOTED else text[: _MOST_QUOTED - 3] + "..."


def printable(text: str) -> str:
    """Shorten a long text to its head, and escape bytes that are not UTF-8."""
    return shown(text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "...")
