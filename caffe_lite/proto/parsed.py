"""A message that was read from text, and the places of its fields in the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from ..errors import PrototxtError, Where
from .source import Source

M = TypeVar("M", bound=Message)
Path = tuple[str | int, ...]


@dataclass
class Parsed(Generic[M]):
    """A message, and the place of each of its fields in its file.

    ``elsewhere`` has the places of fields that were set elsewhere, on the command line, by name.
    """

    message: M
    source: Source = field(default_factory=lambda: Source("", "<message>"))
    problems: list[PrototxtError] = field(default_factory=list)
    offsets: dict[Path, int] = field(default_factory=dict)
    elsewhere: dict[str | int, Where] = field(default_factory=dict)

    @property
    def file(self) -> str:
        """The name of the file, as given."""
        return self.source.file

    def where(self, *path: str | int) -> Where:
        """Return a field's place, as in `where("layer", 3, "bottom", 0)`; its block's if the file lacks it."""
        if path and path[0] in self.elsewhere:
            return self.elsewhere[path[0]]
        while path:
            if path in self.offsets:
                return self.source.where(self.offsets[path])
            path = path[:-1]
        return Where(self.file)

    @property
    def layers(self) -> list[Where]:
        """The place of each layer of a net, in order."""
        return [self.where("layer", index) for index in range(len(getattr(self.message, "layer", ())))]

    def at(self, *path: str | int) -> Any:
        """Return the message or value at a path."""
        found: Any = self.message
        for step in path:
            found = found[step] if isinstance(step, int) else getattr(found, step)
        return found

    def sub(self, *path: str | int) -> Parsed[Any]:
        """Return a message inside this one, with its places: `solver.sub("net_param").layers`."""
        depth = len(path)
        offsets = {at[depth:]: offset for at, offset in self.offsets.items() if at[:depth] == path}
        return Parsed(self.at(*path), self.source, [], offsets)

    def move(self, old: Path, new: Path, kept: Sequence[int]) -> None:
        """Record that a repeated field became another one with the elements at `kept`, in that order."""
        depth, index = len(old), {before: after for after, before in enumerate(kept)}
        moved = {at: self.offsets.pop(at) for at in list(self.offsets) if at[:depth] == old}
        self.offsets.update(
            ((*new, index[int(at[depth])], *at[depth + 1 :]), offset)
            for at, offset in moved.items()
            if int(at[depth]) in index
        )

    def insert(self, path: Path, place: Path) -> None:
        """Record that an element was inserted at a path that ends with its index; it gets the place of a field."""
        depth, index = len(path), int(path[-1])
        offset = self.offsets.get(place)
        beside = [at for at in self.offsets if len(at) >= depth and at[: depth - 1] == path[:-1]]
        moved = [at for at in beside if int(at[depth - 1]) >= index]
        shifted = {(*at[: depth - 1], int(at[depth - 1]) + 1, *at[depth:]): self.offsets.pop(at) for at in moved}
        self.offsets.update(shifted)
        if offset is not None:
            self.offsets[path] = offset
