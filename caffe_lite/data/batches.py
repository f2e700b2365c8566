"""Batches, which data layers deliver and a thread makes ahead; and the common part of all batches of images."""

from __future__ import annotations

import abc
from collections.abc import Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from ..errors import DataError
from ..logs.log import logger
from ..ops.cores import usable_cores
from ..proto import caffe_pb2
from ..ranks import WHOLE, Share, moved
from .augmentation.objects import NO_OBJECTS
from .databases.database import Database, Record
from .databases.datum import decode_datum
from .order import Place
from .transform import DataTransformer, Shape, by

R = TypeVar("R")
L = TypeVar("L")
Decoded = tuple[np.ndarray, int]

# Bytes of decoded images that a source may keep, and the bytes that an image takes besides its pixels.
KEPT = 128 * 2**20
_EACH = 500
# Bytes of decoded images in a batch from which on several threads are worth their cost.
HEAVY = 2**20
# The first of the streams of random numbers that are no order's: more than there are ranks, whose streams follow it.
_APART = 2**20


@dataclass(frozen=True)
class Batch:
    """An array (N, ...) in float32 for each top, and the state from which the next batch follows."""

    arrays: tuple[np.ndarray, ...]
    state: Place


class Batches(abc.ABC):
    """An endless source of batches.

    ``rng`` belongs to it alone. ``state()`` is JSON; after ``restore_state`` with it, the same batches come again.
    Of a source that several processes read, the batches hold only one's ``share``. All of them read in one order, and
    a place in it is the place of all, so that any number of processes can go on from there.
    """

    rng: np.random.Generator
    share = WHOLE

    def deal(self, share: Share) -> None:
        """Read only this share from now on."""
        self.share = share
        if share.count > 1:
            self._split()

    def _split(self) -> None:
        """Leave the generator to the order, which must be the same for all shares; go on with another one."""
        own = np.random.Generator(np.random.PCG64())
        own.bit_generator.state = moved(dict(self.rng.bit_generator.state), _APART + self.share.rank)
        self.rng = own

    @abc.abstractmethod
    def shapes(self) -> list[Shape]:
        """Return the shapes that the next batch's arrays will have, if it begins with the next record of all shares."""

    @abc.abstractmethod
    def load(self) -> Batch:
        """Return the next batch."""

    @abc.abstractmethod
    def place(self) -> Place:
        """Return the place where the next batch begins."""

    @abc.abstractmethod
    def seek(self, place: Place) -> None:
        """Go on from a place; this may leave ``rng`` in any state."""

    def state(self) -> Place:
        state = {**self.place(), "rng": self.rng.bit_generator.state}
        return state if self.share.count == 1 else {**state, "split": True}

    def restore_state(self, state: Place) -> None:
        self.seek(state)
        self.rng.bit_generator.state = state["rng"]
        if self.share.count > 1 and not state.get("split"):  # one process drew its orders from it, too
            self._split()

    def close(self) -> None:  # noqa: B027 (most hold no file open)
        """Close the files."""


