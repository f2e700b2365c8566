"""Arguments of the commands that run a net on images and videos: what is done to images, and the names of classes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Literal, NamedTuple

from .arguments import Parser

if TYPE_CHECKING:
    from ..export.preparing import ImageInput
    from ..media.preparation import Preparation
    from ..proto.caffe_pb2 import LabelMapItem

ORDERS = ("BGR", "RGB")
LAYOUTS = ("NCHW", "NHWC")


def add_images(parser: Parser) -> None:
    """Add the weights, the images, and the names of classes."""
    parser.add_argument("weights", metavar="WEIGHTS", help="a .caffemodel or .h5 file")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="an image, a video, or a folder of some")
    what = "a label map, as labelmap.prototxt, or a label in each line, the first for class 0"
    parser.add_argument("--labels", metavar="MAP", help=what)


def add_preparation(parser: Parser, size_note: str = "") -> None:
    """Add what is done to images on their way into the net."""
    what = "what to subtract, one value or one per channel, as 104,117,123; default: the net's transform_param"
    parser.add_argument("--mean", metavar="VALUES", type=_numbers, help=what)
    what = "the factor after that; default: the net's transform_param, else 1"
    parser.add_argument("--scale", metavar="X", type=float, help=what)
    what = "resize images to this; default: the net's transform_param, else its input"
    parser.add_argument("--size", metavar="H,W", type=_size, help=what + size_note)
    what = "the order of the net's channels; default BGR, which holds values from 0 to 255"
    parser.add_argument("--channel-order", choices=ORDERS, default=ORDERS[0], type=str.upper, help=what)


def preparation(arguments: argparse.Namespace) -> Preparation:
    from ..media.preparation import Preparation

    return Preparation(arguments.mean, arguments.scale, arguments.size, arguments.channel_order == "RGB")


def add_image_input(parser: Parser) -> None:
    """Add how a graph takes images, and what it does to them."""
    what = "let the graph take images, with values from 0 to 255, and prepare them for the net"
    parser.add_argument("--preprocess", action="store_true", help=what)
    add_preparation(parser, "; larger than that, they are cropped")
    what = "take images of this size, or with free of any; default: the size to which they would be resized"
    parser.add_argument("--resize", metavar="H,W|free", type=_size_or_free, help=what)
    what = "the order of the images' channels; default BGR, as OpenCV reads them"
    parser.add_argument("--image-order", choices=ORDERS, type=str.upper, help=what)
    parser.add_argument("--layout", choices=LAYOUTS, type=str.upper, help="the axes of the images; default NCHW")


def image_input(arguments: argparse.Namespace) -> ImageInput | None:
    from ..errors import ArgumentError
    from ..export import ImageInput

    options = ("mean", "scale", "size", "resize", "image_order", "layout")
    given = [name for name in options if getattr(arguments, name) is not None]
    given += ["channel_order"] if arguments.channel_order != ORDERS[0] else []
    if arguments.preprocess:
        rgb, channels_last = arguments.image_order == "RGB", arguments.layout == "NHWC"
        return ImageInput(preparation(arguments), arguments.resize, rgb, channels_last)
    if given:
        option = given[0].replace("_", "-")
        raise ArgumentError(f"--{option} says how images are prepared, and none are", hint="give --preprocess, too")
    return None


class Category(NamedTuple):
    """A class: its number in COCO's files, and its name."""

    number: int
    name: str


def read_categories(path: str | None) -> dict[int, Category]:
    """Return the classes that a file names, by their labels; no file names none."""
    from ..data.label_map import read_label_items
    from ..errors import DataError, Where
    from ..files.paths import system_path

    if path is None:
        return {}
    if path.endswith((".prototxt", ".pbtxt")):
        return {item.label: _category(item) for item in read_label_items(path, None)}
    try:
        with open(system_path(path), encoding="utf-8") as stream:
            return {label: Category(label, name.rstrip("\n")) for label, name in enumerate(stream)}
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or error
        raise DataError(f"the labels cannot be read: {what}", where=Where(path)) from error


def _category(item: LabelMapItem) -> Category:
    return Category(int(item.name) if is_number(item.name) else item.label, item.display_name or item.name)


def is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not numbers with commas between") from None


def _size_or_free(text: str) -> tuple[int, int] | Literal["free"]:
    return "free" if text == "free" else _size(text)


def _size(text: str) -> tuple[int, int]:
    parts = text.split(",")
    if len(parts) != 2 or not all(is_number(part) and int(part) for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not two sizes, as in 300,300")
    return int(parts[0]), int(parts[1])
