"""HDF5Output: writes two blobs to an HDF5 file."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..errors import CaffeError
from ..files.hdf5 import import_h5py
from ..files.hdf5_rows import GrowingHDF5
from ..files.paths import system_path
from ..layer import Kind, Layer, register_layer
from ..logs.log import logger
from ..proto.caffe_pb2 import TRAIN
from ..ranks import training_share


@register_layer("HDF5Output")
class HDF5OutputLayer(Layer):
    """Writes its bottoms as the datasets data and label.

    Bottoms: two of any shapes (N, ...), written with trailing 1s so that they have at least four axes. Tops: none.
    Reads ``hdf5_output_param``: file_name.
    The first pass makes the file, and each later one appends its rows; the original dies at the second. The file is
    complete at every moment, with the rows of one pass more or less, even if the process is killed; a hidden second
    file of the same size lies beside it until the net is closed. The original empties the file as soon as a net is
    made, and takes at most four axes.
    Source: the original's hdf5_output_layer.cpp.
    """

    kind = Kind.LOSS
    formula = r"\text{file} \leftarrow (x_{\text{data}}, x_{\text{label}})"
    bottoms = (2, 2)
    tops = (0, 0)
    repeatable = False

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._check_name()
        self.check_undivided("it writes all batches into one file")
        if self.phase == TRAIN and training_share().count > 1:
            self.error("several workers train, and would write into one file", "Give it include { phase: TEST }")
        folder = os.path.dirname(os.path.abspath(self.file))
        if not os.path.isdir(folder):
            self.error(f"there is no folder for file_name {self.file!r}", f"Make it first: mkdir -p {folder}")
        import_h5py()
        self.output = GrowingHDF5(self.file)

    def outline(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._check_name()
        self.Reshape(bottom, top)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        data, label = (_four_axes(blob.shape) for blob in bottom)
        if data[0] != label[0]:
            self.error(f"its bottoms have {data[0]} and {label[0]} rows", "Give it two blobs of one batch")

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.ops.inspect(bottom[0].data, self._keep)
        self.ops.inspect(bottom[1].data, self._save)

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        for blob, needed in zip(bottom, propagate_down, strict=True):
            if needed:
                blob.clear_diff()

    def close(self) -> None:
        if hasattr(self, "output"):  # unless Setup raised an error
            self.output.close()

    def _check_name(self) -> None:
        self.file = system_path(self.param.hdf5_output_param.file_name)
        if not self.file:
            self.error("there is no file_name", "Give hdf5_output_param a file_name")

    def _keep(self, data: np.ndarray) -> None:
        self.data = data

    def _save(self, label: np.ndarray) -> None:
        arrays = {"data": self.data, "label": label}
        arrays = {name: array.reshape(_four_axes(array.shape)) for name, array in arrays.items()}
        for name, shape in self.output.shapes.items():
            if shape[1:] != arrays[name].shape[1:]:
                self.error(
                    f"dataset {name} of {self.file!r} has shape {shape} after {shape[0]} rows, "
                    f"which {arrays[name].shape} does not fit behind",
                    "Write blobs of one shape to a file",
                )
        logger.info("Saving HDF5 file %s", self.file)
        try:
            self.output.append(arrays)
        except CaffeError:
            raise
        except Exception as error:  # h5py raises exceptions of almost any type
            self.error(f"cannot write {self.file!r}: {error or type(error).__name__}")
        logger.info("Successfully saved %d rows", len(arrays["label"]))


def _four_axes(shape: Sequence[int]) -> tuple[int, ...]:
    return (*shape, *(1 for _ in range(len(shape), 4)))
