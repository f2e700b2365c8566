"""Messages that several layers, or a layer and a transformation, share, each with fields of its own."""

from __future__ import annotations

from collections.abc import Collection

from google.protobuf.message import Message

from ...layer import Layer


def refuse_other_fields(layer: Layer, message: Message, own: Collection[str]) -> None:
    """Refuse fields that are set and that the layer does not read."""
    for field, _ in message.ListFields():
        if field.name not in own:
            layer.error(f"it does not read {field.name}", f"remove it; {layer.type} reads {', '.join(own)}")
