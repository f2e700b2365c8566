"""From the tree to a message, and the place of every field."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

from google.protobuf.message import Message

from .parsed import Path
from .tokens import Token
from .tree import Block, Entry, Fault, Mistake


@dataclass
class Built:
    """A message as far as it can be read, the places of its fields, and the faults that were met, in that order.

    Each fault is beside the block that it is in. If there are too many it is not ``finished``.
    """

    message: Any
    offsets: dict[Path, int] = dataclass_field(default_factory=dict)
    faults: list[tuple[Fault, Block]] = dataclass_field(default_factory=list)
    finished: bool = False


def build(tree: Block, tokens: list[Token], message: Message, most_faults: int) -> Built:
    """Fill a message with what stands in a text."""
    built = Built(message)
    with suppress(_Enough):
        _Builder(built, tokens, most_faults).fill(message, tree, ())
        built.finished = True
    return built


class _Enough(Exception):
    """So much is wrong that the rest is not worth reading."""


class _Builder:
    def __init__(self, built: Built, tokens: list[Token], most_faults: int) -> None:
        self.offsets = built.offsets
        self.faults = built.faults
        self.tokens = tokens
        self.most_faults = most_faults

    def fill(self, message: Any, block: Block, path: Path) -> None:
        """Fill a message at a path with the entries of a block."""
        for entry in block.entries:
            if isinstance(entry, Fault):
                self._fault(entry, block)
            elif isinstance(entry.value, Block):
                self._fill_block(message, entry, block, path)
            else:
                self._put(message, entry, block, path)

    def _fill_block(self, message: Any, entry: Entry, block: Block, path: Path) -> None:
        field = entry.field
        if field.repeated:
            blocks = getattr(message, field.name)
            at = (*path, field.name, len(blocks))
            inner = blocks.add()
            self.offsets[at] = self.tokens[entry.start].offset
        else:
            at = (*path, field.name)
            self._place_once(message, entry, block, at)
            inner = getattr(message, field.name)
            inner.SetInParent()
        self.fill(inner, entry.value, at)

    def _put(self, message: Any, entry: Entry, block: Block, path: Path) -> None:
        name, value = entry.field.name, entry.value
        if not entry.field.repeated:
            self._place_once(message, entry, block, (*path, name))
        for fault in entry.faults:
            self._fault(fault, block)
        if value is None:
            return
        if entry.field.repeated:
            values = getattr(message, name)
            self.offsets[(*path, name, len(values))] = self.tokens[entry.start].offset
            values.append(value)
        else:
            setattr(message, name, value)

    def _place_once(self, message: Any, entry: Entry, block: Block, path: Path) -> None:
        """Note where a field stands that may stand there once; of two, the later one is read on with."""
        before = self.offsets.get(path)
        if before is not None:
            self._fault(Fault(Mistake.GIVEN_TWICE, entry.start, entry.start + 1, entry.field, before), block)
            message.ClearField(entry.field.name)
            for inner in [at for at in self.offsets if at[: len(path)] == path]:
                del self.offsets[inner]
        self.offsets[path] = self.tokens[entry.start].offset

    def _fault(self, fault: Fault, block: Block) -> None:
        if len(self.faults) == self.most_faults:
            raise _Enough
        self.faults.append((fault, block))
