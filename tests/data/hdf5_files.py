"""HDF5 files, and lists of them, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest


def write_hdf5(path: Path, **datasets: np.ndarray) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, array in datasets.items():
            file[name] = array


def hdf5_list(folder: Path, rows: Sequence[int]) -> Path:
    """Write files part0.h5, ... of so many rows, and ``list.txt``; the label and the data of a row are its number."""
    first = 0
    paths = [folder / f"part{i}.h5" for i in range(len(rows))]
    for path, count in zip(paths, rows, strict=True):
        numbers = np.arange(first, first + count, dtype=np.float32)
        write_hdf5(path, data=numbers[:, None, None] + np.zeros((2, 3), np.float32), label=numbers)
        first += count
    source = folder / "list.txt"
    source.write_text("".join(f"{path.as_posix()}\n" for path in paths), encoding="utf-8")
    return source
