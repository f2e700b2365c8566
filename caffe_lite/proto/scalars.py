"""Reading values of each kind: from tokens to Python's values."""

from __future__ import annotations

import math
import re
import struct

from ..text.foreign_bytes import from_bytes
from .cursor import Cursor
from .schema import Field
from .tokens import CLOSING, END, MARK, NAME, NUMBER, OPENING, STRING, unquote
from .tree import Fault, Mistake

_INTEGER = re.compile(r"0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*")
_LEADING_ZERO = re.compile(r"0[0-9]")
_TRUTH = {"true": True, "True": True, "t": True, "false": False, "False": False, "f": False}
_MOST_DIGITS = 100


Scalar = str | bytes | float


class Misread(Exception):
    """A value cannot be read, or only with faults; the cursor is where reading goes on."""

    def __init__(self, *faults: Fault, value: Scalar | None = None) -> None:
        super().__init__()
        self.faults = faults
        self.value = value


def read_scalar(cursor: Cursor, field: Field) -> Scalar:
    """Read the value of a field, and step over it."""
    kind, text, _ = cursor.tokens[cursor.index]
    if kind is END or (kind is MARK and (text in CLOSING or text in ";,")) or cursor.starts_field():
        raise Misread(Fault(Mistake.NO_VALUE, cursor.index - 1, cursor.index, field))
    return _READERS[field.kind](cursor, field)


def _misread(mistake: Mistake, cursor: Cursor, field: Field, start: int) -> Misread:
    return Misread(Fault(mistake, start, cursor.index, field))


def _wrong_kind(cursor: Cursor, field: Field, start: int) -> Misread:
    cursor.index = start
    cursor.skip_value()
    return _misread(Mistake.WRONG_KIND, cursor, field, start)


def _string(cursor: Cursor, field: Field) -> str | bytes:
    start = cursor.index
    if cursor.tokens[start].kind is not STRING:
        raise _no_string(cursor, field)
    cursor.skip_strings()
    parts, faults = [], []
    for index in range(start, cursor.index):
        try:
            parts.append(unquote(cursor.tokens[index].text))
        except ValueError as error:
            faults.append(Fault(Mistake.NO_ESCAPE, index, index + 1, field, str(error)))
    data = b"".join(parts)
    if field.kind == "string" and field.is_path and b"\0" in data:
        raise Misread(*faults, Fault(Mistake.ZERO_BYTE, start, cursor.index, field))
    value = data if field.kind == "bytes" else from_bytes(data)
    if faults:
        raise Misread(*faults, value=value)
    return value


def _no_string(cursor: Cursor, field: Field) -> Misread:
    start = cursor.index
    _, text, offset = cursor.tokens[start]
    if text in OPENING:
        return _wrong_kind(cursor, field, start)
    if text in ("'", '"'):
        cursor.skip_to(cursor.source.text.find("\n", offset))
        return _misread(Mistake.OPEN_QUOTE, cursor, field, start)
    cursor.skip_word()
    return _misread(Mistake.NOT_QUOTED, cursor, field, start)


def _number(cursor: Cursor, field: Field) -> int | float:
    start = cursor.index
    sign = -1 if cursor.take("-") else 1
    number = cursor.index
    kind, text, offset = cursor.tokens[number]
    if field.kind == "float" and kind is NAME and text.lower() in ("inf", "infinity", "nan"):
        cursor.index += 1
        return sign * float(text)
    if text == "+":
        cursor.index = min(number + 2, len(cursor.tokens) - 1)
        raise _misread(Mistake.PLUS_SIGN, cursor, field, number)
    if kind is not NUMBER:
        raise _wrong_kind(cursor, field, start)
    cursor.index += 1
    behind = cursor.tokens[cursor.index]
    if behind.kind in (NAME, NUMBER) and behind.offset == offset + len(text):
        cursor.index = number
        cursor.skip_word()
        raise _misread(Mistake.NO_NUMBER, cursor, field, number)
    integer = _INTEGER.fullmatch(text)
    if _LEADING_ZERO.match(text) and (field.kind == "float" or not integer):
        raise _misread(Mistake.LEADING_ZERO, cursor, field, number)
    if field.kind == "float":
        octal_or_hex = integer and text[0] == "0"
        value = sign * (float(_integer(text)) if octal_or_hex else float(text.rstrip("fF")))
        return _to_single(value) if field.single else value
    if not integer:
        raise _misread(Mistake.NOT_WHOLE, cursor, field, start)
    whole = sign * _integer(text)
    if not field.range[0] <= whole <= field.range[1]:
        raise _misread(Mistake.OUT_OF_RANGE, cursor, field, start)
    return whole


def _bool(cursor: Cursor, field: Field) -> bool:
    start = cursor.index
    kind, text, _ = cursor.tokens[start]
    cursor.index += 1
    if kind is NAME and text in _TRUTH:
        return _TRUTH[text]
    if kind is NUMBER and _INTEGER.fullmatch(text) and _integer(text) <= 1:
        return _integer(text) == 1
    raise _wrong_kind(cursor, field, start)


def _enum(cursor: Cursor, field: Field) -> int:
    assert field.enum is not None
    start = cursor.index
    negative = cursor.take("-")
    kind, text, _ = cursor.tokens[cursor.index]
    cursor.index += 1
    if kind is NAME and not negative:
        if text in field.enum.values_by_name:
            return field.enum.values_by_name[text].number
    elif kind is NUMBER and _INTEGER.fullmatch(text):
        value = -_integer(text) if negative else _integer(text)
        if value in field.enum.values_by_number:
            return value
    elif kind is STRING and text[1:-1] in field.enum.values_by_name:
        raise _misread(Mistake.QUOTED_WORD, cursor, field, cursor.index - 1)
    elif kind is STRING and field.enum.name == "LayerType":
        raise _misread(Mistake.QUOTED_TYPE, cursor, field, cursor.index - 1)
    else:
        raise _wrong_kind(cursor, field, start)
    raise _misread(Mistake.UNKNOWN_VALUE, cursor, field, start)


_READERS = {"string": _string, "bytes": _string, "int": _number, "float": _number, "bool": _bool, "enum": _enum}


def _integer(text: str) -> int:
    """Read an integer in C's notation: 0x is hexadecimal, a leading 0 is octal."""
    if len(text) > _MOST_DIGITS:  # Python refuses to read several thousand digits
        return 1 << 8 * _MOST_DIGITS
    if text[:2] in ("0x", "0X"):
        return int(text, 16)
    return int(text, 8 if text[0] == "0" else 10)


def _to_single(value: float) -> float:
    """Round to the nearest 32-bit float: some versions of protobuf make the largest one, in printf's form, infinite."""
    try:
        return struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)
