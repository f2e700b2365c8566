"""The tree that the grammar makes from a text: blocks of fields with their values, and the mistakes among them."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor

from .schema import Field


class Mistake(enum.Enum):
    """The mistakes that a text can have; beside each, the token at which a fault of that kind starts."""

    # Of blocks
    NEVER_CLOSED = enum.auto()  # the end of the text, or the layer that opens inside another
    WRONG_CLOSER = enum.auto()  # a closing mark that is not the block's
    SURPLUS_CLOSER = enum.auto()  # a closing mark outside of every block
    STRAY = enum.auto()  # the token in the place of a name
    WEB_PAGE = enum.auto()  # the first word of the page
    # Of fields
    STANDS_ALONE = enum.auto()  # a name with no value after it
    UNKNOWN_FIELD = enum.auto()  # a name that the block does not have
    GIVEN_TWICE = enum.auto()  # the name, where it occurs again
    TAKES_BLOCK = enum.auto()  # the name of a field whose value is not a block
    TAKES_NO_BLOCK = enum.auto()  # the name of a field whose value is a block
    NO_COLON = enum.auto()  # the token after the name
    # Of lists
    NO_BLOCK_IN_LIST = enum.auto()  # the value that is not a block
    LIST_NOT_CLOSED = enum.auto()  # the bracket
    NO_LAST_VALUE = enum.auto()  # the bracket after the last comma
    # Of values
    NO_VALUE = enum.auto()  # the token before the place of the value
    WRONG_KIND = enum.auto()  # the value
    OPEN_QUOTE = enum.auto()  # the quote
    NOT_QUOTED = enum.auto()  # the value
    NO_ESCAPE = enum.auto()  # the string
    ZERO_BYTE = enum.auto()  # the first string of the value
    PLUS_SIGN = enum.auto()  # the sign
    NO_NUMBER = enum.auto()  # the number at the beginning of a word
    LEADING_ZERO = enum.auto()  # the number, without its sign
    NOT_WHOLE = enum.auto()  # the number, with its sign
    OUT_OF_RANGE = enum.auto()  # the number, with its sign
    QUOTED_WORD = enum.auto()  # the string
    QUOTED_TYPE = enum.auto()  # the string
    UNKNOWN_VALUE = enum.auto()  # the value, with its sign


class Fault(NamedTuple):
    """A mistake, the indices of its first token and of the token after its last, and the field that it is about.

    ``detail`` is the escape of a NO_ESCAPE, and the offset of the first occurrence of a field GIVEN_TWICE.
    """

    mistake: Mistake
    start: int
    end: int
    field: Field | None = None
    detail: Any = None


class Entry(NamedTuple):
    """A field, the index of the token at its place, and its value: a Block, or Python's, or None if unreadable."""

    field: Field
    start: int
    value: Any
    faults: tuple[Fault, ...] = ()


@dataclass(slots=True, eq=False)
class Block:
    """The content of a pair of braces, with the name before them; or of the whole text, without either."""

    message: Descriptor
    name: str = ""
    offset: int = 0
    first: int = 0  # the index of the token after the brace
    opener: str = ""
    closer: str = ""
    entries: list[Entry | Fault] = dataclass_field(default_factory=list)
    end: int | None = None  # the offset of the brace that closes it

    def closed(self) -> Iterator[Block]:
        """Yield this block and those inside it, if a brace closes them, in the order of these braces."""
        for entry in self.entries:
            if isinstance(entry, Entry) and isinstance(entry.value, Block):
                yield from entry.value.closed()
        if self.end is not None:
            yield self


Blocks = tuple[Block, ...]  # the blocks around a place, from the whole text to the innermost one
