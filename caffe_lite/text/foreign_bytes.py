"""Text that is not UTF-8, such as names of layers and paths in GBK: its bytes pass through strings unchanged.

A message's strings hold UTF-8 only. So two characters stand for each other byte; the first is a character that Unicode
leaves to programs.
"""

from __future__ import annotations

import re

_LEAD = "\U0010ffff"
_CARRIED = re.compile(f"{_LEAD}([\x80-\xff])")
_ESCAPED = re.compile("[\udc80-\udcff]")
# A byte in one of our strings, in one of Python's, or in the repr of either; and control characters for a terminal.
_SHOWN = re.compile(
    rf"(?:{_LEAD}|\\U0010ffff)(?:([\x80-\xff])|\\x([89a-f][0-9a-f]))|([\udc80-\udcff])|\\udc([89a-f][0-9a-f])"
    r"|([\0-\x08\x0b-\x1f\x7f-\x9f])"
)


def from_bytes(data: bytes) -> str:
    """Return the string that stands for these bytes."""
    text = data.decode("utf-8", "surrogateescape")
    if text.isascii():
        return text
    text = text.replace(_LEAD, _LEAD.encode().decode("ascii", "surrogateescape"))
    return _ESCAPED.sub(lambda byte: f"{_LEAD}{chr(ord(byte[0]) & 0xFF)}", text)


def to_bytes(text: str) -> bytes:
    """Return the bytes that a string stands for. It may also be one of Python's, with surrogates in their place."""
    return with_surrogates(text).encode("utf-8", "surrogateescape")


def with_surrogates(text: str) -> str:
    """Return the string in the form that Python uses for paths."""
    return _CARRIED.sub(lambda byte: chr(0xDC00 + ord(byte[1])), text) if _LEAD in text else text


def is_foreign(text: str) -> bool:
    """Return whether a message's string holds bytes that are not UTF-8."""
    return _LEAD in text and _CARRIED.search(text) is not None


def shown(text: str) -> str:
    """Escape these bytes, and control characters except tabs and new lines, so that people can read the string."""

    def escape(match: re.Match[str]) -> str:
        carried, carried_hex, surrogate, surrogate_hex, control = match.groups()
        return f"\\x{carried_hex or surrogate_hex or f'{ord(carried or surrogate or control) & 0xFF:02x}'}"

    return text if text.isascii() and "\\" not in text and text.isprintable() else _SHOWN.sub(escape, text)
