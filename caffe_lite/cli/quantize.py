"""Write a net to a file of ONNX that computes in whole numbers of 8 bits, and show what that costs in accuracy."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .arguments import Parser, add_state, positive
from .image_arguments import add_preparation, preparation

if TYPE_CHECKING:
    from ..pycaffe.net import Net

ACTIVATIONS = ("int8", "uint8")


def add_arguments(parser: Parser) -> None:
    parser.add_argument("net", metavar="NET", help="the net, with data layers for the TEST phase, or a deploy net")
    parser.add_argument("weights", metavar="WEIGHTS", help="a .caffemodel or .h5 file")
    parser.add_argument("out", metavar="OUT.onnx", help="the file to write")
    what = "batches of the net's data that give the ranges of its blobs, and batches to compare with after them"
    parser.add_argument("--iterations", metavar="N", type=positive, default=10, help=f"{what}; default 10")
    what = "take the images of this folder instead, for both, one by one: for a net whose input is an image"
    parser.add_argument("--images", metavar="FOLDER", help=what)
    what = f"the type of the blobs: {' or '.join(ACTIVATIONS)}; default {ACTIVATIONS[0]}"
    parser.add_argument("--activations", metavar="TYPE", choices=ACTIVATIONS, default=ACTIVATIONS[0], help=what)
    add_preparation(parser)
    add_state(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..export.quantizing import batches, quantize
    from ..proto.caffe_pb2 import TEST
    from ..pycaffe.net import Net

    state = {"level": arguments.level, "stages": arguments.stage}
    net = Net(arguments.net, TEST, weights=arguments.weights, engine="numpy", seed=0, compile=False, **state)
    try:
        if arguments.images is None:
            calibration, trials = (batches(net, arguments.iterations) for _ in range(2))
        else:
            calibration, trials = (_images(net, arguments) for _ in range(2))
            next(_images(net, arguments))  # the net gets the size of the images before it is written
            net.reshape()
        done = quantize(net, arguments.out, calibration, trials, arguments.activations)
    finally:
        net.close()
    print("\n".join(done.report()))
    return 0


def _images(net: Net, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield what each image of the folder puts into the net."""
    from ..media.files import media_of
    from ..media.preparation import ImageNet

    prepared = ImageNet(net, preparation(arguments))
    how = prepared.usual_resize(arguments.size)
    for medium in media_of(arguments.images):
        for _, image in medium.frames():
            prepared.fill(image, how)
            yield {name: net.blobs[name].data.copy() for name in net.inputs}
