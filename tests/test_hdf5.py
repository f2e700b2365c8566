"""HDF5 files that are damaged, and libraries that do not survive them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe_lite import hdf5
from caffe_lite.errors import DataError
from caffe_lite.hdf5 import open_hdf5

h5py = pytest.importorskip("h5py")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a/b/numbers"] = np.arange(6)
        file["a/text"] = "abc"
        file.create_dataset("packed", data=np.zeros((400, 500)), compression="gzip")
        file["late"] = h5py.SoftLink("/nowhere")
    return tmp_path / "a.h5"


def test_groups_and_arrays(path: Path) -> None:
    with open_hdf5(path, DataError) as file:
        found = {name: sorted(others) for name, _, others in file.groups_below(file.find("a"))}
        assert found == {"": ["text"], "b": ["numbers"]}
        assert np.array_equal(file.array("a/b/numbers"), np.arange(6))
        assert file.array("packed").shape == (400, 500)  # far more than the file's bytes


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a/text", "/a/text is no array of numbers"),
        ("a", "/a is no array of numbers"),
        ("b", "there is no b"),
    ],
)
def test_whatever_h5py_raises_becomes_one_error(path: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"a\.h5: the HDF5 file is damaged or cut short: .*{message}"):
        read(path, name)


def test_a_link_that_leads_nowhere(path: Path) -> None:
    with pytest.raises(DataError, match="a link in it leads nowhere"), open_hdf5(path, DataError) as file:
        file.array(file.find("late"))


def test_a_file_cut_short_or_not_there(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:900])
    for file in (path, path.with_name("missing")):
        with pytest.raises(DataError, match=f"{file.name}: the HDF5 file is damaged"):
            read(file, "a")


def read(path: Path, name: str) -> None:
    with open_hdf5(path, DataError) as file:
        file.array(name)


def test_an_older_library_is_tried_in_a_process_of_its_own(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "_NEVER_CRASHES", (99, 0, 0))
    with open_hdf5(path, DataError) as file:
        assert np.array_equal(file.array("a/b/numbers"), np.arange(6))
    monkeypatch.setattr(hdf5, "_READ_ALL", "import os, sys; assert os.path.isfile(sys.argv[1]); os._exit(139)")
    hdf5._survive.cache_clear()
    with pytest.raises(DataError, match="the HDF5 library crashes over it"), open_hdf5(path, DataError):
        pass
    hdf5._survive.cache_clear()
