"""HDF5 files that grow: they are complete at every moment, whatever happens to the process that writes them."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from caffe_lite.errors import CaffeError
from caffe_lite.files.hdf5_rows import GrowingHDF5

h5py = pytest.importorskip("h5py")

ROWS = 20
# Endless passes; each writes rows that hold its number. The first two print a line each.
ENDLESS = f"""
import itertools, sys, numpy as np
from caffe_lite.files.hdf5_rows import GrowingHDF5
output = GrowingHDF5("out.h5")
for number in itertools.count():
    output.append({{"data": np.full(({ROWS}, 500), number, "f4"), "label": np.full(({ROWS}, 1), number, "f4")}})
    print(number, flush=True)
"""


def rows(number: int, width: int = 500) -> dict[str, np.ndarray]:
    return {"data": np.full((ROWS, width), number, np.float32), "label": np.full((ROWS, 1), number, np.float32)}


def passes(path: Path) -> int:
    """Return the number of passes in the file, each of which must be complete."""
    with h5py.File(path) as file:
        data, label = file["data"][()], file["label"][()]
    numbers = np.arange(len(label) // ROWS).repeat(ROWS)[:, None]
    assert (label == numbers).all()
    assert data.shape == (len(label), data.shape[1])
    assert (data == numbers).all()
    return len(label) // ROWS


@pytest.mark.parametrize("width", [1, 500, 70_000])
def test_rows_in_every_pass(tmp_path: Path, width: int) -> None:
    output = GrowingHDF5(str(tmp_path / "out.h5"))
    for number in range(7):
        output.append(rows(number, width))
        assert passes(tmp_path / "out.h5") == number + 1
        assert output.shapes == {"data": (ROWS * (number + 1), width), "label": (ROWS * (number + 1), 1)}
        assert len(os.listdir(tmp_path)) == (2 if number else 1)
    output.close()
    assert os.listdir(tmp_path) == ["out.h5"]


def test_the_hidden_file_goes_with_its_writer(tmp_path: Path) -> None:
    output = GrowingHDF5(str(tmp_path / "out.h5"))
    for number in range(3):
        output.append(rows(number))
    del output
    assert os.listdir(tmp_path) == ["out.h5"]


def test_a_reader_keeps_what_it_has_opened(tmp_path: Path) -> None:
    output = GrowingHDF5(str(tmp_path / "out.h5"))
    for number in range(3):
        output.append(rows(number))
    with h5py.File(tmp_path / "out.h5") as file:
        for number in range(3, 8):
            output.append(rows(number))
            assert passes(tmp_path / "out.h5") == number + 1
            assert (file["data"][:, 0] == np.arange(3).repeat(ROWS)).all()


def test_where_a_file_has_one_name_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    output = GrowingHDF5(str(tmp_path / "out.h5"))
    for number in range(4):
        output.append(rows(number))
        assert passes(tmp_path / "out.h5") == number + 1
        assert os.listdir(tmp_path) == ["out.h5"]


def test_the_hidden_file_is_removed_by_others(tmp_path: Path) -> None:
    output = GrowingHDF5(str(tmp_path / "out.h5"))
    for number in range(5):
        output.append(rows(number))
        for file in tmp_path.glob(".*"):
            file.unlink()
    assert passes(tmp_path / "out.h5") == 5


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    try:
        (tmp_path / "out.h5").symlink_to(tmp_path / "deep" / "file.h5")
    except OSError as error:
        pytest.skip(str(error))
    output = GrowingHDF5(str(tmp_path / "out.h5"))
    for number in range(3):
        output.append(rows(number))
    assert (tmp_path / "out.h5").is_symlink()
    assert passes(tmp_path / "deep" / "file.h5") == 3


def kill(folder: Path, after: float) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    child = subprocess.Popen([sys.executable, "-c", ENDLESS], cwd=folder, env=environment, stdout=subprocess.PIPE)
    with child:
        assert child.stdout.readline() == b"0" + os.linesep.encode()
        time.sleep(after)
        child.kill()


@pytest.mark.parametrize("count", [4, pytest.param(25, marks=pytest.mark.slow)])
def test_killed_at_any_moment(tmp_path: Path, count: int) -> None:
    rng = random.Random()
    seen = set()
    for _ in range(count):
        kill(tmp_path, rng.random() / 4)
        seen.add(passes(tmp_path / "out.h5"))
    assert max(seen) > 1
    output = GrowingHDF5(str(tmp_path / "out.h5"))
    output.append(rows(0))
    if os.name != "nt":  # on Windows, the leftover is too young to be removed
        assert os.listdir(tmp_path) == ["out.h5"]


def fill(output: GrowingHDF5) -> None:
    for number in range(100):
        output.append(rows(number))


@pytest.mark.parametrize("step", [30_000, pytest.param(3000, marks=pytest.mark.slow)])
def test_a_full_disk(tmp_path: Path, step: int) -> None:
    """The file stays as it was after the last pass that had room, and the process survives."""
    resource = pytest.importorskip("resource", reason="the limit of a file's size is POSIX's")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in range(0, 5 * ROWS * 2004, step):
        path = tmp_path / str(limit) / "out.h5"
        path.parent.mkdir()
        output = GrowingHDF5(str(path))
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            with pytest.raises(CaffeError, match=r"out\.h5: cannot write this file: File too large"):
                fill(output)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        number = output.shapes.get("label", (0,))[0] // ROWS
        assert path.exists() == bool(number)
        if number:
            assert passes(path) == number
            output.append(rows(number))  # there is room again
            assert passes(path) == number + 1
        output.close()
        assert os.listdir(path.parent) == (["out.h5"] if number else [])
