"""Images in separate files, with labels, in the order of a text file that lists them."""

from __future__ import annotations

from array import array

import numpy as np

from ..errors import DataError, Where
from ..logs.log import logger
from ..proto import caffe_pb2
from .batches import Decoded, ImageBatches
from .images.image import channels_first, decode_image, read_image_file, resize_image
from .images.listed_size import listed_size
from .order import Order, Place
from .paths import read_lines, resolve
from .transform import DataTransformer

_PROGRESS = 500_000


class ImageList:
    """The lines of a list: each holds a path, which may have spaces, and after the last space a label, a whole number.

    A line with a single word has label 0. Empty lines are skipped.
    """

    def __init__(self, source: str, where: Where | None) -> None:
        self.file = resolve(source, where)
        self.paths: list[str] = []
        self._labels = array("i")
        self._lines = array("i")
        for number, line in read_lines(source, where, "image_data_param"):
            path, label = self._split(line, number)
            self.paths.append(path)
            self._labels.append(label)
            self._lines.append(number)
            if len(self.paths) % _PROGRESS == 0:
                logger.info("Read %d lines of %s", len(self.paths), source)
        if not self.paths:
            raise DataError("the list of images is empty", where=Where(self.file), hint="Write lines like cat.jpg 3")

    def _split(self, line: str, number: int) -> tuple[str, int]:
        path, *rest = line.rsplit(None, 1)
        if not rest:
            return path, 0
        try:
            label = int(rest[0])
            if not -(2**31) <= label < 2**31:
                raise ValueError
        except ValueError:
            raise DataError(
                f"the label {rest[0]!r} is not a whole number of 32 bits",
                where=Where(self.file, number, 1),
                hint="A line is a path, a space and a label; other values need HDF5Data",
            ) from None
        return path, label

    def __len__(self) -> int:
        return len(self.paths)

    def label(self, index: int) -> int:
        return self._labels[index]

    def where(self, index: int) -> Where:
        return Where(self.file, self._lines[index], 1)


class ListBatches(ImageBatches[int, int]):
    """Batches from a list of images; the records are the numbers of the entries, beginning with number ``skip``."""

    def __init__(
        self,
        images: ImageList,
        param: caffe_pb2.ImageDataParameter,
        transformer: DataTransformer,
        rng: np.random.Generator,
        skip: int,
        where: Where | None,
    ) -> None:
        super().__init__(transformer, param.batch_size, rng)
        self.images = images
        self.param = param
        self.where = where
        self.order = Order(f"images in {images.file!r}", len(images), rng if param.shuffle else None)
        self.order.next = skip

    def peek(self) -> int:
        return self.order.peek()

    def read(self, count: int) -> list[int]:
        return self.order.take(count)

    def name(self, record: int) -> int:
        return record

    def decode(self, record: int) -> Decoded:
        p = self.param
        image = decode_image(read_image_file(self.path(record), self.where), p.is_color)
        size = listed_size(p, *image.shape[:2])
        if size != image.shape[:2]:
            image = resize_image(image, *size)
        if self.transformer.param.bgr2rgb and p.is_color:
            image = image[..., ::-1]
        return channels_first(image), self.images.label(record)

    def path(self, record: int) -> str:
        return self.param.root_folder + self.images.paths[record]

    def error(self, record: int, what: str, hint: str) -> DataError:
        return DataError(f"the image {self.path(record)!r} {what}", where=self.images.where(record), hint=hint)

    def place(self) -> Place:
        return {"order": self.order.place()}

    def seek(self, place: Place) -> None:
        self.order.seek(place["order"])
