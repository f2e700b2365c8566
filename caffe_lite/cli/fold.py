"""Merge normalisations and scales into the weights before them, and leave out what does nothing in TEST."""

from __future__ import annotations

import argparse

from .arguments import Parser, add_state


def add_arguments(parser: Parser) -> None:
    parser.add_argument("net", metavar="NET", help="the net; it is folded as it is in TEST")
    parser.add_argument("weights", metavar="WEIGHTS", help="its weights")
    parser.add_argument("prototxt", metavar="PROTOTXT", help="where to write the folded net")
    parser.add_argument("caffemodel", metavar="CAFFEMODEL", help="where to write its weights")
    parser.add_argument("--half", action="store_true", help="store the weights in half precision, for NVIDIA's Caffe")
    add_state(parser)


def run(arguments: argparse.Namespace) -> int:
    from collections import Counter

    from ..export.folding import fold, halve, verified, without_weights
    from ..net.weights import write_message
    from ..proto.caffe_pb2 import TEST
    from ..proto.prototxt import write_text
    from ..pycaffe.net import Net

    state = {"level": arguments.level, "stages": arguments.stage}
    net = Net(arguments.net, TEST, weights=arguments.weights, dtype="float64", seed=0, compile=False, **state)
    folding = fold(net)
    comparisons = verified(net, folding)
    if arguments.half:
        halve(folding.net)
    write_text(arguments.prototxt, without_weights(folding.net))
    write_message(arguments.caffemodel, folding.net)
    gone = Counter(layer.type for layer in folding.gone)
    listed = ", ".join(f"{count} {layer_type}" for layer_type, count in sorted(gone.items()))
    print(f"{len(folding.net.layer)} layers are left; gone: {listed or 'none'}")
    for comparison in comparisons:
        print(comparison)
    return 0
