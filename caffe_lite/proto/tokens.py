"""The words of protobuf's text format: their kinds and offsets, and the bytes of quoted ones."""

from __future__ import annotations

import enum
import re
from typing import NamedTuple


class TokenKind(enum.Enum):
    """The kinds of words."""

    NAME = "a name"
    NUMBER = "a number"
    STRING = "text in quotes"
    MARK = "a mark"
    OTHER = "nothing of this format"
    END = "the end of the text"


NAME, NUMBER, STRING, MARK, OTHER, END = KINDS = tuple(TokenKind)
OPENING, CLOSING = ("{", "<", "["), ("}", ">", "]")

# Not after a backslash: if the last quote on a line is never closed, escaped quotes after it are not tried as others.
STRING_PATTERN = r"""(?<!\\)(?:"[^"\\\n]*(?:\\.[^"\\\n]*)*"|'[^'\\\n]*(?:\\.[^'\\\n]*)*')"""
_TOKEN = re.compile(
    rf"""
    (?: [ \t\r\n\f\v]+ | \#[^\n]* )
    | ([A-Za-z_][A-Za-z0-9_]*)
    | (0[xX][0-9a-fA-F]+ | (?: \d+\.?\d* | \.\d+ ) (?: [eE][+-]?\d+ )? [fF]? )
    | ({STRING_PATTERN})
    | ([{{}}<>:\[\],;-])
    | (.)
    """,
    re.VERBOSE,
)


class Token(NamedTuple):
    """One word: its kind, its text and its offset."""

    kind: TokenKind
    text: str
    offset: int


def tokenize(text: str) -> list[Token]:
    """Cut a text into words, without blanks and comments; an END closes the list."""
    tokens = [
        Token(KINDS[match.lastindex - 1], match.group(), match.start())
        for match in _TOKEN.finditer(text)
        if match.lastindex is not None
    ]
    tokens.append(Token(END, "", len(text)))
    return tokens


_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"} | {c: c for c in "\\'\"?"}


def unquote(literal: str) -> bytes:
    """Return the bytes of a quoted string; raise a ValueError that names an escape if it does not exist."""
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