class ImageBatches(Batches, Generic[R, L]):
    """Images (N, C, H, W) and labels (N) from records of any kind, ``batch_size`` at a time, transformed.

    A small source is decoded once: its images are kept until they turn out to take more than 128 MB; then none are.
    The images of a larger source are decoded by as many threads as there are cores, unless they are tiny. These
    threads augment images, too; each image gets a generator of its own, so that their order does not matter.
    """

    def __init__(self, transformer: DataTransformer, batch_size: int, rng: np.random.Generator) -> None:
        self.transformer = transformer
        self.batch_size = batch_size
        self.rng = rng
        self._kept: dict[Hashable, tuple[np.ndarray, L]] | None = {}
        self._room = KEPT
        self._weight = 0  # bytes of decoded images in the previous batch
        self._threads: ThreadPoolExecutor | None = None

    @abc.abstractmethod
    def peek(self) -> R:
        """Return the next record without reading on."""

    @abc.abstractmethod
    def read(self, count: int) -> list[R]:
        """Return the next records of its share."""

    @abc.abstractmethod
    def name(self, record: R) -> Hashable:
        """Return a name that no other record has."""

    @abc.abstractmethod
    def decode(self, record: R) -> tuple[np.ndarray, L]:
        """Decode a record to its image (C, H, W) and its label."""

    def weight(self, image: np.ndarray, label: L) -> int:
        """Return the bytes that a decoded image and its label take."""
        return image.nbytes + _EACH

    @property
    def augments(self) -> bool:
        """Whether ``augment`` changes anything."""
        return bool(self.transformer.augmentation)

    def augment(self, image: np.ndarray, label: L, rng: np.random.Generator) -> tuple[np.ndarray, L]:
        """Change an image at random, and its label with it."""
        return self.transformer.augmentation(image, NO_OBJECTS, rng)[0], label

    def augmented(self, shape: Shape) -> Shape:
        """Return the shape that an image of this shape has after ``augment``, as far as it can be foreseen."""
        return self.transformer.augmentation.shape(shape)

    def transform(self, images: Sequence[np.ndarray], labels: Sequence[L]) -> tuple[np.ndarray, ...]:
        """Return the arrays of a batch."""
        return self.transformer(images, self.rng), np.array(labels, np.float32)

    @abc.abstractmethod
    def error(self, record: R, what: str, hint: str) -> DataError:
        """Make an error that says this about a record."""

    def shapes(self) -> list[Shape]:
        record = self.peek()
        image, _ = self._decode(record)
        return [(self.batch_size, *self._transformed(record, self.augmented(image.shape))), (self.batch_size,)]

    def load(self) -> Batch:
        """Return the next batch; all its images must come out in the shape of the first."""
        records = self.read(self.batch_size)
        decoded = list(self._decode_all(records))
        self._weight = sum(image.nbytes for image, _ in decoded)
        images, labels = zip(*self._augment_all(records, decoded), strict=True)
        expected = self._transformed(records[0], images[0].shape)
        for record, image in zip(records, images, strict=True):
            if image.shape != images[0].shape and (shape := self._transformed(record, image.shape)) != expected:
                raise self.error(
                    record,
                    f"gives an image of {by(shape)}, the first of its batch one of {by(expected)}",
                    "Set crop_size in transform_param, or a batch_size of 1, or make the images equal",
                )
        return Batch(self.transform(images, labels), self.state())

    def _decode_all(self, records: Sequence[R]) -> Iterator[tuple[np.ndarray, L]]:
        if self._kept is not None or self._weight < HEAVY:
            return map(self._decode, records)
        return self._pool().map(self._decode, records)

    def _augment_all(
        self, records: Sequence[R], decoded: Sequence[tuple[np.ndarray, L]]
    ) -> Iterable[tuple[np.ndarray, L]]:
        if not self.augments:
            return decoded
        seeds = self.rng.integers(2**63, size=len(records)).tolist()
        each = map if self._weight < HEAVY else self._pool().map
        return each(self._augment, records, decoded, seeds)

    def _pool(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(usable_cores(), "caffe_lite decode")
        return self._threads

    def _augment(self, record: R, decoded: tuple[np.ndarray, L], seed: int) -> tuple[np.ndarray, L]:
        try:
            return self.augment(*decoded, np.random.Generator(np.random.PCG64(seed)))
        except DataError as error:
            raise self._unusable(record, error) from error.__cause__

    def _decode(self, record: R) -> tuple[np.ndarray, L]:
        """Return the image and the label of a record, from those kept if they are there."""
        if self._kept is not None and (kept := self._kept.get(self.name(record))):
            return kept
        try:
            decoded = self.decode(record)
        except DataError as error:
            raise self._unusable(record, error) from error.__cause__
        if self._kept is not None:
            self._kept[self.name(record)] = decoded
            self._room -= self.weight(*decoded)
            if self._room < 0:
                self._kept = None
        return decoded

    def _transformed(self, record: R, shape: Shape) -> Shape:
        """Return the shape that the record's image, now of this shape, will have in a batch."""
        try:
            return self.transformer.shape(shape)
        except DataError as error:
            raise self._unusable(record, error) from error.__cause__

    def _unusable(self, record: R, error: DataError) -> DataError:
        return self.error(record, f"cannot be used: {error.what}", error.hint)

    def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)


class RecordBatches(ImageBatches[Record, L]):
    """Batches from a database of records that hold images."""

    def __init__(
        self,
        database: Database,
        transformer: DataTransformer,
        batch_size: int,
        rng: np.random.Generator,
        force_color: bool = False,
        force_gray: bool = False,
    ) -> None:
        super().__init__(transformer, batch_size, rng)
        self.database = database
        self.force_color = force_color
        self.force_gray = force_gray

    @abc.abstractmethod
    def datum(self, record: Record) -> caffe_pb2.Datum:
        """Return the image of a record as it is stored."""

    def shapes(self) -> list[Shape]:
        shapes = super().shapes()
        if (self.force_color or self.force_gray) and not self.datum(self.peek()).encoded:
            logger.error("force_color and force_gray only for encoded datum")
        return shapes

    def peek(self) -> Record:
        return self.database.peek()

    def read(self, count: int) -> list[Record]:
        return self.database.read(count, self.share)

    def name(self, record: Record) -> bytes:
        return record[0]

    def error(self, record: Record, what: str, hint: str) -> DataError:
        return DataError(f"record {record[0]!r} of the database {self.database.path!r} {what}", hint=hint)

    def place(self) -> Place:
        return self.database.place()

    def seek(self, place: Place) -> None:
        self.database.go_on(place)

    def close(self) -> None:
        super().close()
        self.database.close()


class DatumBatches(RecordBatches[int]):
    """Batches from a database of Datum records."""

    def datum(self, record: Record) -> caffe_pb2.Datum:
        return caffe_pb2.Datum.FromString(record[1])

    def decode(self, record: Record) -> Decoded:
        return decode_datum(record[1], self.force_color, self.force_gray)
