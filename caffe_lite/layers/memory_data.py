"""MemoryData: batches from arrays that a script gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..logs.log import logger

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@register_layer("MemoryData")
class MemoryDataLayer(Layer):
    """The rows of two arrays, a batch at a time, over and over again.

    Tops: data (N, C, H, W); label (N), which is (N, 1, 1, 1) from the first pass on, as in the original. With dim, data
    has these sizes, label is (N, 1, ..., 1), with as many axes, and may be left out.
    Reads ``memory_data_param``: batch_size, channels, height and width, each at least 1; or, in their place, dim, the
    sizes of a batch along any number of axes.
    ``net.set_input_arrays(data, labels)`` gives the arrays and starts at their first row; values written into them
    later count, unless the arrays had to be converted to float32 (pycaffe refuses such arrays). Nothing is transformed.
    A snapshot holds the place in the arrays, not the arrays themselves: give them again before resuming.
    Source: the original's memory_data_layer.cpp, and naibaf7's for dim.
    """

    kind = Kind.DATA
    formula = r"y_n = \text{row}_n"
    bottoms = (0, 0)
    tops = (1, 2)
    reads_fork_fields = ("MemoryDataParameter.dim",)
    data: np.ndarray | None = None
    labels: np.ndarray
    next = 0

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.memory_data_param
        sizes = list(p.dim) or [p.batch_size, p.channels, p.height, p.width]
        if min(sizes) < 1:
            names = "the sizes in dim" if p.dim else "batch_size, channels, height, width"
            self.error(f"{names} are {tuple(sizes)}", "Give memory_data_param each of them, at least 1")
        self.batch_size, *self.row = sizes
        self.label = [1] * (len(self.row) if p.dim else 3)
        for blob, shape in zip(top, (sizes, [self.batch_size, *(self.label if p.dim else ())]), strict=False):
            blob.Reshape(shape)

    def set_input_arrays(self, data: ArrayLike, labels: ArrayLike | None = None) -> None:
        """Take these rows from now on: data (n, C, H, W), labels (n) or (n, 1, 1, 1), n a multiple of batch_size."""
        try:
            data = np.asarray(data, np.float32)
            labels = np.zeros(len(data)) if labels is None and len(self.param.top) == 1 else labels
            labels = np.asarray(labels, np.float32)
        except (TypeError, ValueError) as error:
            self.error(f"data and labels must be arrays of numbers: {error}")
        if not data.ndim or list(data.shape[1:]) != self.row:
            self.error(
                f"data is of shape {data.shape}, not ({', '.join(map(str, ['n', *self.row]))})",
                "Reshape it, or change memory_data_param",
            )
        if labels.size != len(data) or labels.shape[:1] != data.shape[:1]:
            self.error(f"labels is of shape {labels.shape}, data has {len(data)} rows", "Give one label per row")
        if not len(data) or len(data) % self.batch_size:
            self.error(
                f"there are {len(data)} rows, which is no multiple of batch_size {self.batch_size}",
                "Leave some out, or fill up",
            )
        if self.param.HasField("transform_param"):
            logger.warning("%s does not transform array data on Reset()", self.type)
        self.data, self.labels = data, labels.reshape(-1, *self.label)
        self.next = 0

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Do nothing: the tops keep their shapes."""

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if self.data is None:
            self.error(
                "it has no data yet", "In a script, call net.set_input_arrays(data, labels) before the first pass"
            )
        rows = slice(self.next, self.next + self.batch_size)
        for blob, array in zip(top, (self.data, self.labels), strict=False):
            blob.Reshape(array[rows].shape)
            blob.data = self.ops.asarray(array[rows])
        self.next = rows.stop % len(self.data)

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Do nothing: the layer has no bottoms."""

    def state(self) -> dict[str, Any]:
        return {"next": self.next, "rows": 0 if self.data is None else len(self.data)}

    def restore_state(self, state: Any) -> None:
        if not isinstance(state, dict) or state.get("rows") != self.state()["rows"]:
            self.error(
                "the snapshot was made with other arrays, or with none",
                "Call net.set_input_arrays with the same arrays before resuming",
            )
        self.next = int(state["next"])
