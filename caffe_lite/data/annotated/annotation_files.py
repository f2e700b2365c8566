"""Files of annotations: VOC's XML, COCO's JSON image by image, and plain text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn
from xml.etree import ElementTree

from ...errors import DataError, Where
from ...logs.log import logger
from ...text.spelling import nearest


class Box(NamedTuple):
    """An object in an image, with its box as fractions of the image."""

    label: int
    xmin: float
    ymin: float
    xmax: float
    ymax: float
    difficult: bool


def read_boxes(file: str, kind: str, height: int, width: int, labels: Mapping[str, int]) -> list[Box]:
    """Read the annotations of an image of this size from a file of a kind in ``KINDS``.

    ``labels`` are those of the names in it; plain text holds labels. Where the file states another size of the image,
    its boxes are fractions of that size, with a warning. Coordinates are numbers; SSD takes those in XML that are not
    whole for 0.
    Source: SSD's io.cpp.
    """
    return [_fractions(file, *found) for found in KINDS[kind](file, height, width, labels)]


# label, xmin, ymin, xmax, ymax, difficult, and the size of the image
_Found = tuple[int, float, float, float, float, bool, int, int]


def _xml(file: str, height: int, width: int, labels: Mapping[str, int]) -> Iterator[_Found]:
    """Read <annotation> with <size>, and <object>s with <name>, <difficult>, <bndbox>."""
    try:
        root = ElementTree.parse(file).getroot()
    except ElementTree.ParseError as error:
        line, column = error.position
        raise DataError(f"it is not XML: {error}", where=Where(file, line, column + 1)) from None
    height, width = _stated_size(file, root.findtext("size/height"), root.findtext("size/width"), height, width)
    for element in root.findall("object"):
        label = _label(file, (element.findtext("name") or "").strip(), labels)
        corners = [_number(file, element.findtext(f"bndbox/{name}"), name) for name in ("xmin", "ymin", "xmax", "ymax")]
        difficult = (element.findtext("difficult") or "").strip() == "1"
        yield label, corners[0], corners[1], corners[2], corners[3], difficult, height, width


def _json(file: str, height: int, width: int, labels: Mapping[str, int]) -> Iterator[_Found]:
    """Read "image" with its height and width, and "annotation", each with category_id, bbox and perhaps iscrowd."""
    with open(file, encoding="utf-8-sig") as stream:
        try:
            content = json.load(stream)
        except ValueError as error:
            line, column = getattr(error, "lineno", 0), getattr(error, "colno", 0)
            raise DataError(f"it is not JSON: {error}", where=Where(file, line, column)) from None
    try:
        image, annotations = content.get("image", {}), content["annotation"]
        height, width = _stated_size(file, image.get("height"), image.get("width"), height, width)
        found = [(str(each["category_id"]), *each["bbox"], bool(int(each.get("iscrowd", 0)))) for each in annotations]
        for name, x, y, box_width, box_height, is_crowd in found:
            x, y = _number(file, x, "bbox"), _number(file, y, "bbox")
            right, bottom = x + _number(file, box_width, "bbox"), y + _number(file, box_height, "bbox")
            yield _label(file, name, labels), x, y, right, bottom, is_crowd, height, width
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"it has another form: {error}",
            where=Where(file),
            hint='It must be {"image": {"height": h, "width": w}, "annotation": '
            '[{"category_id": c, "bbox": [x, y, width, height]}, ...]}',
        ) from None


def _text(file: str, height: int, width: int, labels: Mapping[str, int]) -> Iterator[_Found]:
    """Read lines of a label and four corners."""
    with open(file, encoding="utf-8-sig", errors="surrogateescape") as stream:
        for number, line in enumerate(stream, 1):
            words = line.split()
            if words:
                if len(words) != 5 or not re.fullmatch(r"[+-]?\d+", words[0]):
                    raise DataError(
                        f"{line.strip()!r} has another form",
                        where=Where(file, number, 1),
                        hint="Write a label and xmin, ymin, xmax, ymax in pixels, with spaces between",
                    )
                xmin, ymin, xmax, ymax = (_number(file, word, "a corner", number) for word in words[1:])
                yield int(words[0]), xmin, ymin, xmax, ymax, False, height, width


KINDS: dict[str, Callable[[str, int, int, Mapping[str, int]], Iterator[_Found]]] = {
    "xml": _xml,
    "json": _json,
    "txt": _text,
}


def _fractions(
    file: str, label: int, xmin: float, ymin: float, xmax: float, ymax: float, difficult: bool, height: int, width: int
) -> Box:
    if not (min(xmin, xmax) >= 0 and max(xmin, xmax) <= width and min(ymin, ymax) >= 0 and max(ymin, ymax) <= height):
        logger.warning("%s bounding box exceeds image boundary.", file)
    if xmin > xmax or ymin > ymax:
        logger.warning("%s bounding box irregular.", file)
    return Box(label, xmin / width, ymin / height, xmax / width, ymax / height, difficult)


def _stated_size(file: str, stated_height: Any, stated_width: Any, height: int, width: int) -> tuple[int, int]:
    """Return the size of the image that the file states, if it does."""
    if stated_height is None or stated_width is None:
        logger.warning("%s does not state the size of the image", file)
        return height, width
    stated = int(_number(file, stated_height, "height")), int(_number(file, stated_width, "width"))
    if min(stated) < 1:
        _refuse(file, f"the image is {stated[0]} x {stated[1]} (H x W) in it", "Correct its size, or leave it out")
    for name, mine, theirs in (("height", stated[0], height), ("width", stated[1], width)):
        if mine != theirs:
            logger.warning("%s inconsistent image %s.", file, name)
    return stated


def _label(file: str, name: str, labels: Mapping[str, int]) -> int:
    if name not in labels:
        near = nearest(name, labels)
        hint = f"Did you mean {near!r}?" if near else "Add it there"
        _refuse(file, f"the label map has no name {name!r}", hint)
    return labels[name]


def _number(file: str, value: Any, what: str, line: int = 0) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        where = Where(file, line, 1) if line else Where(file)
        missing = "is missing" if value is None else f"is {value!r}"
        raise DataError(f"{what} {missing}", where=where, hint="It must be a number") from None


def _refuse(file: str, what: str, hint: str) -> NoReturn:
    raise DataError(what, where=Where(file), hint=hint)
