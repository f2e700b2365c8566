"""Messages in protobuf's binary form, which may be damaged."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import DecodeError, Message

__all__ = ["DecodeError", "parse_binary"]

M = TypeVar("M", bound=Message)


def parse_binary(message_class: type[M], data: bytes) -> M:
    """The message, or a DecodeError; protobuf without its C part raises others for some kinds of damage."""
    try:
        return message_class.FromString(data)
    except (RecursionError, UnicodeDecodeError) as error:
        raise DecodeError(str(error)) from None
