"""Messages in protobuf's binary form, which may be damaged when they are read."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from ..errors import CaffeError
from ..text.foreign_bytes import from_bytes, is_foreign, to_bytes
from .schema import fields_of

__all__ = ["DecodeError", "parse_binary", "to_binary"]

M = TypeVar("M", bound=Message)


def parse_binary(message_class: type[M], data: bytes) -> M:
    """Parse a message or raise a DecodeError, also for damage for which protobuf without its C part raises others."""
    try:
        message = message_class.FromString(data)
    except (RecursionError, UnicodeDecodeError) as error:
        raise DecodeError(str(error)) from None
    if not _holds_text(message.DESCRIPTOR):
        return message
    for inner, name, texts in _texts(message):
        if any(isinstance(text, bytes) for text in texts):  # protobuf's form of text that is not UTF-8
            _put(inner, name, [from_bytes(text) if isinstance(text, bytes) else text for text in texts])
    return message


def to_binary(message: Message) -> bytes:
    """Return the message in protobuf's binary form; text that is not UTF-8 becomes the bytes that it stands for."""
    foreign = [
        (inner, name, texts) for inner, name, texts in _texts(message) if any(is_foreign(text) for text in texts)
    ]
    if not foreign:
        return message.SerializeToString()
    copy = type(message)()
    copy.CopyFrom(message)
    try:
        for inner, name, texts in _texts(copy):
            if any(is_foreign(text) for text in texts):
                _put(inner, name, map(to_bytes, texts))
    except UnicodeError:  # from protobuf's runtime in Python, which checks the text that it parses
        raise CaffeError(
            "this protobuf cannot write text that is not UTF-8",
            hint="Do not set PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python, or save as HDF5",
        ) from None
    return copy.SerializeToString()


def _texts(message: Message) -> Iterator[tuple[Message, str, list[Any]]]:
    """Yield the text fields set in a message and in those inside it, each with its message, name and values."""
    for field, value in message.ListFields():
        repeated = fields_of(message.DESCRIPTOR)[field.name].repeated
        if field.type == FieldDescriptor.TYPE_STRING:
            yield message, field.name, list(value) if repeated else [value]
        elif field.message_type and _holds_text(field.message_type):
            for inner in value if repeated else [value]:
                yield from _texts(inner)


@functools.cache
def _holds_text(message: Descriptor) -> bool:
    return any(
        field.type == FieldDescriptor.TYPE_STRING or (field.message_type and _holds_text(field.message_type))
        for field in message.fields
    )


def _put(message: Message, name: str, texts: Iterable[bytes | str]) -> None:
    """Set a text field's values through protobuf's binary form, the only one that accepts text that is not UTF-8."""
    message.ClearField(name)
    tag = _varint(message.DESCRIPTOR.fields_by_name[name].number << 3 | 2)
    for text in texts:
        data = text.encode() if isinstance(text, str) else text
        message.MergeFromString(tag + _varint(len(data)) + data)


def _varint(number: int) -> bytes:
    low = number & 0x7F
    return bytes([low | 0x80]) + _varint(number >> 7) if number >> 7 else bytes([low])
