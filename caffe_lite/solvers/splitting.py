"""Batches divided among solvers: the sizes that a net's data layers are given become those of one solver's part."""

from __future__ import annotations

from collections.abc import Iterator, MutableSequence, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from ..errors import NetError
from ..net.filtering import PlacedLayer

# Has bottoms, and says again how many sequences run side by side.
_STREAMS = "CaffeLSTM"


def split_batches(layers: Sequence[PlacedLayer], count: int) -> None:
    """Divide the batch size of every layer without bottoms by ``count``; raise a NetError if one cannot be divided.

    That is each ``batch_size``, and the first size of each top of a DummyData layer.
    """
    for layer in layers:
        if not layer.param.bottom or layer.param.type == _STREAMS:
            for message, field in _sizes(layer.param):
                _divide(layer, message, field, count)


def _sizes(param: Any) -> Iterator[tuple[Any, str]]:
    """Yield each message with the name of its field that holds a batch size, or a list of them."""
    for descriptor, value in param.ListFields():
        if descriptor.type != FieldDescriptor.TYPE_MESSAGE or not isinstance(value, Message):
            continue
        if "batch_size" in value.DESCRIPTOR.fields_by_name:
            yield value, "batch_size"
        if descriptor.name == "dummy_data_param":
            yield value, "num"
            yield from ((shape, "dim") for shape in param.dummy_data_param.shape)


def _divide(layer: PlacedLayer, message: Any, field: str, count: int) -> None:
    value = getattr(message, field)
    sizes = list(value)[: 1 if field == "dim" else None] if isinstance(value, MutableSequence) else [value]
    for size in sizes:
        if size % count:
            below, above = size // count * count, -(-size // count) * count
            near = f"{below} or {above}" if below else above
            raise NetError(
                f"{field} {size} cannot be divided among {count} workers",
                where=layer.where,
                layer=layer.param.name,
                layer_type=layer.param.type,
                hint=f"make it {near}, or leave --split-batch out: it is then each worker's",
            )
    if isinstance(value, MutableSequence):
        value[: len(sizes)] = [size // count for size in sizes]
    elif message.HasField(field):
        setattr(message, field, value // count)
