"""HDF5Data: rows of arrays of any shape, from HDF5 files."""

from __future__ import annotations

from typing import NoReturn

from ..blobs.unknown import Undetermined
from ..data.hdf5 import HDF5Batches
from ..layer import register_layer
from ..logs.log import logger
from .common.batch_layer import BatchLayer


@register_layer("HDF5Data")
class HDF5DataLayer(BatchLayer):
    """Rows of the datasets that the tops are named after, file by file, over and over again.

    Tops: any number, each (N, ...) with the shape of a row of its dataset. Datasets hold numbers of any type.
    Reads ``hdf5_data_param``: source, a text file that lists HDF5 files; batch_size; shuffle (false), which puts the
    files, and the rows inside each, into another order in each epoch. ``data_param``: prefetch (4).
    Paths are relative to the working directory or, unlike in the original, to the folder of the prototxt.
    The original does not read ahead, and where a file has no rows, or rows of another shape than the files before, it
    reads other memory; here such a file is an error. As in the original, transform_param is refused.
    Source: the original's hdf5_data_layer.cpp.
    """

    formula = r"y_n = \text{row}_n"
    tops = (1, None)

    def foresee(self) -> NoReturn:
        """Check the parameters, then raise Undetermined: only the files tell the shapes of rows."""
        self._check()
        raise Undetermined

    def open(self) -> HDF5Batches:
        p = self.param.hdf5_data_param
        self._check()
        logger.info("Loading list of HDF5 filenames from: %s", p.source)
        batches = HDF5Batches(p.source, self.param.top, p.batch_size, self.new_generator(), p.shuffle, self.where)
        logger.info("Number of HDF5 files: %d", len(batches.paths))
        return batches

    def _check(self) -> None:
        self.check_source("hdf5_data_param")
        if self.param.HasField("transform_param"):
            self.error("HDF5Data transforms nothing", "Remove transform_param; transform the data before storing it")
