"""Fields of forks that a message sets: those that change no result, and those that nothing reads."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from google.protobuf.message import Message

from ..logs.log import logger
from .forks import ForkField, added_fields
from .parsed import Path
from .schema import fields_of


def set_fields(message: Message, path: Path = ()) -> Iterator[tuple[Path, ForkField]]:
    """Find the fields and values that forks add, in a message and those inside it, and that are not the defaults."""
    added = added_fields()
    own = added.get(message.DESCRIPTOR.name, {})
    known = fields_of(message.DESCRIPTOR)
    for descriptor, value in message.ListFields():
        field = known[descriptor.name]
        at = (*path, field.name)
        if field.name in own and (field.repeated or field.message or value != descriptor.default_value):
            yield at, own[field.name]
        if field.enum and not field.repeated:
            name = field.enum.values_by_number[value].name
            values = added.get(field.enum.full_name.removeprefix(f"{field.enum.file.package}."), {})
            if name in values:
                yield at, values[name]
        elif field.message and field.message.name != "BlobProto":
            for index, inner in enumerate(value if field.repeated else [value]):
                yield from set_fields(inner, (*at, index) if field.repeated else at)


def refused(message: Message, read: Collection[str] = ()) -> Iterator[tuple[Path, str]]:
    """Yield the path of each set field that would change results but is not read, with what to say about it.

    ``read`` are the keys of the fields that the layer or solver of the message reads besides those marked in the table.
    """
    for path, field in set_fields(message):
        if not (field.idle or field.read or field.key in read):
            name = field.key.rpartition(".")[2]
            kind = "a field" if path[-1] == name else f"a value of {path[-1]}"
            yield path, f"{name} is {kind} of {field.forks} that changes results, and caffe_lite does not know it yet"


def warn_of_idle_fields(message: Message) -> None:
    """Log once what forks' fields in a message have no effect here."""
    idle = {field.key: field for _, field in set_fields(message) if field.idle}
    for field in idle.values():
        logger.warning("%s of %s changes no result and has no effect here.", field.key, field.forks)
