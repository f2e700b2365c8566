"""Nets in protobuf's binary form, written by forks that give other numbers to their fields than the schema.

Nothing in such a file names the fork. But few of its fields fit if they are read by another fork's numbers: types of
values differ, and so do the types of layers that have the parameters.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from ..logs.log import logger
from . import caffe_pb2
from .forks import FORKS, numbers_of
from .schema import fields_of

_VARINT, _64_BITS, _BYTES, _32_BITS = 0, 1, 2, 5
_WIDTHS = {_64_BITS: 8, _32_BITS: 4}
_WIRES = {
    FieldDescriptor.TYPE_DOUBLE: _64_BITS,
    FieldDescriptor.TYPE_FLOAT: _32_BITS,
    FieldDescriptor.TYPE_STRING: _BYTES,
    FieldDescriptor.TYPE_BYTES: _BYTES,
    FieldDescriptor.TYPE_MESSAGE: _BYTES,
}
_OURS = ""
_NET: Any = caffe_pb2.NetParameter.DESCRIPTOR
_LAYER: Any = caffe_pb2.LayerParameter.DESCRIPTOR


class _Entry(NamedTuple):
    """A field in bytes: its number, its wire type, the number that a varint has, and where it and its value stand."""

    number: int
    wire: int
    varint: int
    start: int
    value: int
    end: int


class _Broken(Exception):
    """These bytes are no message."""


def in_our_numbers(data: bytes) -> bytes:
    """Return a binary NetParameter with the schema's numbers, whichever fork wrote it; what is no net is returned."""
    whole = memoryview(data)
    try:
        if not _is_contested(whole, _NET):
            return data
        fork = _best_fork(whole)
        ours = _Translation(fork).of(whole, _NET)
    except (_Broken, RecursionError):
        return data
    if fork:
        logger.info("Reading the net by the numbers that its fields have in %s", FORKS[fork])
    return data if ours is whole else bytes(ours)


def _best_fork(net: memoryview) -> str:
    """Return the fork by whose numbers most of a net fits; ours, if nothing speaks against it."""
    costs: dict[str, int] = {}
    for fork in (_OURS, *FORKS):
        costs[fork] = _misfits(net, _NET, fork)
        if not costs[fork]:
            return fork
    return min(costs, key=lambda fork: costs[fork])


def _entries(data: memoryview) -> Iterator[_Entry]:
    """Yield the fields of a message."""
    at, size = 0, len(data)
    while at < size:
        start = at
        tag, at = _varint(data, at)
        number, wire, varint, value = tag >> 3, tag & 7, 0, at
        if wire == _VARINT:
            varint, at = _varint(data, at)
        elif wire == _BYTES:
            length, value = _varint(data, at)
            at = value + length
        elif wire in _WIDTHS:
            at += _WIDTHS[wire]
        else:
            raise _Broken
        if not number or at > size:
            raise _Broken
        yield _Entry(number, wire, varint, start, value, at)


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    number = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
    raise _Broken


def _as_varint(number: int) -> bytes:
    low = number & 0x7F
    return bytes([low | 0x80]) + _as_varint(number >> 7) if number >> 7 else bytes([low])


# -- what a number may mean --------------------------------------------------------------------------------------------


@functools.cache
def _numbering(message: Descriptor, fork: str) -> dict[int, FieldDescriptor]:
    """Return the fields of a message by the numbers that they have in a fork, or by ours."""
    theirs = numbers_of(message.name).get(fork, {}) if fork else {}
    ours = {field.number: field for field in message.fields if field.name not in theirs}
    return ours | {number: message.fields_by_name[name] for name, number in theirs.items()}


@functools.cache
def _values(enum: EnumDescriptor, fork: str) -> dict[int, int]:
    """Return our numbers of those values of an enum that have another number in a fork, by that number."""
    owner = enum.full_name.removeprefix(f"{enum.file.package}.")
    theirs = numbers_of(owner).get(fork, {}) if fork else {}
    return {number: enum.values_by_name[name].number for name, number in theirs.items()}


@functools.cache
def _contested(message: Descriptor) -> frozenset[int]:
    """Return the numbers that mean another field, or none, in our schema than in a fork."""
    ours = _numbering(message, _OURS)
    return frozenset(
        number
        for fork in numbers_of(message.name)
        for number, field in _numbering(message, fork).items()
        if number not in ours or ours[number].name != field.name
    )


def _inner(field: FieldDescriptor | None, entry: _Entry) -> Descriptor | None:
    """Return the message inside a field; blobs are left alone."""
    if field is None or entry.wire != _BYTES or field.message_type is None or field.message_type.name == "BlobProto":
        return None
    return field.message_type


def _is_contested(data: memoryview, message: Descriptor) -> bool:
    """Return whether a message, or one inside it, has a number that forks give to different fields."""
    fields, contested = _numbering(message, _OURS), _contested(message)
    for entry in _entries(data):
        if entry.number in contested or entry.number not in fields:
            return True
        inner = _inner(fields[entry.number], entry)
        if inner and _is_contested(data[entry.value : entry.end], inner):
            return True
    return False


