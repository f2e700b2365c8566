"""The mean image of a database, and the file that mean_file in transform_param names."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from ..errors import DataError
from ..files.atomic import atomic_write
from ..logs.log import logger
from ..proto.arrays import array_to_blobproto
from .databases.database import Database, Record
from .databases.datum import decode_datum
from .transform import by


def mean_image(
    database: Database, track: Callable[[Iterable[Record]], Iterable[Record]] = lambda records: records
) -> np.ndarray:
    """Compute the mean (C, H, W), in float32, of a database's images, which must agree in shape.

    The sums are in float64: the original's sums in float32 lose digits beyond some 65,000 images.
    """
    count, total = 0, np.zeros(0)
    logger.info("Starting iteration")
    for key, value in track(database.records()):
        try:
            image, _ = decode_datum(value)
            if count and image.shape != total.shape:
                raise DataError(
                    f"its image is {by(image.shape)} (C x H x W), those before {by(total.shape)}",
                    hint="Make the database again, with images of one size",
                )
        except DataError as error:
            what = f"record {key!r} of the database {database.path!r} cannot be used: {error.what}"
            raise DataError(what, hint=error.hint) from error.__cause__
        total = total + image if count else image.astype(np.float64)
        count += 1
        if count % 10000 == 0:
            logger.info("Processed %d files.", count)
    if count % 10000:
        logger.info("Processed %d files.", count)
    return (total / count).astype(np.float32)


def write_mean(mean: np.ndarray, path: str) -> None:
    """Write a .binaryproto in the form that every version of Caffe reads: with four axes, N of 1."""
    blob = array_to_blobproto(mean)
    blob.ClearField("shape")
    blob.num, (blob.channels, blob.height, blob.width) = 1, mean.shape
    with atomic_write(path) as part:
        part.write_bytes(blob.SerializeToString())
