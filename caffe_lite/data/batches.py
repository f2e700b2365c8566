"""Batches of images and labels from a database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError
from ..log import logger
from ..proto import caffe_pb2
from .database import Database
from .datum import decode_datum
from .transform import DataTransformer, Shape, by


@dataclass(frozen=True)
class Batch:
    """Images (N, C, H, W), labels (N), both float32; and the state from which the batch behind this one follows."""

    data: np.ndarray
    labels: np.ndarray
    state: dict[str, Any]


class DatumBatches:
    """Reads, decodes and transforms the records of a database, ``batch_size`` at a time.

    ``rng`` belongs to it alone. ``state()`` is JSON, and after ``restore_state`` of it the same batches come again.
    """

    def __init__(
        self,
        database: Database,
        transformer: DataTransformer,
        batch_size: int,
        rng: np.random.Generator,
        force_color: bool = False,
        force_gray: bool = False,
    ) -> None:
        self.database = database
        self.transformer = transformer
        self.batch_size = batch_size
        self.rng = rng
        self.force_color = force_color
        self.force_gray = force_gray

    def shape(self) -> Shape:
        """The shape that the next batch's data will have, going by its first image."""
        key, value = self.database.peek()
        _, _, shape = self._decode(key, value)
        if (self.force_color or self.force_gray) and not caffe_pb2.Datum.FromString(value).encoded:
            logger.error("force_color and force_gray only for encoded datum")
        return (self.batch_size, *shape)

    def load(self) -> Batch:
        """The next batch; all its images must come out in the shape of the first."""
        images, labels, expected = [], [], None
        for key, value in self.database.read(self.batch_size):
            image, label, shape = self._decode(key, value)
            expected = expected or shape
            if shape != expected:
                raise DataError(
                    f"{self._record(key)} gives an image of {by(shape)}, the first of its batch one of {by(expected)}",
                    hint="Set crop_size in transform_param, or a batch_size of 1, or make the images equal",
                )
            images.append(image)
            labels.append(label)
        return Batch(self.transformer(images, self.rng), np.array(labels, np.float32), self.state())

    def _decode(self, key: bytes, value: bytes) -> tuple[np.ndarray, int, Shape]:
        """The image and the label of a record, and the shape that the image will have in a batch."""
        try:
            image, label = decode_datum(value, self.force_color, self.force_gray)
            return image, label, self.transformer.shape(image.shape)
        except DataError as error:
            raise DataError(f"{self._record(key)} cannot be used: {error.what}", hint=error.hint) from error.__cause__

    def _record(self, key: bytes) -> str:
        return f"record {key!r} of the database {self.database.path!r}"

    def state(self) -> dict[str, Any]:
        return {"next_key": self.database.position.hex(), "rng": self.rng.bit_generator.state}

    def restore_state(self, state: dict[str, Any]) -> None:
        self.database.seek(bytes.fromhex(state["next_key"]))
        self.rng.bit_generator.state = state["rng"]
