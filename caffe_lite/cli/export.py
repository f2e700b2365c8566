"""Write a net with its weights in another form, and compare both over several inputs."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import ArgumentError
from .arguments import Parser, add_state
from .image_arguments import add_image_input, image_input

FORMS = (".onnx", ".py", ".safetensors", ".npz")


def add_arguments(parser: Parser) -> None:
    parser.add_argument("net", metavar="NET", help="the net; it is exported as it is in TEST")
    parser.add_argument("weights", metavar="WEIGHTS", help="a .caffemodel or .h5 file")
    what = (
        "the file to write; its ending tells the form: .onnx; .py for PyTorch's source, with the weights beside it in "
        ".safetensors; .safetensors or .npz for the weights alone, by the names that they have there"
    )
    parser.add_argument("out", metavar="OUT", type=_out, help=what)
    what = "the number of items: a number, or free for any; default: free if every layer allows it, else the net's"
    parser.add_argument("--batch", metavar="N", type=_batch, help=what)
    parser.add_argument("--opset", metavar="N", type=int, help="ONNX's operators, 13 to 21; default 17")
    what = "keep BatchNorm, Scale and Bias; otherwise the weights before them take them in"
    parser.add_argument("--no-fold", action="store_false", dest="fold", help=what)
    add_image_input(parser)
    add_state(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..export import to_onnx, to_source, to_weights
    from ..proto.caffe_pb2 import TEST
    from ..pycaffe.net import Net

    state = {"level": arguments.level, "stages": arguments.stage}
    net = Net(arguments.net, TEST, weights=arguments.weights, engine="numpy", seed=0, compile=False, **state)
    how = {"batch": arguments.batch, "fold": arguments.fold}
    form, images = Path(arguments.out).suffix.lower(), image_input(arguments)
    if form == ".onnx":
        export = to_onnx(net, arguments.out, opset=arguments.opset or 17, images=images, **how)
    elif arguments.opset is not None:
        raise ArgumentError("--opset is for OUT.onnx")
    elif form == ".py":
        export = to_source(net, arguments.out, images=images, **how)
    elif images is not None:
        raise ArgumentError("--preprocess is for OUT.onnx and OUT.py")
    else:
        export = to_weights(net, arguments.out, **how)
    print("\n".join(export.report()))
    return 0


def _out(text: str) -> str:
    if not text.lower().endswith(FORMS):
        raise argparse.ArgumentTypeError(f"{text!r} does not end in {' or '.join(FORMS)}")
    return text


def _batch(text: str) -> int | str:
    if text != "free" and not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of at least 1 nor free")
    return text if text == "free" else int(text)
