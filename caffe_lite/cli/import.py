"""Write an ONNX model as a net and its weights, and compare both over several inputs."""

from __future__ import annotations

import argparse

from .arguments import Parser

TARGETS = ("bvlc", "ssd", "all")


def add_arguments(parser: Parser) -> None:
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument("prototxt", metavar="PROTOTXT", help="where to write the net")
    parser.add_argument("caffemodel", metavar="CAFFEMODEL", help="where to write its weights")
    what = "the layers to use: those of BVLC's Caffe 1.0, SSD's besides, or all that caffe_lite has; default all"
    parser.add_argument("--target", choices=TARGETS, default="all", help=what)
    what = "merge BatchNorm and Scale into the weights before them"
    parser.add_argument("--fold", action="store_true", help=what)
    what = "the sizes of an input that the model leaves open, as in data=1x3x224x224; may be repeated"
    parser.add_argument("--shape", metavar="INPUT=SIZES", type=_shape, action="append", default=[], help=what)


def run(arguments: argparse.Namespace) -> int:
    from ..export import from_onnx

    imported = from_onnx(arguments.model, target=arguments.target, fold=arguments.fold, shapes=dict(arguments.shape))
    imported.save(arguments.prototxt, arguments.caffemodel)
    print("\n".join(imported.report()))
    return 0


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, sizes = text.rpartition("=")
    words = sizes.split("x")
    if not name or not all(word.isdecimal() and int(word) for word in words):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=1x3x224x224")
    return name, tuple(int(word) for word in words)
