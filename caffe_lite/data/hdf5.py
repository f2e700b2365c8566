"""Rows of arrays from HDF5 files that a text file lists."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import DataError, Where
from ..files.hdf5 import SIGNATURE, HDF5File, open_hdf5
from .batches import Batch, Batches
from .order import Order, Place
from .paths import read_lines, resolve, searched
from .transform import Shape, by

# The first line that read_lines finds if it gets an HDF5 file instead of a list.
_FIRST_LINE = SIGNATURE.decode(errors="surrogateescape").split("\r")[0]


class HDF5Batches(Batches):
    """``batch_size`` rows at a time of the datasets with these names; one file is in memory at a time."""

    def __init__(
        self,
        source: str,
        names: Sequence[str],
        batch_size: int,
        rng: np.random.Generator,
        shuffle: bool,
        where: Where | None,
    ) -> None:
        self.names = names
        self.batch_size = batch_size
        self.rng = rng
        self.order_rng = rng if shuffle else None
        file = resolve(source, where)
        self.paths: list[str] = []
        for number, line in read_lines(source, where, "hdf5_data_param"):
            if number == 1 and line == _FIRST_LINE:
                raise DataError(
                    "this is an HDF5 file, not a list of them", where=Where(file), hint="List it in a text file"
                )
            self.paths += [_existing(path, where, Where(file, number, 1)) for path in line.split()]
        if not self.paths:
            raise DataError("the list of HDF5 files is empty", where=Where(file), hint="Write a path on each line")
        self.row_shapes: list[Shape] = []
        self.files = Order(f"HDF5 files in {file!r}", len(self.paths), self.order_rng)
        self._load_file()

    def shapes(self) -> list[Shape]:
        return [(self.batch_size, *shape) for shape in self.row_shapes]

    def load(self) -> Batch:
        pieces = []
        missing = self.batch_size * self.share.count
        wanted = np.array(self.share.of(range(missing)), int) - missing
        while missing:
            count = min(missing, self.rows.left)
            last = count == self.rows.left
            rows = np.array(self.rows.take(count))
            rows = rows[wanted[(wanted >= -missing) & (wanted < count - missing)] + missing]
            pieces.append([array[rows] for array in self.arrays])
            missing -= count
            if last and len(self.paths) > 1:
                self.files.take(1)
                self._load_file()
        return Batch(tuple(map(np.concatenate, zip(*pieces, strict=True))), self.state())

    def place(self) -> Place:
        return {"files": self.files.place(), "rows": self.rows.place()}

    def seek(self, place: Place) -> None:
        self.files.seek(place["files"])
        self._load_file()
        self.rows.seek(place["rows"])

    def _load_file(self) -> None:
        """Read the next file, whose rows must have the shapes of the rows before."""
        path = self.paths[self.files.peek()]
        self.arrays = read_datasets(path, self.names)
        shapes = [array.shape[1:] for array in self.arrays]
        for name, shape, wanted in zip(self.names, shapes, self.row_shapes or shapes, strict=True):
            if shape != wanted:
                raise DataError(
                    f"a row of {name!r} is {by(shape) or 'a number'}, in the files before {by(wanted) or 'a number'}",
                    where=Where(path),
                    hint="All files of a list need rows of one shape",
                )
        self.row_shapes = shapes
        self.rows = Order(f"rows in {path!r}", len(self.arrays[0]), self.order_rng)


def read_datasets(path: str, names: Sequence[str]) -> list[np.ndarray]:
    """Read the datasets with these names as float32; all must have the same number of rows."""
    where = Where(path)
    with open_hdf5(path, DataError) as file:
        arrays = [_read(file, name, where) for name in names]
    for name, array in zip(names, arrays, strict=True):
        if len(array) != len(arrays[0]):
            raise DataError(
                f"dataset {name!r} has {len(array)} rows, {names[0]!r} has {len(arrays[0])}",
                where=where,
                hint="Each row of one belongs to the same row of the others",
            )
    if not len(arrays[0]):
        raise DataError("its datasets have no rows", where=where, hint="Take it out of the list")
    return arrays


def _read(file: HDF5File, name: str, where: Where) -> np.ndarray:
    dataset = file.find(name)
    if not hasattr(dataset, "shape"):  # a group, or missing
        raise DataError(
            f"it has no dataset {name!r}; it holds {', '.join(file.names()) or 'nothing'}",
            where=where,
            hint="Each top of the layer is read from the dataset of its name",
        )
    if dataset.dtype.kind not in "fiu" or not dataset.shape:
        raise DataError(
            f"dataset {name!r} is of type {dataset.dtype} and shape {dataset.shape}, not rows of numbers", where=where
        )
    with np.errstate(over="ignore"):  # a double beyond the range of floats becomes infinite, as in the original
        return file.array(dataset).astype(np.float32, copy=False)


def _existing(path: str, where: Where | None, line: Where) -> str:
    """Return the path that ``resolve`` gives; raise DataError unless a file there can be opened."""
    try:
        found = resolve(path, where)
        with open(found, "rb"):
            return found
    except DataError as error:
        raise error.located(line) from None
    except FileNotFoundError:
        raise DataError(
            f"there is no HDF5 file {path!r}: looked for {searched(path, where)}",
            where=line,
            hint="Correct the path; paths in the list must not hold spaces",
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"the HDF5 file {path!r} cannot be read: {reason}", where=line) from error
