"""A picture of a net as SVG: boxes of layers, the blobs that leave them, and curves from the blobs to their readers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from ..inspection.costs import memory, shape_text
from ..layer import Kind
from .layout import Box, Layout, Point, layout
from .picture import DrawnBox, DrawnLayer, Picture

RANKDIRS = ("TB", "BT", "LR", "RL")
MARGIN = 16.0
LAYER, IN_PLACE, BLOB = 38.0, 22.0, 17.0  # heights
LONGEST = 44  # most characters of a name that are shown
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def svg_text(picture: Picture, rankdir: str = "TB", lr_mult: bool = False) -> str:
    """Return the text of a self-contained SVG file."""
    root = svg(picture, rankdir, lr_mult, header=True)
    for group in root.iter("g"):
        group.tail = "\n"
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, "unicode") + "\n"


def svg(picture: Picture, rankdir: str = "TB", lr_mult: bool = False, header: bool = False) -> Element:
    """Draw the picture. Layers have the ids ``layer-0``, ``layer-1``, ...; wires name the boxes that they join.

    Args:
        rankdir: the direction in which the net runs: TB, BT, LR or RL.
        lr_mult: show the learning rate multiplier of layers with weights.
        header: put the net's name, its totals and the kinds of its layers above the drawing.
    """
    upright = rankdir in ("TB", "BT")
    boxes = [_DrawnAs(picture, box, lr_mult) for box in picture.boxes]
    placed = layout([box.to_place(upright) for box in boxes], picture.wires)
    width, height = (placed.width, placed.depth) if upright else (placed.depth, placed.width)
    left, top = MARGIN, MARGIN
    root = Element("svg", xmlns="http://www.w3.org/2000/svg", role="group")
    _text_in(SubElement(root, "title"), heading(picture))
    _text_in(SubElement(root, "desc"), totals_text(picture))
    SubElement(root, "style").text = resources.files(__package__).joinpath("picture.css").read_text(encoding="utf-8")
    _arrow(SubElement(root, "defs"))
    if header:
        wide = _header(root, picture)
        top += 62
        left += max(0.0, (wide - width) / 2)
        width += 2 * (left - MARGIN)
    drawing = SubElement(root, "g", {"class": "net", "transform": f"translate({left:g} {top:g})"})
    turn = _turning(rankdir, placed)
    wires = SubElement(drawing, "g", {"class": "wires", "aria-hidden": "true"})
    for wire, points in zip(picture.wires, placed.wires, strict=True):
        attributes = {"class": "wire", "data-tail": str(wire.tail), "data-head": str(wire.head)}
        SubElement(wires, "path", attributes | {"d": _path([turn(point) for point in points], upright)})
    for box, at in zip(boxes, placed.boxes, strict=True):
        box.draw(drawing, at, turn, rankdir)
    _size(root, width + 2 * MARGIN, height + top + MARGIN)
    return root


def heading(picture: Picture) -> str:
    count = len(picture.layers)
    return f"{picture.name or 'Net'}, {picture.state}: {count} layer{'s' if count != 1 else ''}"


def totals_text(picture: Picture) -> str:
    if picture.totals is None:
        return "Layers of every phase, level and stage."
    total = picture.totals
    return (
        f"{total.parameters:,} parameters ({memory(total.parameters)}), {total.multiply_adds:,} multiply-adds forward, "
        f"{memory(total.values)} of blobs."
    )


def kinds_of(picture: Picture) -> list[str]:
    """Return the kinds of the layers in the picture, in the order of ``Kind``."""
    there = {layer.kind for layer in picture.layers}
    return [kind.value for kind in Kind if kind in there]


@dataclass
class _DrawnAs:
    """A box with the texts that it shows and the space that they take."""

    picture: Picture
    box: DrawnBox
    lr_mult: bool

    def __post_init__(self) -> None:
        self.layers = [self.picture.layers[number] for number in self.box.layers]
        first, *others = self.layers
        self.rows = [(_shortened(first.param.name), _what(first, self.lr_mult), LAYER)]
        self.rows += [(_shortened(layer.param.name), _what(layer, self.lr_mult), IN_PLACE) for layer in others]
        name, what, _ = self.rows[0]
        widths = [_width(name, 13, bold=True), _width(what, 11)]
        widths += [_width(name, 11, bold=True) + _width(what, 11) + 8 for name, what, _ in self.rows[1:]]
        self.width = max(70.0, max(widths) + 22)
        self.height = sum(height for _, _, height in self.rows)
        self.blobs = [self._blob_text(name, index) for index, name in enumerate(self.box.tops)]
        self.blob_widths = [_width(text, 10.5) + 16 for text in self.blobs]

    def _blob_text(self, name: str, index: int) -> str:
        if name not in self.picture.shapes:
            return _shortened(name)
        shape = shape_text(self.picture.shapes[name]).replace(" x ", " × ")
        return shape if index == 0 and name == self.layers[0].param.name else f"{_shortened(name)}  {shape}"

    def to_place(self, upright: bool) -> Box:
        if upright:
            return Box(self.width, self.height + (BLOB + 3) * bool(self.blobs), [w + 6 for w in self.blob_widths])
        # Blobs above one another get one width, so that all touch their layer and their wires.
        self.blob_widths = [max(self.blob_widths)] * len(self.blobs) if self.blobs else []
        return Box(
            self.height, self.width + (3 + self.blob_widths[0] if self.blobs else 0), [BLOB + 4] * len(self.blobs)
        )

    def draw(self, parent: Element, at: Box, turn: Callable[[Point], Point], rankdir: str) -> None:
        upright = rankdir in ("TB", "BT")
        across, along = (self.width, self.height) if upright else (self.height, self.width)
        x, y = _corner(turn, at.across - across / 2, at.along, across, along)
        for offset, text, wide in zip(at.port_offsets, self.blobs, self.blob_widths, strict=True):
            size = (wide, BLOB) if upright else (BLOB, wide)
            corner = _corner(turn, at.across + offset - size[0] / 2, at.along + at.depth - size[1], *size)
            blob = SubElement(parent, "g", {"class": "blob", "transform": "translate({:.1f} {:.1f})".format(*corner)})
            SubElement(blob, "rect", width=f"{wide:.1f}", height=f"{BLOB:g}", rx="8")
            _text(blob, wide / 2, 12, text, "shape")
        group = SubElement(parent, "g", {"class": "box", "transform": f"translate({x:.1f} {y:.1f})"})
        below = 0.0
        rows = list(zip(self.layers, self.box.layers, self.rows, strict=True))
        for layer, number, (name, what, height) in reversed(rows) if rankdir == "BT" else rows:
            self._draw_layer(group, layer, number, name, what, below, height)
            below += height

    def _draw_layer(
        self, group: Element, layer: DrawnLayer, number: int, name: str, what: str, top: float, height: float
    ) -> None:
        says = f"{layer.param.name}, {what}" + (f". {layer.problem}" if layer.problem else "")
        kind = f"layer {layer.kind.value}" + (" wrong" if layer.problem else "")
        row = SubElement(group, "g", {"class": kind, "id": f"layer-{number}", "role": "img", "aria-label": _xml(says)})
        _text_in(SubElement(row, "title"), says)
        SubElement(row, "rect", y=f"{top:g}", width=f"{self.width:.1f}", height=f"{height:g}", rx="4")
        if height == LAYER:
            _text(row, self.width / 2, top + 16, name, "name")
            _text(row, self.width / 2, top + 30, what, "what")
        else:
            line = _text(row, self.width / 2, top + 15, "", "what")
            strong = SubElement(line, "tspan", {"class": "name"})
            _text_in(strong, name)
            strong.tail = _xml(f"  {what}")


def _what(layer: DrawnLayer, lr_mult: bool) -> str:
    words = [layer.param.type, layer.like.caption(layer.param)]
    if lr_mult and layer.like.has_weights:
        words.append(f"lr_mult {layer.param.param[0].lr_mult if layer.param.param else 1:g}")
    return "  ".join(filter(None, words))


def _turning(rankdir: str, placed: Layout) -> Callable[[Point], Point]:
    """Return the function from (across, along) to (x, y)."""
    return {
        "TB": lambda at: at,
        "BT": lambda at: (at[0], placed.depth - at[1]),
        "LR": lambda at: (at[1], at[0]),
        "RL": lambda at: (placed.depth - at[1], at[0]),
    }[rankdir]


def _corner(turn: Callable[[Point], Point], across: float, along: float, width: float, depth: float) -> Point:
    """Return the corner with the least x and y of a box with this place and size."""
    (x, y), (other_x, other_y) = turn((across, along)), turn((across + width, along + depth))
    return min(x, other_x), min(y, other_y)


def _path(points: list[Point], upright: bool) -> str:
    """Draw a path through the points: straight, curved, straight, and so on."""
    path = "M{:.1f} {:.1f}".format(*points[0])
    for index, (x, y) in enumerate(points[1:]):
        if index % 2 == 0:
            path += f"L{x:.1f} {y:.1f}"
            continue
        (before_x, before_y) = points[index]
        middle = (before_y + y) / 2 if upright else (before_x + x) / 2
        bend = (before_x, middle, x, middle, x, y) if upright else (middle, before_y, middle, y, x, y)
        path += "C{:.1f} {:.1f} {:.1f} {:.1f} {:.1f} {:.1f}".format(*bend)
    return path


def _header(root: Element, picture: Picture) -> float:
    """Add the name, totals and colours; return the width that they take."""
    lines = SubElement(root, "g", {"class": "header"})
    _text(lines, MARGIN, 28, heading(picture), "heading")
    _text(lines, MARGIN, 46, totals_text(picture), "totals")
    x = MARGIN
    for kind in kinds_of(picture):
        entry = SubElement(lines, "g", {"class": f"layer {kind}"})
        SubElement(entry, "rect", x=f"{x:g}", y="55", width="10", height="10", rx="2")
        _text(entry, x + 14, 64, kind, "totals")
        x += 14 + _width(kind, 11) + 12
    return max(x, _width(heading(picture), 16, bold=True) + MARGIN, _width(totals_text(picture), 11) + MARGIN) - MARGIN


def _arrow(defs: Element) -> None:
    size = {
        "viewBox": "0 0 8 8",
        "refX": "7.5",
        "refY": "4",
        "markerWidth": "9",
        "markerHeight": "9",
        "markerUnits": "userSpaceOnUse",
    }
    marker = SubElement(defs, "marker", {"id": "arrow", "orient": "auto", **size})
    SubElement(marker, "path", {"class": "head", "d": "M0 0.5L8 4L0 7.5z"})


def _size(root: Element, width: float, height: float) -> None:
    root.set("viewBox", f"0 0 {width:.0f} {height:.0f}")
    root.set("width", f"{width:.0f}")
    root.set("height", f"{height:.0f}")


def _text(parent: Element, x: float, y: float, text: str, kind: str) -> Element:
    element = SubElement(parent, "text", {"class": kind, "x": f"{x:.1f}", "y": f"{y:g}"})
    _text_in(element, text)
    return element


def _text_in(element: Element, text: str) -> None:
    element.text = _xml(text)


def _xml(text: str) -> str:
    """Replace the characters that XML cannot hold."""
    return _NOT_XML.sub("\ufffd", text)


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST // 2 - 1]}…{name[-LONGEST // 2 :]}"


def _width(text: str, size: float, bold: bool = False) -> float:
    """Estimate the most width that a text takes in common sans-serif fonts; the actual font is not known."""
    units = sum(0.36 if c in "ijltfrI.,:;|!()[]/' " else 0.92 if c in "mwMW@%→×" else 0.62 for c in text)
    return units * size * (1.06 if bold else 1.0)
