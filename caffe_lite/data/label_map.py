"""Label maps: text files that say what the labels of a data set mean."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import DataError, Where
from ..proto.caffe_pb2 import LabelMap, LabelMapItem
from ..proto.parser import parse_text
from ..proto.prototxt import read_text
from .paths import resolve


def read_labels(path: str, where: Where | None, unique: bool) -> dict[str, int]:
    """Return the label of each name; of a name that comes twice the last one, unless names must be ``unique``."""
    labels: dict[str, int] = {}
    for item in _items(path, where):
        if unique and item.name in labels:
            what = f"{item.name!r} has the labels {labels[item.name]} and {item.label}"
            raise DataError(what, where=Where(resolve(path, where)), hint="give each name one label")
        labels[item.name] = item.label
    return labels


def read_label_map(path: str, where: Where | None) -> dict[int, str]:
    """Return the name of each label; a label or a name that comes twice is an error."""
    return {item.label: item.name for item in read_label_items(path, where)}


def read_label_items(path: str, where: Where | None) -> Sequence[LabelMapItem]:
    """Return the items of a label map; a label or a name that comes twice is an error."""
    file = resolve(path, where)
    items = _items(path, where)
    names: dict[int, str] = {}
    for item in items:
        if item.label in names:
            what = f"label {item.label} is both {names[item.label]!r} and {item.name!r}"
            raise DataError(what, where=Where(file), hint="give each label one name")
        if item.name in names.values():
            raise DataError(f"two labels are named {item.name!r}", where=Where(file), hint="give each its own name")
        names[item.label] = item.name
    return items


def _items(path: str, where: Where | None) -> Sequence[LabelMapItem]:
    file = resolve(path, where)
    return parse_text(read_text(file), LabelMap, file).message.item