# -- what fits ---------------------------------------------------------------------------------------------------------


def _misfits(data: memoryview, message: Descriptor, fork: str) -> int:
    """Count what does not fit in a message by a fork's numbers."""
    fields = _numbering(message, fork)
    misfits = 0
    met: set[str] = set()
    layer_type = ""
    for entry in _entries(data):
        field = fields.get(entry.number)
        if field is None or not _fits(field, entry, data, fork):
            misfits += 1
            continue
        misfits += field.name in met and not fields_of(message)[field.name].repeated
        met.add(field.name)
        if inner := _inner(field, entry):
            try:
                misfits += _misfits(data[entry.value : entry.end], inner, fork)
            except _Broken:
                misfits += 1
        if message.name == "LayerParameter":
            if field.name == "type":
                layer_type = bytes(data[entry.value : entry.end]).decode(errors="replace").lower()
            misfits += _is_of_another_layer(field.name, layer_type, entry.number)
    return misfits + sum(name not in met for name in _required(message))


def _is_of_another_layer(param: str, layer_type: str, number: int) -> bool:
    """Return whether a layer has the parameters of another type, while another fork's by that number suit its type."""
    return not layer_type.startswith(_layer_of(param)) and any(
        map(layer_type.startswith, _layers_by_number().get(number, ()))
    )


def _has_its_wire(field: FieldDescriptor, entry: _Entry) -> bool:
    """Return whether a field is written as its type is; repeated numbers may be packed into bytes."""
    packed = entry.wire == _BYTES and fields_of(field.containing_type)[field.name].repeated
    return packed or entry.wire == _WIRES.get(field.type, _VARINT)


def _fits(field: FieldDescriptor, entry: _Entry, data: memoryview, fork: str) -> bool:
    """Return whether a field may have this value."""
    if not _has_its_wire(field, entry):
        return False
    if entry.wire == _BYTES and field.type != FieldDescriptor.TYPE_STRING:
        return True
    if field.type == FieldDescriptor.TYPE_BOOL:
        return entry.varint < 2
    if field.enum_type:
        return entry.varint in field.enum_type.values_by_number or entry.varint in _values(field.enum_type, fork)
    if field.type == FieldDescriptor.TYPE_STRING:
        return not any(byte < 9 for byte in data[entry.value : entry.end])
    return True


def _layer_of(param: str) -> str:
    """Return the type of the layer whose parameters these are, in lower case."""
    words = param.removesuffix("_param").replace("_", "")
    return {"norm": "normalize"}.get(words, words)


@functools.cache
def _layers_by_number() -> Mapping[int, set[str]]:
    """Return, by number, the types of the layers whose parameters have it in our schema or in a fork."""
    layers: defaultdict[int, set[str]] = defaultdict(set)
    for fork in (_OURS, *FORKS):
        for number, field in _numbering(_LAYER, fork).items():
            if field.name.endswith("_param"):
                layers[number].add(_layer_of(field.name))
    return layers


@functools.cache
def _required(message: Descriptor) -> Sequence[str]:
    empty: Any = GetMessageClass(message)()
    return list(empty.FindInitializationErrors())


# -- from a fork's numbers to ours -------------------------------------------------------------------------------------


class _Translation:
    """Gives fields our numbers, and skips those of forks that fit nothing."""

    def __init__(self, fork: str) -> None:
        self._fork = fork
        self._told: set[tuple[str, int]] = set()

    def of(self, data: memoryview, message: Descriptor) -> memoryview | bytes:
        """Return a message with our numbers; the same object, if nothing changes."""
        fields = _numbering(message, self._fork)
        parts: list[memoryview | bytes] = []
        changed = False
        for entry in _entries(data):
            field = fields.get(entry.number)
            part = data[entry.start : entry.end]
            new = self._entry(part, data[entry.value : entry.end], entry, message, field)
            changed = changed or new is not part
            parts.append(new)
        return b"".join(parts) if changed else data

    def _entry(
        self, part: memoryview, value: memoryview, entry: _Entry, message: Descriptor, field: FieldDescriptor | None
    ) -> memoryview | bytes:
        if field is None or not _has_its_wire(field, entry):
            self._tell(message, entry.number)
            return b""
        new: memoryview | bytes = value
        if inner := _inner(field, entry):
            try:
                new = self.of(value, inner)
            except _Broken:
                if entry.number not in _contested(message):
                    return part
                self._tell(message, entry.number)
                return b""
        elif field.enum_type and entry.wire == _VARINT:
            ours = _values(field.enum_type, self._fork).get(entry.varint, entry.varint)
            new = value if ours == entry.varint else _as_varint(ours)
        if new is value and field.number == entry.number:
            return part
        length = _as_varint(len(new)) if entry.wire == _BYTES else b""
        return b"".join([_as_varint(field.number << 3 | entry.wire), length, new])

    def _tell(self, message: Descriptor, number: int) -> None:
        """Log once that a field is skipped."""
        if (message.name, number) not in self._told:
            self._told.add((message.name, number))
            logger.warning("Field %d of a %s fits no fork that is known: it is skipped.", number, message.name)
