"""Show what a weights file holds, or how two differ; neither a net nor its data is needed."""

from __future__ import annotations

import argparse

from .arguments import Parser


def add_arguments(parser: Parser) -> None:
    parser.add_argument("weights", metavar="WEIGHTS", help="a .caffemodel or .caffemodel.h5")
    parser.add_argument("other", metavar="OTHER", nargs="?", help="show how the weights in this file differ from them")
    parser.add_argument("--histograms", metavar="PICTURE", help="draw the values of each blob: .png, .svg or .pdf")


def run(arguments: argparse.Namespace) -> int:
    from ..inspection.weights import compare, describe, draw_histograms

    if arguments.histograms:
        draw_histograms(arguments.weights, arguments.histograms)
    print(compare(arguments.weights, arguments.other) if arguments.other else describe(arguments.weights))
    return 0
