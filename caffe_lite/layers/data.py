"""Data: batches of images and labels from a database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..blob import Blob
from ..data.batches import Batch, DatumBatches
from ..data.database import Database, open_database
from ..data.prefetch import Prefetcher
from ..data.transform import DataTransformer
from ..layer import Layer, register_layer
from ..log import logger

# What data_param held before transform_param came, and its name there.
_MOVED = {
    "scale": "scale",
    "mean_file": "mean_file",
    "crop_size": "crop_size",
    "mirror": "mirror",
    "force_encoded_color": "force_color",
}


@register_layer("Data")
class DataLayer(Layer):
    """Images from a database of Datum records, in the order of their keys, around and around.

    Tops: data (N, C, H, W); label (N), if asked for. Each batch takes the height and width of its first image, all of
    one batch must agree. A background thread reads ahead.
    Reads ``data_param``: source, a path from the working directory (or, unlike in the original, from the folder of the
    prototxt if nothing is there); batch_size; backend (LMDB); prefetch (4), how many batches to read ahead.
    ``transform_param``: see DataTransformer; force_color and force_gray, for encoded images.
    A snapshot holds the place in the database and the random state, so that training resumed sees the very batches it
    would have seen; the original starts over. rand_skip is ignored, as in the original.
    The fields of data_param that have moved to transform_param are refused; the original ignores them.
    Source: the original's data_layer.cpp.
    """

    bottoms = (0, 0)
    tops = (1, 2)
    database: Database | None = None
    prefetcher: Prefetcher[Batch] | None = None

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p, transform = self.param.data_param, self.param.transform_param
        for field in ("batch_size", "prefetch"):
            if getattr(p, field) < 1:
                self.error(f"{field} is {getattr(p, field)}", f"Give data_param a {field} of at least 1")
        moved = [field for field in _MOVED if p.HasField(field)]
        if moved:
            self.error(
                f"data_param holds {' and '.join(moved)}, which belongs into transform_param",
                f"Write {' and '.join(_MOVED[field] for field in moved)} there",
            )
        if p.rand_skip:
            logger.warning("rand_skip is ignored: no record is left out")
        self.database = open_database(p.source, p.backend, self.where)
        self.batches = DatumBatches(
            self.database,
            DataTransformer(transform, self.phase, self.where),
            p.batch_size,
            np.random.Generator(np.random.PCG64(int(self.rng.integers(2**63)))),
            transform.force_color,
            transform.force_gray,
        )
        self.delivered = self.batches.state()
        self.shape = self.batches.shape()
        logger.info("output data size: %s", ",".join(map(str, self.shape)))

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].Reshape(self.shape)
        if len(top) > 1:
            top[1].Reshape(self.shape[:1])

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if self.prefetcher is None:
            self.prefetcher = Prefetcher(self.batches.load, self.param.data_param.prefetch)
        batch = self.prefetcher.get()
        self.delivered = batch.state
        self.shape = batch.data.shape
        self.Reshape(bottom, top)
        top[0].data = self.ops.asarray(batch.data)
        if len(top) > 1:
            top[1].data = self.ops.asarray(batch.labels)

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """There is nothing before the data."""

    def state(self) -> dict[str, Any]:
        return self.delivered

    def restore_state(self, state: dict[str, Any]) -> None:
        self._stop()
        self.batches.restore_state(state)
        self.delivered = state

    def close(self) -> None:
        self._stop()
        if self.database is not None:
            self.database.close()

    def _stop(self) -> None:
        if self.prefetcher is not None:
            self.prefetcher.close()
            self.prefetcher = None
