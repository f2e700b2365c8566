"""Show a net as a table: layers, shapes of their tops, parameters, multiply-adds and memory."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .arguments import Parser, add_state, phase_of

if TYPE_CHECKING:
    from ..net import Net, Node

COLUMNS = ("Layer", "Type", "Bottom", "Top", "Shape", "Parameters", "Multiply-adds")
NUMBERS = ("Parameters", "Multiply-adds")


def add_arguments(parser: Parser) -> None:
    parser.add_argument("net", metavar="NET", help="the net; its data layers open their data")
    add_state(parser, phase=True)


def run(arguments: argparse.Namespace) -> int:
    from ..net import Net

    net = Net(arguments.net, phase_of(arguments), level=arguments.level, stages=arguments.stage, compile=False)
    try:
        print(describe(net))
    finally:
        net.close()
    return 0


def describe(net: Net) -> str:
    """The table of a net's layers, and its totals."""
    rows = [COLUMNS, *(row for node in net.nodes for row in _rows(node))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_line(row, widths) for row in rows]
    lines.insert(1, "-" * max(map(len, lines)))
    parameters = {id(param.blob): param.blob.count for param in net.learnable_params}
    blobs = {id(blob): blob.count for node in net.nodes for blob in node.top}
    item = net.ops.zeros(()).itemsize
    return "\n".join(
        [
            f"{net.name or 'Net'}, {'TRAIN' if net.phase == 0 else 'TEST'}: {len(net.nodes)} layers",
            "",
            *lines,
            "",
            f"Parameters       {sum(parameters.values()):,} ({_memory(sum(parameters.values()) * item)})",
            f"Blobs            {sum(blobs.values()):,} values ({_memory(sum(blobs.values()) * item)})",
            f"Multiply-adds    {sum(map(multiply_adds, net.nodes)):,} forward, for the whole batch",
        ]
    )


def multiply_adds(node: Node) -> int:
    """What a layer's matrix products cost in one forward pass; what is done once per element is not counted."""
    from ..layers.recurrent import RecurrentLayer

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
    shapes = [" x ".join(map(str, blob.shape)) or "scalar" for blob in node.top]
    tops = list(zip(node.top_names, shapes, strict=True))
    (top, shape), *more = tops or [("", "")]
    first = (node.name, node.layer.type, ", ".join(node.bottom_names), top, shape)
    return [
        (*first, f"{parameters:,}" if parameters else "", f"{cost:,}" if cost else ""),
        *(("", "", "", name, other, "", "") for name, other in more),
    ]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (
        cell.rjust(width) if column in NUMBERS else cell.ljust(width)
        for cell, width, column in zip(row, widths, COLUMNS, strict=True)
    )
    return "  ".join(cells).rstrip()


def _memory(size: int) -> str:
    value = float(size)
    for unit in ("bytes", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.4g} {unit}"
        value /= 1024
    return f"{value:.4g} GiB"
