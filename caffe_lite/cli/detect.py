"""Find the objects in images and videos: print them, draw their boxes, or list them as JSON, as COCO's results are."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from .arguments import Parser, add_engine, add_state, choose_engine

if TYPE_CHECKING:
    from ..detection.finder import Finder, Found
    from ..detection.media import Medium
    from ..proto.caffe_pb2 import LabelMapItem

ORDERS = ("BGR", "RGB")


def add_arguments(parser: Parser) -> None:
    what = "the deploy net: images in; out, a DetectionOutput, R-CNN's cls_prob and bbox_pred of rois, or Cascade R-CNN"
    parser.add_argument("net", metavar="NET", help=what)
    parser.add_argument("weights", metavar="WEIGHTS", help="a .caffemodel or .h5 file")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="an image, a video, or a folder of some")
    what = "a label map, as labelmap.prototxt, or a label in each line, the first for class 0"
    parser.add_argument("--labels", metavar="MAP", help=what)
    what = "leave out objects with this score or less; default 0.5"
    parser.add_argument("--threshold", metavar="P", type=float, default=0.5, help=what)
    parser.add_argument("--out", metavar="DIR", help="write the images with the boxes drawn into this folder")
    what = "print JSON: image_id, category_id, bbox (x, y, width, height), score and names of each object"
    parser.add_argument("--json", action="store_true", help=what)
    what = "what to subtract, one value or one per channel, as 104,117,123; default: the net's transform_param"
    parser.add_argument("--mean", metavar="VALUES", type=_numbers, help=what)
    what = "the factor after that; default: the net's transform_param, else 1"
    parser.add_argument("--scale", metavar="X", type=float, help=what)
    what = "resize images to this; default: the net's transform_param, else its input"
    rcnn = "For R-CNN the shorter side, and the most for the longer one; default: the transform_param, else 600,1000"
    parser.add_argument("--size", metavar="H,W", type=_size, help=f"{what}. {rcnn}")
    what = "the order of the net's channels; default BGR, which holds values from 0 to 255"
    parser.add_argument("--channel-order", choices=ORDERS, default=ORDERS[0], type=str.upper, help=what)
    what = "R-CNN: drop a box that overlaps a better one of its class by more than this; default 0.3"
    parser.add_argument("--nms", metavar="P", type=float, default=0.3, help=what)
    what = "Fast R-CNN: the regions of each image, a CSV file with columns filename, xmin, ymin, xmax, ymax"
    parser.add_argument("--regions", metavar="FILE", help=what)
    add_state(parser)
    add_engine(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..detection.finder import Preparation, finder_of
    from ..detection.given_regions import GivenRegions
    from ..detection.media import media_of
    from ..logs.log import start_logging
    from ..pycaffe.net import TEST, Net

    categories = _categories(arguments.labels) if arguments.labels else {}
    media = [medium for given in arguments.images for medium in media_of(given)]
    regions = GivenRegions(arguments.regions) if arguments.regions else None
    targets = _targets(media, arguments.out) if arguments.out else [""] * len(media)
    start_logging()
    choose_engine(arguments)
    net = Net(*(arguments.net, TEST, arguments.level, arguments.stage, arguments.weights), compile=arguments.compile)
    try:
        given = Preparation(arguments.mean, arguments.scale, arguments.size, arguments.channel_order == "RGB", regions)
        finder = finder_of(net, given, arguments.threshold, arguments.nms)
        report = _JsonReport(categories) if arguments.json else _Report(categories)
        for medium, target in zip(media, targets, strict=True):
            _go_through(medium, target, finder, report)
        report.end()
    finally:
        net.close()
    return 0


class Category(NamedTuple):
    """A class of objects: its number in COCO's files, and its name."""

    number: int
    name: str


class _Report:
    """Prints a line for each object."""

    def __init__(self, categories: dict[int, Category]) -> None:
        self.categories = categories

    def name(self, label: int) -> str:
        return self.category(label).name

    def category(self, label: int) -> Category:
        return self.categories.get(label) or Category(label, str(label))

    def add(self, image: str, found: list[Found]) -> None:
        for label, score, (x, y, width, height) in found:
            print(f"{image}: {self.name(label)} {score:.4f}, {width:.1f} x {height:.1f} at {x:.1f}, {y:.1f}")
        if not found:
            print(f"{image}: nothing")

    def end(self) -> None:
        pass


class _JsonReport(_Report):
    """Prints a list of objects in the form of COCO's results, with the names of files and categories."""

    def __init__(self, categories: dict[int, Category]) -> None:
        super().__init__(categories)
        self.objects: list[dict[str, Any]] = []

    def add(self, image: str, found: list[Found]) -> None:
        from ..detection.media import IMAGES

        stem, suffix = os.path.splitext(os.path.basename(image))
        is_numbered = _is_number(stem) and suffix.lower() in IMAGES
        for label, score, box in found:
            category = self.category(label)
            self.objects.append(
                {
                    "image_id": int(stem) if is_numbered else image,
                    "category_id": category.number,
                    "bbox": [round(value, 2) for value in box],
                    "score": round(score, 6),
                    "file_name": image,
                    "category": category.name,
                }
            )

    def end(self) -> None:
        import json

        print("[" + ",".join(f"\n  {json.dumps(each)}" for each in self.objects) + "\n]")


def _go_through(medium: Medium, target: str, finder: Finder, report: _Report) -> None:
    from contextlib import nullcontext

    from ..detection.marking import mark

    with medium.like(target) if target else nullcontext() as put:
        for name, image in medium.frames():
            found = finder(name, image)
            report.add(name, found)
            if put is not None:
                put(mark(image, found, report.name))


def _targets(media: list[Medium], folder: str) -> list[str]:
    """Return the path of each file to write; refuse paths that come twice, or that are those of files to read."""
    from ..errors import CaffeError, Where
    from ..files.atomic import writing
    from ..files.paths import system_path

    path = system_path(folder)
    targets = [os.path.join(path, medium.out_name) for medium in media]
    sources = {os.path.realpath(system_path(medium.path)) for medium in media}
    for index, target in enumerate(targets):
        if os.path.realpath(target) in sources or target in targets[:index]:
            where, hint = Where(target), "give --out another folder, or run it once for each folder of images"
            raise CaffeError("two of the files would be the same one", where=where, hint=hint)
    with writing(os.path.join(path, "images")):
        os.makedirs(path, exist_ok=True)
    return targets


def _categories(path: str) -> dict[int, Category]:
    from ..data.label_map import read_label_items
    from ..errors import DataError, Where
    from ..files.paths import system_path

    if path.endswith((".prototxt", ".pbtxt")):
        return {item.label: _category(item) for item in read_label_items(path, None)}
    try:
        with open(system_path(path), encoding="utf-8") as stream:
            return {label: Category(label, name.rstrip("\n")) for label, name in enumerate(stream)}
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or error
        raise DataError(f"the labels cannot be read: {what}", where=Where(path)) from error


def _category(item: LabelMapItem) -> Category:
    return Category(int(item.name) if _is_number(item.name) else item.label, item.display_name or item.name)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not numbers with commas between") from None


def _size(text: str) -> tuple[int, int]:
    parts = text.split(",")
    if len(parts) != 2 or not all(_is_number(part) and int(part) for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not two sizes, as in 300,300")
    return int(parts[0]), int(parts[1])
