"""Layers whose classes a script gives with ``cv2.dnn_registerLayer``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from ..errors import ArgumentError, LayerError
from ..proto.arrays import array_to_blobproto, blobproto_to_array
from ..proto.caffe_pb2 import LayerParameter
from ..proto.schema import fields_of
from ..pycaffe.blob import HostBlob
from ..pycaffe.layer import UserLayer
from .arrays import as_opencv

_classes: dict[str, list[Callable[..., Any]]] = {}


def registerLayer(type: str, cls: Callable[..., Any]) -> None:
    """Have layers of a type computed by a class; it takes the place of a built-in layer of that type.

    The class is called with the layer's parameters, a dict, and its learned arrays, a tuple. It has the methods
    ``getMemoryShapes(inputs)``, from a list of shapes to those of the outputs, and ``forward(inputs)``, from arrays to
    the outputs. A class that is registered later for the same type hides this one until it is unregistered.
    """
    if not callable(cls):
        raise ArgumentError(f"the class for layers of type {type!r} is {cls!r}", hint="give a class")
    _classes.setdefault(type, []).append(cls)


def unregisterLayer(type: str) -> None:
    """Forget the class that was registered last for this type."""
    if classes := _classes.get(type):
        classes.pop()


def is_custom(type_name: str) -> bool:
    """Return whether a script has given a class for this type."""
    return bool(_classes.get(type_name))


def make_custom(param: LayerParameter, blobs: Sequence[np.ndarray]) -> None:
    """Turn a layer's parameters into those of the Python layer below, which calls the class for its type."""
    param.python_param.param_str = param.type
    param.python_param.module, param.python_param.layer = __name__, CustomLayer.__name__
    param.type = "Python"
    del param.param[:]
    del param.blobs[:]
    param.blobs.extend(array_to_blobproto(blob) for blob in blobs)


class CustomLayer(UserLayer):
    """A Python layer of pycaffe that calls a class as OpenCV calls it."""

    def __init__(self, param: LayerParameter) -> None:
        self.type_name = param.python_param.param_str
        blobs = tuple(as_opencv(blobproto_to_array(blob)) for blob in param.blobs)
        self.instance = _classes[self.type_name][-1](_parameters(param), blobs)

    def reshape(self, bottom: Sequence[HostBlob], top: Sequence[HostBlob]) -> None:
        shapes = self.instance.getMemoryShapes([blob.shape for blob in bottom])
        if len(shapes) < len(top):
            raise LayerError(f"getMemoryShapes returns {len(shapes)} shapes for {len(top)} tops")
        for blob, shape in zip(top, shapes, strict=False):
            blob.reshape(*shape)

    def forward(self, bottom: Sequence[HostBlob], top: Sequence[HostBlob]) -> None:
        outputs = self.instance.forward(tuple(np.array(blob.data, order="C") for blob in bottom))
        if isinstance(outputs, np.ndarray) or len(outputs) < len(top):
            raise LayerError(f"forward returns {type(outputs).__name__}", hint=f"return a list of {len(top)} arrays")
        for index, (blob, output) in enumerate(zip(top, outputs, strict=False)):
            if np.shape(output) != blob.shape:
                raise LayerError(
                    f"output {index} of forward is of shape {np.shape(output)}, getMemoryShapes promises {blob.shape}"
                )
            blob.data[...] = output


def _parameters(param: LayerParameter) -> dict[str, Any]:
    """Return what the prototxt gives in messages whose names end with _param, as one dict.

    Of messages in them, and of the first of several, the fields are in it, too. Enums are text, and flags are numbers.
    """
    found: dict[str, Any] = {}
    for field, value in param.ListFields():
        if field.name.endswith("_param") and field.name != "python_param":
            _add_field(found, param, field.name, value)
    return dict(sorted(found.items()))


def _add_field(found: dict[str, Any], message: Message, name: str, value: Any) -> None:
    field = fields_of(message.DESCRIPTOR)[name]
    if isinstance(value, Message) or (field.repeated and isinstance(value[0], Message)):
        inner = value[0] if field.repeated else value
        for below, item in inner.ListFields():
            _add_field(found, inner, below.name, item)
        return
    descriptor = message.DESCRIPTOR.fields_by_name[name]
    items = tuple(_plain(descriptor, item) for item in (value if field.repeated else (value,)))
    found[name] = items if len(items) > 1 else items[0]


def _plain(descriptor: Any, value: Any) -> Any:
    if descriptor.type == FieldDescriptor.TYPE_ENUM:
        return descriptor.enum_type.values_by_number[value].name
    return int(value) if isinstance(value, bool) else value
