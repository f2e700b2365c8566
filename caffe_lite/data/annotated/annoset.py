"""The images and annotations of a list, turned into a database of AnnotatedDatum records."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ...errors import DataError, Where
from ...logs.log import logger
from ...proto.arrays import array_to_datum
from ...proto.caffe_pb2 import AnnotatedDatum, Datum
from ..databases.writing import new_database, refuse_existing
from ..image_list import ImageList
from ..images.image import channels_first, decode_image, import_cv2, read_image_file, resize_image
from ..imageset import encoded_image, join, record_key
from ..label_map import read_labels
from ..paths import read_lines
from ..transform import by
from .annotation_files import Box, read_boxes


@dataclass(frozen=True)
class Storage:
    """How images are stored.

    ``size`` is (height, width). Without it, an image whose smaller side is below ``min_dim`` is made larger, and one
    whose larger side is then above ``max_dim`` smaller, in its shape. With ``encoded`` the records hold the image files
    as they are, unless a size or another ``encode_type`` asks for a change.
    """

    gray: bool = False
    size: tuple[int, int] | None = None
    min_dim: int = 0
    max_dim: int = 0
    encoded: bool = False
    encode_type: str = ""

    def datum(self, image: np.ndarray, content: bytes, file: str, where: Where) -> Datum:
        """Return an image (H, W, C) from a file with this content as it is stored."""
        stored = self._resized(image)
        if not (self.encoded or self.encode_type):
            return array_to_datum(channels_first(stored))
        data = encoded_image(stored, content if stored is image else None, self.encode_type, file, where)
        channels = stored.shape[2] if stored.ndim == 3 else 1
        return Datum(encoded=True, data=data, channels=channels, height=stored.shape[0], width=stored.shape[1])

    def _resized(self, image: np.ndarray) -> np.ndarray:
        if not (self.min_dim or self.max_dim):
            return image if self.size is None else resize_image(image, *self.size)
        least, most = min(image.shape[:2]), max(image.shape[:2])
        factor = max(1.0, self.min_dim / least)
        if self.max_dim and int(factor * most) > self.max_dim:
            factor = self.max_dim / most
        return image if factor == 1 else import_cv2().resize(image, (0, 0), fx=factor, fy=factor)


@dataclass(frozen=True)
class Annotations:
    """The files of a list's second column, of a kind in ``annotation_files.KINDS``, and the labels of their names."""

    kind: str = "xml"
    labels: Mapping[str, int] = field(default_factory=dict)

    def add_to(self, record: AnnotatedDatum, file: str, height: int, width: int) -> None:
        """Add those of an image of this size; one whose file is not there has no objects, with a warning."""
        record.type = AnnotatedDatum.BBOX
        if not os.path.exists(file):
            logger.warning("There is no file %s: the image has no objects", file)
            return
        for box in read_boxes(file, self.kind, height, width, self.labels):
            _add(record, box)


def _add(record: AnnotatedDatum, box: Box) -> None:
    group = next((group for group in record.annotation_group if group.group_label == box.label), None)
    if group is None:
        group = record.annotation_group.add(group_label=box.label)
    annotation = group.annotation.add(instance_id=len(group.annotation))
    annotation.bbox.xmin, annotation.bbox.ymin, annotation.bbox.xmax, annotation.bbox.ymax = box[1:5]
    annotation.bbox.difficult = box.difficult


def create_annoset(
    root: str,
    list_file: str,
    out: str,
    *,
    annotations: Annotations | None = None,
    storage: Storage = Storage(),
    backend: str = "lmdb",
    shuffle: bool = False,
    seed: int | None = None,
    check_size: bool = False,
    redo: bool = False,
    track: Callable[[Iterable[int], int], Iterable[int]] = lambda lines, _: lines,
) -> int:
    """Write the images of a list as a database of AnnotatedDatum records; return the number of records.

    Each line is an image and its annotation file, or, without ``annotations``, a label. A record's key is the number of
    its line and its name, "00000000_cat.jpg". An image that cannot be read is left out with a message in the log, as by
    SSD's tool. ``redo`` replaces a database, once the new one is complete; SSD's script removes it first.
    Source: SSD's convert_annoset.cpp and create_annoset.py.
    """
    refuse_existing(out, redo)
    lines = _pairs(list_file) if annotations else _labelled(list_file)
    order = range(len(lines))
    if shuffle:
        logger.info("Shuffling data")
        order = np.random.default_rng(seed).permutation(len(lines)).tolist()
    logger.info("A total of %d images.", len(lines))
    if storage.encode_type and not storage.encoded:
        logger.info("encode_type specified, assuming encoded=true.")
    count, expected = 0, None
    with new_database(out, backend, redo) as put:
        for number, line in enumerate(track(order, len(lines))):
            name, annotation, where = lines[line]
            file = join(root, name)
            try:
                content = read_image_file(file, None)
                image = decode_image(content, color=not storage.gray)
            except DataError as error:
                logger.warning("Failed to read %s: %s", file, error.what)
                continue
            datum = storage.datum(image, content, file, where)
            shape = (datum.channels, datum.height, datum.width)
            expected = expected or shape
            if check_size and shape != expected:
                raise DataError(
                    f"the image {file!r} is {by(shape)} (C x H x W), the first one {by(expected)}",
                    where=where,
                    hint="Leave out --check-size, or make all equal with --resize-height and --resize-width",
                )
            datum.label = annotation if isinstance(annotation, int) else -1
            record = AnnotatedDatum(datum=datum)
            if annotations and isinstance(annotation, str):
                annotations.add_to(record, join(root, annotation), *image.shape[:2])
            put(record_key(number, name), record.SerializeToString())
            count += 1
            if count % 1000 == 0:
                logger.info("Processed %d files.", count)
        if not count:
            raise DataError("it names no image that can be read", where=Where(list_file))
    if count % 1000:
        logger.info("Processed %d files.", count)
    return count


_Line = tuple[str, str | int, Where]


def _pairs(list_file: str) -> list[_Line]:
    lines: list[_Line] = []
    for number, line in read_lines(list_file, None, ""):
        name, *rest = line.rsplit(None, 1)
        where = Where(list_file, number, 1)
        if not rest:
            raise DataError(f"{line!r} is one word", where=where, hint="Write an image file and its annotation file")
        lines.append((name, rest[0], where))
    return lines


def _labelled(list_file: str) -> list[_Line]:
    images = ImageList(list_file, None)
    return [(name, images.label(index), images.where(index)) for index, name in enumerate(images.paths)]


def annotations_of(kind: str, label_map_file: str, check_label: bool) -> Annotations:
    """Return annotations whose names have the labels of a label map; plain text needs none."""
    if not label_map_file and kind != "txt":
        raise DataError(f"annotations of the kind {kind} hold names", hint="Give the labels of these: --label-map-file")
    return Annotations(kind, read_labels(label_map_file, None, check_label) if label_map_file else {})
