"""The images that a detector is tested on, and its detections in files as VOC, COCO and ILSVRC read them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ...data.boxes import clip
from ...data.label_map import read_label_map
from ...data.paths import read_lines
from ...errors import DataError, Where
from ...files.atomic import atomic_write, writing
from ...files.paths import system_path
from ...layer import Layer
from ...logs.log import logger
from ...proto.caffe_pb2 import ResizeParameter, SaveOutputParameter

FORMATS = ("VOC", "COCO", "ILSVRC")


class TestImage(NamedTuple):
    """A line of a file of names and sizes."""

    name: str
    height: int
    width: int


def read_name_sizes(path: str, where: Where | None, param: str) -> list[TestImage]:
    """Read the field name_size_file: a line "name height width" for each test image, in the order of the data."""
    images = []
    for number, line in read_lines(path, where, param, "name_size_file"):
        match line.split():
            case [name, height, width] if height.isdecimal() and width.isdecimal():
                images.append(TestImage(name, int(height), int(width)))
            case _:
                raise DataError(f"{line!r} has another form", where=Where(path, number), hint="write name height width")
    return images


def in_pixels(boxes: np.ndarray, height: int, width: int, resize: ResizeParameter | None = None) -> np.ndarray:
    """Return boxes (N, 4), given as fractions of what a net has seen, in pixels of the image, and clipped to it.

    ``resize`` says how the image was made to fit the net.
    """
    scale = np.array([width, height] * 2, boxes.dtype)
    mode = resize and resize.resize_mode
    if resize and mode == ResizeParameter.FIT_SMALL_SIZE and resize.height_scale and resize.width_scale:
        seen = np.array([resize.width_scale, resize.height_scale] * 2, boxes.dtype)
        return clip(boxes * seen, width, height)
    if resize and mode == ResizeParameter.FIT_LARGE_SIZE_AND_PAD:
        # The image fills one side of what the net has seen, and lies in the middle of the other.
        filled = min(resize.width / width, resize.height / height)
        part = np.array([width * filled / resize.width, height * filled / resize.height] * 2, boxes.dtype)
        boxes = (boxes - (1 - part) / 2) / part
    return clip(boxes) * scale


class Detection(NamedTuple):
    image: str
    label: int
    score: float
    box: list[float]  # x, y, width, height


class DetectionFiles:
    """Files of results: all detections of a run over the test images, written when it ends.

    ``prefix`` begins the path of each file: VOC has a file PREFIXname.txt for each class, COCO one PREFIX.json and
    ILSVRC one PREFIX.txt.
    """

    def __init__(
        self,
        prefix: str,
        form: str,
        names: dict[int, str],
        images: list[TestImage],
        resize: ResizeParameter | None,
    ) -> None:
        self.prefix, self.form, self.names, self.images, self.resize = prefix, form, names, images, resize
        self.done = 0
        self.detections: list[Detection] = []

    def add_image(self, rows: np.ndarray) -> None:
        """Take the rows of the next image, as DetectionOutput's top has them; write the files after the last one."""
        image = self.images[self.done]
        boxes = in_pixels(rows[:, 3:7], image.height, image.width, self.resize)
        boxes[:, 2:] -= boxes[:, :2]
        hundredths = np.floor(boxes.astype(float) * 100 + 0.5) / 100
        self.detections += [
            Detection(image.name, int(label), score, box)
            for label, score, box in zip(rows[:, 1], rows[:, 2], hundredths.tolist(), strict=True)
        ]
        self.done += 1
        if self.done == len(self.images):
            self._write()
            self.done, self.detections = 0, []

    def _write(self) -> None:
        if self.form == "COCO":
            self._save(".json", [json.dumps([*map(self._coco, self.detections)], indent=4)])
        elif self.form == "ILSVRC":
            self._save(".txt", (f"{d.image} {d.label} {_scored_corners(d)}" for d in self.detections))
        else:
            for label, name in self.names.items():
                mine = (d for d in self.detections if d.label == label)
                self._save(f"{name}.txt", (f"{d.image} {_scored_corners(d)}" for d in mine))

    def _coco(self, detection: Detection) -> dict[str, object]:
        return {
            "image_id": _number(detection.image),
            "category_id": _number(self.names[detection.label]),
            "bbox": detection.box,
            "score": float(str(detection.score)),
        }

    def _save(self, ending: str, lines: Iterator[str] | list[str]) -> None:
        with atomic_write(self.prefix + ending) as part, open(part, "w", encoding="utf-8") as stream:
            stream.writelines(f"{line}\n" for line in lines)


def result_files(layer: Layer, p: SaveOutputParameter, labels: Sequence[int]) -> DetectionFiles | None:
    """Return the files that a save_output_param asks a layer to write, with the detections of these labels."""
    if not p.output_directory:
        return None
    missing = [field for field in ("label_map_file", "name_size_file") if not getattr(p, field)]
    if missing:
        logger.warning("Provide %s if output results to files.", " and ".join(missing))
        return None
    if p.output_format not in FORMATS:
        layer.error(f"output_format is {p.output_format!r}", f"use {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    resize = p.resize_param if p.HasField("resize_param") else None
    if resize and resize.resize_mode == ResizeParameter.FIT_LARGE_SIZE_AND_PAD and not resize.height * resize.width:
        layer.error("resize_param has no height and width", "give those of the net's images")
    names = read_label_map(p.label_map_file, layer.where)
    unnamed = [label for label in labels if label not in names]
    if unnamed:
        layer.error(f"{p.label_map_file!r} has no name for label {unnamed[0]}", "name all classes there")
    images = read_name_sizes(p.name_size_file, layer.where, "save_output_param")
    count = p.num_test_image if p.HasField("num_test_image") else len(images)
    if not 1 <= count <= len(images):
        layer.error(
            f"num_test_image is {count}, and {p.name_size_file!r} names {len(images)} images",
            f"use 1 to {len(images)}" if images else "name the test images there",
        )
    folder = system_path(p.output_directory)
    with writing(os.path.join(folder, "results")):
        os.makedirs(folder, exist_ok=True)
    prefix = os.path.join(folder, system_path(p.output_name_prefix))
    return DetectionFiles(prefix, p.output_format, {label: names[label] for label in labels}, images[:count], resize)


def _scored_corners(detection: Detection) -> str:
    x, y, width, height = map(int, detection.box)
    return f"{detection.score:g} {x} {y} {x + width} {y + height}"


def _number(name: str) -> int | str:
    """Return the number that a name spells, as COCO's images and classes are called, or else the name."""
    return int(name) if re.fullmatch("-?[0-9]+", name) else name
