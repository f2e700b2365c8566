"""Images in separate files, with labels, in the order of a text file that lists them."""

from __future__ import annotations

import abc
from array import array
from typing import NamedTuple, TypeVar

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

L = TypeVar("L")

_PROGRESS = 500_000


class FileList(abc.ABC):
    """The lines of a list of images; each begins with a path. Empty lines are skipped.

    ``param`` is the message whose source names the list.
    """

    example: str  # of a line

    def __init__(self, source: str, where: Where | None, param: str = "image_data_param") -> None:
        self.file = resolve(source, where)
        self.paths: list[str] = []
        self._lines = array("i")
        for number, line in read_lines(source, where, param):
            self.paths.append(self.take(line, number))
            self._lines.append(number)
            if len(self.paths) % _PROGRESS == 0:
                logger.info("Read %d lines of %s", len(self.paths), source)
        if not self.paths:
            raise DataError(
                "the list of images is empty", where=Where(self.file), hint=f"Write lines like {self.example}"
            )

    @abc.abstractmethod
    def take(self, line: str, number: int) -> str:
        """Return the path in a line, whose number is given, and keep what follows it."""

    def __len__(self) -> int:
        return len(self.paths)

    def where(self, index: int) -> Where:
        return Where(self.file, self._lines[index], 1)


class ImageList(FileList):
    """Lines with a path, which may have spaces, and after the last space a label, a whole number.

    A line with a single word has label 0.
    """

    example = "cat.jpg 3"

    def __init__(self, source: str, where: Where | None, param: str = "image_data_param") -> None:
        self._labels = array("i")
        super().__init__(source, where, param)

    def take(self, line: str, number: int) -> str:
        path, *rest = line.rsplit(None, 1)
        try:
            label = int(rest[0]) if rest else 0
            if not -(2**31) <= label < 2**31:
                raise ValueError
        except ValueError:
            raise DataError(
                f"the label {rest[0]!r} is not a whole number of 32 bits",
                where=Where(self.file, number, 1),
                hint="A line is a path, a space and a label; other values need HDF5Data",
            ) from None
        self._labels.append(label)
        return path

    def label(self, index: int) -> int:
        return self._labels[index]


class Reading(NamedTuple):
    """How the images of a list are read: what comes before their paths, their colour, and their size, or zeros."""

    root: str = ""
    color: bool = True
    height: int = 0
    width: int = 0
    shuffle: bool = False
    skip: int = 0  # the number of entries left out at the start


class ListBatches(ImageBatches[int, L]):
    """Batches from a list of images; the records are the numbers of the entries."""

    def __init__(
        self,
        images: FileList,
        reading: Reading,
        transformer: DataTransformer,
        batch_size: int,
        rng: np.random.Generator,
        where: Where | None,
    ) -> None:
        super().__init__(transformer, batch_size, rng)
        self.images = images
        self.reading = reading
        self.where = where
        self.order = Order(f"images in {images.file!r}", len(images), rng if reading.shuffle else None)
        self.order.next = reading.skip

    def peek(self) -> int:
        return self.order.peek()

    def read(self, count: int) -> list[int]:
        return self.order.take(count, self.share)

    def name(self, record: int) -> int:
        return record

    def image(self, record: int) -> np.ndarray:
        """Return an image in OpenCV's form, in its own size."""
        return decode_image(read_image_file(self.path(record), self.where), self.reading.color)

    def path(self, record: int) -> str:
        return self.reading.root + self.images.paths[record]

    def error(self, record: int, what: str, hint: str) -> DataError:
        return DataError(f"the image {self.path(record)!r} {what}", where=self.images.where(record), hint=hint)

    def place(self) -> Place:
        return {"order": self.order.place()}

    def seek(self, place: Place) -> None:
        self.order.seek(place["order"])


class LabelledListBatches(ListBatches[int]):
    """Images (N, C, H, W) of an ImageList, and their labels (N)."""

    images: ImageList
    sizes = caffe_pb2.ImageDataParameter()  # its fields for listed_size

    def decode(self, record: int) -> Decoded:
        image = self.image(record)
        size = listed_size(self.sizes, *image.shape[:2])
        if size != image.shape[:2]:
            image = resize_image(image, *size)
        if self.transformer.param.bgr2rgb and self.reading.color:
            image = image[..., ::-1]
        return channels_first(image), self.images.label(record)
