"""Show a net as a table: layers, shapes of their tops, parameters, multiply-adds and memory."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..blobs.unknown import Size, UnknownSize
from ..inspection.costs import memory, multiply_adds, shape_text, totals
from ..inspection.outline import Outline, shape_of
from ..net.filtering import placed_layers, state_of
from ..proto.prototxt import read_net
from ..text.table import table
from .arguments import Parser, add_state, phase_of

if TYPE_CHECKING:
    from ..net.wiring import Node

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
    """Return the table of a net's layers, and its totals."""
    total = totals(net)
    return "\n".join(
        [
            f"{name or 'Net'}, {'TRAIN' if net.phase == 0 else 'TEST'}: {len(net.nodes)} layers",
            "",
            *table(COLUMNS, [row for node in net.nodes for row in _rows(node)], right=NUMBERS),
            "",
            f"Parameters       {total.parameters:,} ({memory(total.parameters)})",
            f"Blobs            {total.values:,} values ({memory(total.values)})",
            f"Multiply-adds    {total.multiply_adds:,} forward, for the whole batch",
        ]
    )


def _rows(node: Node) -> list[tuple[str, ...]]:
    """Return one row for the layer, and one more for each further top."""
    parameters = sum(blob.count for blob in node.layer.blobs)
    cost = multiply_adds(node)
    shapes = [shape_text(shape_of(blob)) for blob in node.top]
    tops = list(zip(node.top_names, shapes, strict=True))
    (top, shape), *more = tops or [("", "")]
    first = (node.name, node.layer.type, ", ".join(node.bottom_names), top, shape)
    return [
        (*first, _number(parameters), _number(cost)),
        *(("", "", "", name, other, "", "") for name, other in more),
    ]


def _number(count: Size) -> str:
    return f"{count:,}" if isinstance(count, UnknownSize) or count else ""
