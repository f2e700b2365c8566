"""The schema's facts about a message's fields, and its advice about names that it does not know."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from ..text.spelling import nearest
from .forks import LISTS, is_of_forks

_INTEGERS = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
}
_KINDS = {
    FieldDescriptor.TYPE_MESSAGE: "message",
    FieldDescriptor.TYPE_ENUM: "enum",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_FLOAT: "float",
    FieldDescriptor.TYPE_DOUBLE: "float",
}
_PATHS = frozenset(
    [
        "net",
        "train_net",
        "test_net",
        "weights",
        "snapshot_prefix",
        "source",
        "mean_file",
        "meanfile",
        "root_folder",
        "file_name",
    ]
)
_TITLES = {
    "NetParameter": "a net",
    "SolverParameter": "a solver",
    "LayerParameter": "a layer",
    "V1LayerParameter": "a V1 layer",
}


@dataclass(frozen=True)
class Field:
    """One field, for reading it; `kind` is int, float, bool, string, bytes, enum or message."""

    name: str
    kind: str
    repeated: bool
    single: bool  # True for a float of 32 bits
    range: tuple[int, int]
    message: Descriptor | None
    enum: EnumDescriptor | None
    first_counts: bool = False  # it may be given several times, though only one value is kept

    @property
    def is_path(self) -> bool:
        """True if its text is the path of a file or a folder, or the beginning of one."""
        return self.name in _PATHS

    @property
    def takes(self) -> str:
        """The values that the field takes, in words."""
        return {
            "int": "an integer" if self.range[0] else "an integer of 0 or more",
            "float": "a number",
            "bool": "true or false",
            "string": "text in quotes",
            "bytes": "text in quotes",
            "enum": "one of " + ", ".join(value.name for value in self.enum.values) if self.enum else "",
            "message": "a block in braces",
        }[self.kind]


@functools.cache
def fields_of(message: Descriptor) -> dict[str, Field]:
    """Return the fields of a message by name."""
    return {
        field.name: Field(
            name=field.name,
            kind=_KINDS.get(field.type, "int"),
            repeated=_is_repeated(field),
            single=field.type == FieldDescriptor.TYPE_FLOAT,
            range=_INTEGERS.get(field.type, (0, 0)),
            message=field.message_type,
            enum=field.enum_type,
            first_counts=f"{message.name}.{field.name}" in LISTS,
        )
        for field in message.fields
    }


def _is_repeated(field: Any) -> bool:
    # protobuf 6.31 introduced is_repeated and deprecated label.
    return bool(field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED)


def is_layer(message: Descriptor) -> bool:
    """Return whether a message is a layer, in today's format or in V1."""
    return message.name in ("LayerParameter", "V1LayerParameter")


def title(message: Descriptor, name: str) -> str:
    """Return a block's title for an error: "a layer", or the name of the field that opened it."""
    return _TITLES.get(message.name, name)


# The fields of V1's layers about their blobs, and the fields of today's `param` that replace them.
OF_PARAM = {"param": "name", "blob_share_mode": "share_mode", "blobs_lr": "lr_mult", "weight_decay": "decay_mult"}


def advise_field(word: str, path: Sequence[tuple[Descriptor, str]], layer_type: str | None) -> str:
    """Say what to do about an unknown field, given the messages around it, outermost first, with their names."""
    message = path[-1][0]
    if word in OF_PARAM and any(outer.name == "LayerParameter" for outer, _ in path):
        return f"write {OF_PARAM[word]} in a param of the layer, one for each of its blobs: param {{ " + (
            'name: "..." share_mode: ... }' if word == "blob_share_mode" else "lr_mult: ... decay_mult: ... }"
        )
    inside = _bvlc_first(message, [name for name, field in fields_of(message).items() if _holds(field, word)])
    own = [name for name in inside if layer_type and _same_words(name.removesuffix("_param"), layer_type)]
    for outer, name in reversed(path[:-1]):
        if word in fields_of(outer):
            return f'"{word}" belongs in {title(outer, name)}, outside {title(*path[-1])}'
    if inside:
        return f'"{word}" belongs in {_either(own or inside)}: {(own or inside)[0]} {{ {word} ... }}'
    if layer_type and word.endswith("_param") and _same_words(word.removesuffix("_param"), layer_type):
        return f"Caffe knows no {layer_type} layer; a fork of Caffe may"
    close = nearest(word, fields_of(message))
    if close:
        return f'Did you mean "{close}"?'
    for outer, _ in reversed(path[:-1]):
        beside = [name for name, field in fields_of(outer).items() if _holds(field, word)]
        if beside:
            return f'"{word}" belongs in {_either(beside)}'
    owners = [other.name for other in message.file.message_types_by_name.values() if word in fields_of(other)]
    if owners:
        return f'"{word}" is a field of {_either(owners)}'
    return f"Caffe knows no {word}; another program, or a fork of Caffe, may"


def _holds(field: Field, word: str) -> bool:
    return field.message is not None and word in fields_of(field.message)


def _bvlc_first(message: Descriptor, names: list[str]) -> list[str]:
    """Return the fields that are BVLC's, or all if none of them is."""
    return [name for name in names if not is_of_forks(message, name)] or names


def _same_words(name: str, layer_type: str) -> bool:
    return name.replace("_", "") == layer_type.lower().replace("deconvolution", "convolution")


def _either(names: Sequence[str]) -> str:
    if len(names) > 5:
        return ", ".join(names[:5]) + " or others"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def advise_enum(word: str, enum: EnumDescriptor) -> str:
    """Say what to do about a value that an enum does not have: give the nearest one and the whole list."""
    names = [value.name for value in enum.values if not is_of_forks(enum, value.name)]
    close = nearest(word, names)
    return (f"Did you mean {close}? " if close else "") + f"It is one of {', '.join(names)}"


# Fields of the data layers' parameters before transform_param existed, where they have the same names.
MOVED_TO_TRANSFORM = ("scale", "mean_file", "crop_size", "mirror")
_MOVED = dict.fromkeys(MOVED_TO_TRANSFORM, "the field of that name of transform_param")
_REPLACED = {
    "NetParameter": dict.fromkeys(("input", "input_shape", "input_dim"), "a layer of type Input")
    | {"layers": "layer { type: ... }, with the type in quotes"},
    "SolverParameter": {"solver_type": "type, in quotes"},
    "LossParameter": {"normalize": "normalization: VALID, or BATCH_SIZE for false"},
    "ConcatParameter": {"concat_dim": "axis"},
    "SliceParameter": {"slice_dim": "axis"},
    "DummyDataParameter": dict.fromkeys(("num", "channels", "height", "width"), "shape { dim: ... }"),
    "DataParameter": _MOVED,
    "ImageDataParameter": _MOVED,
    "WindowDataParameter": _MOVED,
}
_DEPRECATED = frozenset(name for fields in _REPLACED.values() for name in fields)


def replacement(message: Descriptor, names: Sequence[str]) -> str | None:
    """Return what replaces a deprecated field, or None; ``names`` are those of the blocks around it and its own."""
    if names[-1] not in _DEPRECATED:
        return None
    inner: Descriptor | None = message
    for name in names[:-1]:
        inner = fields_of(inner)[name].message if inner else None
    return _REPLACED.get(inner.name, {}).get(names[-1]) if inner else None
