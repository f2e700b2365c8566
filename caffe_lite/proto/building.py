"""Building a message from the tree, with the place of every field."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

from google.protobuf.message import Message

from .forks import REPEATED_BY_FORKS
from .parsed import Path
from .tokens import Token
from .tree import Block, Blocks, Entry, Fault, Mistake


@dataclass
class Built:
    """A message as far as it can be read, the places of its fields, and the faults in the order in which they were met.

    Each fault comes with the blocks around it. If there are too many faults, building is not ``finished``.
    """

    message: Any
    offsets: dict[Path, int] = dataclass_field(default_factory=dict)
    faults: list[tuple[Fault, Blocks]] = dataclass_field(default_factory=list)
    finished: bool = False


def build(tree: Block, tokens: list[Token], message: Message, most_faults: int) -> Built:
    """Fill a message with the fields of a text."""
    built = Built(message)
    with suppress(_Enough):
        _Builder(built, tokens, most_faults).fill(message, (tree,), ())
        built.finished = True
    return built


class _Enough(Exception):
    """There are so many faults that the rest is not worth reading."""


class _Builder:
    def __init__(self, built: Built, tokens: list[Token], most_faults: int) -> None:
        self.offsets = built.offsets
        self.faults = built.faults
        self.tokens = tokens
        self.most_faults = most_faults

    def fill(self, message: Message, around: Blocks, path: Path) -> None:
        """Fill a message at a path with the entries of the innermost block."""
        for entry in around[-1].entries:
            if isinstance(entry, Fault):
                self._fault(entry, around)
            elif isinstance(entry.value, Block):
                self._fill_block(message, entry, around, path)
            else:
                self._put(message, entry, around, path)

    def _fill_block(self, message: Message, entry: Entry, around: Blocks, path: Path) -> None:
        field, name = entry.field, entry.field.name
        further = REPEATED_BY_FORKS.get((message.DESCRIPTOR.name, name))
        if further and message.HasField(name):
            name = further
        if field.repeated or name == further:
            blocks = getattr(message, name)
            at = (*path, name, len(blocks))
            inner = blocks.add()
            self.offsets[at] = self.tokens[entry.start].offset
        else:
            at = (*path, field.name)
            self._place_once(message, entry, around, at)
            inner = getattr(message, field.name)
            inner.SetInParent()
        self.fill(inner, (*around, entry.value), at)

    def _put(self, message: Message, entry: Entry, around: Blocks, path: Path) -> None:
        name, value = entry.field.name, entry.value
        if entry.field.first_counts and (*path, name) in self.offsets:
            value = None
        elif not entry.field.repeated:
            if (*path, name) in self.offsets and self._put_for_axes(message, entry, path):
                return
            self._place_once(message, entry, around, (*path, name))
        for fault in entry.faults:
            self._fault(fault, around)
        if value is None:
            return
        if entry.field.repeated:
            values = getattr(message, name)
            self.offsets[(*path, name, len(values))] = self.tokens[entry.start].offset
            values.append(value)
        else:
            setattr(message, name, value)

    def _put_for_axes(self, message: Any, entry: Entry, path: Path) -> bool:
        """Put a field that is given again into the repeated field for several axes, if it has one.

        naibaf7's Caffe lets a pooling give kernel_size, stride and pad once for each axis; Intel's has kernel_size_3d
        and so on for that.
        """
        name, for_axes = entry.field.name, f"{entry.field.name}_3d"
        if entry.value is None or entry.faults or for_axes not in message.DESCRIPTOR.fields_by_name:
            return False
        values = getattr(message, for_axes)
        if message.HasField(name):
            self.offsets[(*path, for_axes, 0)] = self.offsets[(*path, name)]
            values.append(getattr(message, name))
            message.ClearField(name)
        self.offsets[(*path, for_axes, len(values))] = self.tokens[entry.start].offset
        values.append(entry.value)
        return True

    def _place_once(self, message: Message, entry: Entry, around: Blocks, path: Path) -> None:
        """Note the place of a field that may be set only once; if it is set again, the later one counts."""
        before = self.offsets.get(path)
        if before is not None:
            self._fault(Fault(Mistake.GIVEN_TWICE, entry.start, entry.start + 1, entry.field, before), around)
            message.ClearField(entry.field.name)
            for inner in [at for at in self.offsets if at[: len(path)] == path]:
                del self.offsets[inner]
        self.offsets[path] = self.tokens[entry.start].offset

    def _fault(self, fault: Fault, around: Blocks) -> None:
        if len(self.faults) == self.most_faults:
            raise _Enough
        self.faults.append((fault, around))
