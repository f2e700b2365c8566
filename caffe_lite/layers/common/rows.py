"""Layers that read lists of boxes on the host, and such whose tops have as many rows as the values make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...blobs import Blob
from ...blobs.unknown import UnknownSize
from ...layer import Kind, Layer
from ...logs.log import logger
from ...onnx_graph import FLOAT, OnnxGraph, Value
from .onnx_boxes import column


class ListsLayer(Layer):
    """A layer that reads lists of vectors on the host; no gradient passes through it.

    It cannot be part of a compiled pass.
    """

    untraceable = "it computes on the host"

    def check_vectors(self, blob: Blob, what: str, *sizes: int) -> None:
        """Refuse a bottom that is not a list of vectors (N, size) or (N, size, 1, ...) of one of these sizes."""
        shape = blob.shape
        if len(shape) < 2 or shape[1] not in sizes or blob.count != shape[0] * shape[1]:
            wanted = " or ".join(f"(N, {size}, 1, 1)" for size in sizes)
            self.error(f"the {what} have the shape {shape}", f"give {wanted}, or without the 1s")

    def check_as_many(self, bottom: Sequence[Blob]) -> None:
        """Refuse bottoms that do not have one number of rows."""
        if any(blob.shape[:1] != bottom[0].shape[:1] for blob in bottom):
            shapes = ", ".join(str(blob.shape) for blob in bottom)
            self.error(f"the bottoms {shapes} differ in their first axis", "give all of them one row for each box")

    def vectors(self, blob: Blob) -> np.ndarray:
        """Return the values of a bottom that ``check_vectors`` has seen, as (N, size)."""
        return self.on_host(blob).reshape(blob.shape[:2])

    def on_host(self, blob: Blob) -> np.ndarray:
        """Return the values of a bottom."""
        if self.ops.tracer is not None:
            raise NotImplementedError(self.untraceable)
        return self.ops.host_view(blob.data)

    def gradient_reaches(self, bottom_index: int, num_bottoms: int) -> bool:
        return False

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if any(propagate_down):
            self.error(
                "a gradient is asked for, and there is none",
                "give the layer propagate_down: false, once per bottom",
            )


class DetectionsLayer(ListsLayer):
    """A layer whose top, (1, 1, K, 7), lists detections: rows of image, label, score, x1, y1, x2, y2.

    Without any, there is one row for each image: its index, then -1s. Before the first pass there is one row.
    """

    kind = Kind.DETECTION
    decides = True
    untraceable = "how many boxes it finds depends on the values it is given"
    columns = 7

    def outline(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().outline(bottom, top)
        self.reshape_top(top, UnknownSize())

    def reshape_top(self, top: Sequence[Blob], rows: Any = 1) -> None:
        """Shape the top for so many rows."""
        top[0].Reshape((1, 1, rows, self.columns))

    def deliver(self, top: Sequence[Blob], found: Sequence[np.ndarray]) -> None:
        """Bind the detections of each image, (K, columns), to the top."""
        rows = np.concatenate([np.empty((0, self.columns)), *found])
        if not len(rows):
            logger.info("Couldn't find any detections")
            rows = np.full((len(found), self.columns), -1.0)
            rows[:, 0] = np.arange(len(found))
        self.reshape_top(top, len(rows))
        top[0].data = self.ops.asarray(rows[None, None])

    def written(self, g: OnnxGraph, scores: Value, place: Value, columns: Sequence[Value]) -> Value:
        """Write the top: from the scores of each image (N, M), -inf if they are gone, and of the detections that are
        left the places (S, ...), image first, and the columns after the image, (S, ...)."""
        rows = g.Concat(column(g, place, 0), *columns, axis=1)
        best = g.reduce("ReduceMax", scores, [1], keepdims=False)
        without_any = g.Not(g.Greater(g.Max(best, g.reduce("ReduceMax", best, [0])), -np.inf))
        images = g.Cast(g.Transpose(g.NonZero(without_any), perm=[1, 0]), to=FLOAT)
        rows = g.Concat(rows, g.Pad(images, [0, 0, 0, self.columns - 1], -1.0), axis=0)
        return g.reshape(rows, (1, 1, None, self.columns))


class RowsLayer(ListsLayer):
    """A layer that decides how many rows its tops have. Before the first pass they have one."""

    untraceable = "how many rows its tops have depends on the values it is given"
    rows_vary = True
    rows: Any = 1

    def row_shapes(self, bottom: Sequence[Blob]) -> Sequence[tuple[int, ...]]:
        """Check the bottoms' shapes, and return the shape of a row of each top."""
        raise NotImplementedError

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._shapes = self.row_shapes(bottom)
        self.reshape_tops(top, self.rows)

    def outline(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().outline(bottom, top)
        self.reshape_tops(top, UnknownSize())

    def reshape_tops(self, top: Sequence[Blob], rows: Any) -> None:
        """Shape the tops with so many rows."""
        for blob, shape in zip(top, self._shapes, strict=False):
            blob.Reshape((rows, *shape))

    def set_rows(self, top: Sequence[Blob], rows: int) -> None:
        """Give the tops this many rows."""
        self.rows = rows
        self.reshape_tops(top, rows)

    def deliver(self, top: Sequence[Blob], arrays: Sequence[np.ndarray]) -> None:
        """Bind arrays, which have as many rows, to the tops."""
        self.set_rows(top, len(arrays[0]))
        for blob, array in zip(top, arrays, strict=False):
            blob.data = self.ops.asarray(array.reshape(blob.shape))

    def deliver_rows(self, top: Sequence[Blob], bottom: Sequence[Blob], positions: np.ndarray) -> None:
        """Bind the rows of each bottom at these positions to the top at its place."""
        self.set_rows(top, len(positions))
        index = self.ops.indices(self.ops.asarray(positions))
        for x, y in zip(bottom, top, strict=True):
            y.data = self.ops.take_rows(x.data, index)
