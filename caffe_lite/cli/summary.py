"""Show a net as a table: layers, shapes of their tops, parameters, multiply-adds and memory."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..net_param import placed_layers, state_of
from ..outline import Outline, shape_of
from ..proto.prototxt import read_net
from ..unknown import Size, UnknownSize
from .arguments import Parser, add_state, phase_of

if TYPE_CHECKING:
    from ..blob import Blob
    from ..wiring import Node

COLUMNS = ("Layer", "Type", "Bottom", "Top", "Shape", "Parameters", "Multiply-adds")
NUMBERS = ("Parameters", "Multiply-adds")


def add_arguments(parser: Parser) -> None:
    parser.add_argument("net", metavar="NET", help="the net; its data may be absent")
    add_state(parser, phase=True)


def run(arguments: argparse.Namespace) -> int:
    net = read_net(arguments.net)
    state = state_of(net.message, phase_of(arguments), arguments.level, arguments.stage)
    print(describe(net.message.name, Outline(placed_layers(net), state, open_sources=True)))
    return 0


def describe(name: str, net: Outline) -> str:
    """The table of a net's layers, and its totals."""
    rows = [COLUMNS, *(row for node in net.nodes for row in _rows(node))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_line(row, widths) for row in rows]
    lines.insert(1, "-" * max(map(len, lines)))
    shared = {id(param.blob): param.blob.count for param in net.params}
    unshared = {id(blob): blob.count for node in net.nodes for blob in node.layer.blobs if shape_of(blob) is None}
    parameters = shared | unshared
    blobs = {id(blob): blob.count for node in net.nodes for blob in node.top}
    return "\n".join(
        [
            f"{name or 'Net'}, {'TRAIN' if net.phase == 0 else 'TEST'}: {len(net.nodes)} layers",
            "",
            *lines,
            "",
            f"Parameters       {sum(parameters.values()):,} ({_memory(sum(parameters.values()))})",
            f"Blobs            {sum(blobs.values()):,} values ({_memory(sum(blobs.values()))})",
            f"Multiply-adds    {sum(map(multiply_adds, net.nodes)):,} forward, for the whole batch",
        ]
    )


def multiply_adds(node: Node) -> Size:
    """What a layer's matrix products cost in one forward pass; what is done once per element is not counted."""
    from ..layers.recurrent import RecurrentLayer

    if node.layer.blobs and any(shape_of(blob) is None for blob in (*node.bottom, *node.top, *node.layer.blobs)):
        return UnknownSize()
    param, blobs = node.layer.param, node.layer.blobs
    if node.layer.type == "Deconvolution":
        # Every weight is used once for each input pixel.
        return sum(blob.count for blob in node.bottom) // blobs[0].shape[0] * blobs[0].count
    if isinstance(node.layer, RecurrentLayer):
        # Every weight is used once for each step and stream; those of a static input once for each stream.
        steps, streams = node.bottom[1].shape
        sizes = [blob.count for blob in blobs if blob.num_axes > 1]
        static = sizes.pop(1) if node.layer.has_static else 0
        return streams * (steps * sum(sizes) + static)
    outputs = {
        "Convolution": param.convolution_param.num_output,
        "InnerProduct": param.inner_product_param.num_output,
    }.get(node.layer.type)
    if outputs is None:
        return 0
    # Every weight is used once for each output pixel.
    return sum(blob.count for blob in node.top) // outputs * blobs[0].count


def _rows(node: Node) -> list[tuple[str, ...]]:
    """One row for the layer, and one more for each further top."""
    parameters = sum(blob.count for blob in node.layer.blobs)
    cost = multiply_adds(node)
    shapes = [_shape(blob) for blob in node.top]
    tops = list(zip(node.top_names, shapes, strict=True))
    (top, shape), *more = tops or [("", "")]
    first = (node.name, node.layer.type, ", ".join(node.bottom_names), top, shape)
    return [
        (*first, _number(parameters), _number(cost)),
        *(("", "", "", name, other, "", "") for name, other in more),
    ]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (
        cell.rjust(width) if column in NUMBERS else cell.ljust(width)
        for cell, width, column in zip(row, widths, COLUMNS, strict=True)
    )
    return "  ".join(cells).rstrip()


def _shape(blob: Blob) -> str:
    shape = shape_of(blob)
    return "?" if shape is None else " x ".join(map(str, shape)) or "scalar"


def _number(count: Size) -> str:
    return f"{count:,}" if isinstance(count, UnknownSize) or count else ""


def _memory(count: Size) -> str:
    """What so many float32 take."""
    if isinstance(count, UnknownSize):
        return "?"
    value = 4.0 * count
    for unit in ("bytes", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.4g} {unit}"
        value /= 1024
    return f"{value:.4g} GiB"
