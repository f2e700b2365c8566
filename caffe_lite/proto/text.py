"""The words of protobuf's text format: where each one stands, and what look-alike characters were meant to be."""

from __future__ import annotations

import bisect
import functools
import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

from ..errors import Where

NAME, NUMBER, STRING, MARK, OTHER, END = range(6)

# Not behind a backslash: in a line whose last quote is open, no escaped one is then tried as another beginning.
_STRING = r"""(?<!\\)(?:"[^"\\\n]*(?:\\.[^"\\\n]*)*"|'[^'\\\n]*(?:\\.[^'\\\n]*)*')"""
_TOKEN = re.compile(
    r"""
    (?: [ \t\r\n\f\v]+ | \#[^\n]* )
    | ([A-Za-z_][A-Za-z0-9_]*)
    | (0[xX][0-9a-fA-F]+ | (?: \d+\.?\d* | \.\d+ ) (?: [eE][+-]?\d+ )? [fF]? )
    | ("""
    + _STRING
    + r""")
    | ([{}<>:\[\],;-])
    | (.)
    """,
    re.VERBOSE,
)
_LOOK_ALIKE = re.compile(rf"\#[^\n]*|{_STRING}|[^\x00-\x7f]")
_BLANKS = re.compile(r"[^\S\n]*")
_MEANT = {"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "–": "-", "—": "-", "−": "-"} | {
    "、": ",", "。": ".", "【": "[", "】": "]", "《": "<", "》": ">", "\ufeff": " ", "\u200b": " ", "\u2028": " ",
}  # fmt: skip


class Token(NamedTuple):
    """One word: its kind, its text and where it starts."""

    kind: int
    text: str
    offset: int


class Source:
    """A text and the file it came from; turns offsets into lines and columns."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self._first_words: dict[int, int] = {}  # where the line's first word starts, by line

    @functools.cached_property
    def _line_starts(self) -> list[int]:
        return [0] + [match.end() for match in re.finditer("\n", self.text)]

    def line(self, offset: int) -> int:
        """The line of an offset, counted from 1."""
        return bisect.bisect_right(self._line_starts, offset)

    def column(self, offset: int) -> int:
        """The column of an offset in its line, counted from 1."""
        return offset - self._line_starts[self.line(offset) - 1] + 1

    def where(self, offset: int) -> Where:
        """The place of an offset."""
        return Where(self.file, self.line(offset), self.column(offset))

    def indent(self, offset: int) -> int:
        """How far the line of an offset is indented, up to it."""
        line = self.line(offset)
        if line not in self._first_words:
            blanks = _BLANKS.match(self.text, self._line_starts[line - 1])
            self._first_words[line] = blanks.end() if blanks else 0
        return min(offset, self._first_words[line]) - self._line_starts[line - 1]

    def first_on_line(self, offset: int) -> bool:
        """Whether nothing but blanks stands before an offset in its line."""
        return self.column(offset) - 1 == self.indent(offset)

    def rest_of_word(self, offset: int) -> str:
        """What an offset starts, up to a blank, a comment or a mark that ends a field."""
        match = re.compile(r"[^\s#{}<>;,]*").match(self.text, offset)
        return match.group() if match else ""


def tokenize(text: str) -> list[Token]:
    """Cut a text into its words; blanks and comments vanish, an END closes the list."""
    tokens = [
        Token(match.lastindex - 1, match.group(), match.start())
        for match in _TOKEN.finditer(text)
        if match.lastindex is not None
    ]
    tokens.append(Token(END, "", len(text)))
    return tokens


def mend_look_alikes(text: str, report: Callable[[int, str, str], None]) -> str:
    """Replace full-width punctuation, curly quotes and odd blanks outside strings and comments, and report each.

    Every replacement is one character for one, so that offsets stay true.
    """

    def mend(match: re.Match[str]) -> str:
        found = match.group()
        if found[0] in "#\"'":
            return found
        meant = _MEANT.get(found) or unicodedata.normalize("NFKC", found)
        if len(meant) != 1 or not meant.isascii():
            return found
        shown = "a plain space" if meant == " " else f"'{meant}'"
        report(match.start(), f"{_describe(found)} (U+{ord(found):04X}), write {shown}", "")
        return meant

    return text if text.isascii() else _LOOK_ALIKE.sub(mend, text)


def _describe(character: str) -> str:
    name = unicodedata.name(character, "unnamed character").lower()
    if "fullwidth" in name:
        return f"full-width '{character}'"
    if "quotation mark" in name:
        return f"curly quote '{character}'"
    return {"\u3000": "full-width space", "\u00a0": "non-breaking space", "\ufeff": "byte order mark"}.get(
        character, name if character.isspace() or not character.isprintable() else f"{name} '{character}'"
    )


_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"} | {c: c for c in "\\'\"?"}


def unquote(literal: str) -> bytes:
    """The bytes that a quoted string stands for; ValueError names an escape that does not exist."""
    body = literal[1:-1]
    if "\\" not in body:
        return body.encode("utf-8", "surrogateescape")
    out = bytearray()
    end = 0
    for match in _ESCAPE.finditer(body):
        out += body[end : match.start()].encode("utf-8", "surrogateescape")
        end = match.end()
        octal, hexadecimal, short, long, simple = match.groups()
        if octal or hexadecimal:
            out.append(int(octal, 8) & 0xFF if octal else int(hexadecimal, 16))
        elif short or long:
            code = int(short or long, 16)
            if code > 0x10FFFF or 0xD800 <= code < 0xE000:
                raise ValueError(match.group())
            out += chr(code).encode()
        elif simple in _SIMPLE:
            out += _SIMPLE[simple].encode()
        else:
            raise ValueError(match.group())
    out += body[end:].encode("utf-8", "surrogateescape")
    return bytes(out)
