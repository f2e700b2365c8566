"""Find the objects in images and videos: print them, draw their boxes, or list them as JSON, as COCO's results are."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .arguments import Parser, add_engine, add_state
from .dealing import Crew, in_workers
from .image_arguments import Category, add_images, add_preparation, is_number, preparation, read_categories
from .workers import add_workers

if TYPE_CHECKING:
    from ..detection.finder import Finder, Found
    from ..media.files import Medium


def add_arguments(parser: Parser) -> None:
    what = "the deploy net: images in; out, a DetectionOutput, R-CNN's cls_prob and bbox_pred of rois, or Cascade R-CNN"
    parser.add_argument("net", metavar="NET", help=what)
    add_images(parser)
    what = "leave out objects with this score or less; default 0.5"
    parser.add_argument("--threshold", metavar="P", type=float, default=0.5, help=what)
    parser.add_argument("--out", metavar="DIR", help="write the images with the boxes drawn into this folder")
    what = "print JSON: image_id, category_id, bbox (x, y, width, height), score and names of each object"
    parser.add_argument("--json", action="store_true", help=what)
    rcnn = "For R-CNN the shorter side, and the most for the longer one; default: the transform_param, else 600,1000"
    add_preparation(parser, f". {rcnn}")
    what = "R-CNN: drop a box that overlaps a better one of its class by more than this; default 0.3"
    parser.add_argument("--nms", metavar="P", type=float, default=0.3, help=what)
    what = "Fast R-CNN: the regions of each image, a CSV file with columns filename, xmin, ymin, xmax, ymax"
    parser.add_argument("--regions", metavar="FILE", help=what)
    add_state(parser)
    add_engine(parser)
    add_workers(parser)


def run(arguments: argparse.Namespace) -> int:
    return in_workers(arguments, _detect)


def _detect(arguments: argparse.Namespace, crew: Crew) -> None:
    from ..detection.finder import finder_of
    from ..detection.given_regions import GivenRegions
    from ..media.files import media_of, out_files
    from ..pycaffe.net import TEST, Net

    categories = read_categories(arguments.labels)
    media = [medium for given in arguments.images for medium in media_of(given)]
    regions = GivenRegions(arguments.regions) if arguments.regions else None
    targets = out_files(media, arguments.out) if arguments.out else [""] * len(media)
    crew.start(arguments)
    net = Net(*(arguments.net, TEST, arguments.level, arguments.stage, arguments.weights), compile=arguments.compile)
    try:
        finder = finder_of(net, preparation(arguments), arguments.threshold, arguments.nms, regions)
        crew.join(net)
        report = _JsonReport(categories) if arguments.json else _Report(categories)

        def work(task: tuple[Medium, str]) -> Iterator[tuple[str, list[Found]]]:
            return _go_through(*task, finder, report)

        for name, found in crew.in_turn(list(zip(media, targets, strict=True)), work):
            report.add(name, found)
        if crew.is_first:
            report.end()
    finally:
        net.close()


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
        from ..media.files import IMAGES

        stem, suffix = os.path.splitext(os.path.basename(image))
        is_numbered = is_number(stem) and suffix.lower() in IMAGES
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


def _go_through(medium: Medium, target: str, finder: Finder, report: _Report) -> Iterator[tuple[str, list[Found]]]:
    """Yield what is found in each image of a medium; with a target, write the image with its boxes there."""
    from contextlib import nullcontext

    from ..detection.marking import mark

    with medium.like(target) if target else nullcontext() as put:
        for name, image in medium.frames():
            found = finder(name, image)
            yield name, found
            if put is not None:
                put(mark(image, found, report.name))
