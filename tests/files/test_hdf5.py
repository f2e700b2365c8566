"""Damaged HDF5 files, some of which crash the library."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from caffe_lite.errors import DataError
from caffe_lite.files import hdf5
from caffe_lite.files.hdf5 import new_hdf5, open_hdf5

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


def read(path: Path, *names: str) -> None:
    with open_hdf5(path, DataError) as file:
        for name in names:
            file.array(name)


def test_the_process_that_tries_a_file_runs_nothing_from_the_current_directory(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", "")  # an empty entry is the current directory
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    for name in ("h5py", "numpy", "random", "contextlib", "sitecustomize", "caffe_lite"):
        (folder / f"{name}.py").write_text("open('ran', 'w').close()")
    hdf5._survive.cache_clear()
    hdf5._survive(str(path), 0, 0)
    assert not (folder / "ran").exists()


def test_an_older_library_is_tried_in_a_process_of_its_own(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "_NEVER_CRASHES", (99, 0, 0))
    with open_hdf5(path, DataError) as file:
        assert np.array_equal(file.array("a/b/numbers"), np.arange(6))
    monkeypatch.setattr(hdf5, "_READ_ALL", "import os, sys; assert os.path.isfile(sys.argv[1]); os._exit(139)")
    hdf5._survive.cache_clear()
    with pytest.raises(DataError, match="the HDF5 library crashes over it"), open_hdf5(path, DataError):
        pass
    hdf5._survive.cache_clear()


# -- forbidden links and false claims ----------------------------------------------------------------------------------


def test_links_inside_the_file_are_followed(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["soft"] = h5py.SoftLink("a/b")
        file["a/up"] = h5py.SoftLink("/soft/numbers")
        file["hard"] = file["a/b/numbers"]
    with open_hdf5(path, DataError) as file:
        for name in ("soft/numbers", "a/up", "hard", "/a/./b//numbers"):
            assert np.array_equal(file.array(name), np.arange(6))
        assert file.find("a/b/numbers/x") is None
        assert file.find("a/up/x") is None
        assert set(file.names()) == {"a", "packed", "late", "soft", "hard"}


def test_links_around_in_a_circle(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["one"], file["two"] = h5py.SoftLink("/two/x"), h5py.SoftLink("/one")
    with pytest.raises(DataError, match="is a link to too many others"):
        read(path, "one")
    with h5py.File(path, "a") as file:
        file["l0"] = h5py.SoftLink("/a/b")
        file["a/b/up"] = file["/"]
        for number in range(1, 12):
            file[f"l{number}"] = h5py.SoftLink("/up/".join([f"l{number - 1}"] * 99))
    with pytest.raises(DataError, match="is a link to too many others"):  # 99 ** 11 of them
        read(path, "l11")


@pytest.mark.parametrize("name", ["out", "out/b/numbers", "through", "a/deeper/out/b/numbers", "a/far"])
def test_links_to_other_files_are_refused(path: Path, name: str) -> None:
    """Links to files that do not exist or would never end are refused, too."""
    other = path.with_name("other.h5")
    path.rename(other)
    with h5py.File(path, "w") as file:
        file["out"] = h5py.ExternalLink("other.h5", "/a")
        file["a/deeper/out"] = h5py.ExternalLink(os.devnull, "/a")
        file["through"] = h5py.SoftLink("/out/b/numbers")
        file["a/far"] = h5py.SoftLink("deeper/out")
    with pytest.raises(DataError, match=r"a\.h5: /(out|a/deeper/out) is a link to another file\. Only what a file"):
        read(path, name)


def test_values_in_other_files_are_refused(path: Path) -> None:
    (path.parent / "raw").write_bytes(bytes(80))
    layout = h5py.VirtualLayout((6,), "i8")
    layout[:] = h5py.VirtualSource("a.h5", "a/b/numbers", (6,))
    with h5py.File(path, "a") as file:
        file.create_dataset("raw", (10,), "f8", external=[("raw", 0, 80)])
        file.create_virtual_dataset("virtual", layout)
    for name in ("raw", "virtual"):
        with pytest.raises(DataError, match=rf"a\.h5: the values of /{name} are stored in other files"):
            read(path, name)


def test_references_are_refused(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["ref"] = file["a"].ref
        file["region"] = np.array([file["packed"].regionref[:2]], h5py.regionref_dtype)
    for name in ("ref", "region"):
        with pytest.raises(DataError, match=f"/{name} is no array of numbers"):
            read(path, name)
        with pytest.raises(DataError, match=f"{name} is no text"), open_hdf5(path, DataError) as file:
            file.text(name)


def test_text(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["fixed"] = np.array(b"abc", "S9")
        file["nothing"] = h5py.Empty("S9")
        file.create_dataset("huge", (), "S2000000000")
    with open_hdf5(path, DataError) as file:
        assert file.text("a/text") == file.text("fixed") == b"abc"
    for name in ("a", "a/b/numbers", "nothing", "huge", "no"):
        with pytest.raises(DataError), open_hdf5(path, DataError) as file:
            file.text(name)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (100, 100)},
        {"chunks": (100, 100), "compression": "gzip"},
        {"chunks": (1000, 2**16), "compression": "lzf"},
    ],
)
def test_values_that_were_never_written(path: Path, options: dict) -> None:
    """Such values are read as the file declares them; more than the file could hold are refused."""
    with h5py.File(path, "a") as file:
        file.create_dataset("large", (2**20, 2**20), "f4", **options)
        if options.get("chunks", (0, 0))[1] <= 1000:
            file.create_dataset("small", (300, 400), "f4", fillvalue=7, **options)
    with open_hdf5(path, DataError) as file:
        if file.find("small") is not None:
            assert (file.array("small") == 7).all()
    with pytest.raises(DataError, match=r"/large of the shape \(1048576, 1048576\) is larger than the file"):
        read(path, "large")


def test_a_chunk_larger_than_its_dataset(path: Path) -> None:
    """HDF5 allocates memory for the whole chunk, even to read two values."""
    with h5py.File(path, "a") as file:
        file.create_dataset("two", (2,), "f4", chunks=(2**29,), maxshape=(None,), compression="gzip")
    with pytest.raises(DataError, match=r"/two of the shape .* is larger than the file"):
        read(path, "two")


def test_many_names_of_one_dataset(path: Path) -> None:
    """Layers may share blobs, but a file of 8 MB is not read as 800 MB."""
    with h5py.File(path, "w") as file:
        file["0"] = np.zeros(2**20)
        for number in range(1, 100):
            file[str(number)] = file["0"]
    with open_hdf5(path, DataError) as file:
        for number in range(3):
            assert file.array(str(number)).shape == (2**20,)
    with pytest.raises(DataError, match="is larger than the file"):
        read(path, *map(str, range(100)))


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "gzip"},
        {"compression": "gzip", "shuffle": True, "fletcher32": True, "chunks": (3000, 1000)},
        {"compression": "gzip", "chunks": (3000, 1000)},
        {"compression": "lzf", "chunks": (3000, 1000)},
        {"compression": "gzip", "scaleoffset": 0, "chunks": (3000, 1000)},
        {"scaleoffset": 0},
        {"shuffle": True},
        {"fletcher32": True},
    ],
)
def test_compressed_datasets_are_read(path: Path, options: dict) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 2**15, (3000, 1000), np.int32)
    with h5py.File(path, "a") as file:
        file.create_dataset("noise", data=noise, **options)
        file.create_dataset("zeros", data=np.zeros_like(noise), **options)
    with open_hdf5(path, DataError) as file:
        assert (file.array("noise") == noise).all()
        assert (file.array("zeros") == 0).all()


def test_a_chunk_that_unpacks_to_more_than_it_says(path: Path) -> None:
    """The chunk has 300 MB in a megabyte; memory use stays below 300 MB."""
    stream = zlib.compressobj(9)
    bomb = b"".join([stream.compress(bytes(2**20)) for _ in range(300)] + [stream.flush()])
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("x", (2**18,), "f4", chunks=(2**18,), compression="gzip")
        dataset.id.write_direct_chunk((0,), bomb)
    script = (
        "import resource, sys\nfrom caffe_lite.files.hdf5 import open_hdf5\nfrom caffe_lite.errors import DataError\n"
        "import h5py, numpy\nbefore = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    with open_hdf5(sys.argv[1], DataError) as file:\n        file.array('x')\n"
        "except DataError as error:\n    print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    pytest.importorskip("resource")
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, timeout=60)
    message, grown = done.stdout.splitlines()
    assert "a chunk of /x holds more than its 1,048,576 bytes" in message
    assert int(grown) < 60_000 * (1024 if sys.platform == "darwin" else 1)


def test_deflated_twice(path: Path) -> None:
    """1032 times 1032 bytes from each byte would be possible."""
    with h5py.File(path, "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((2**20,))
        properties.set_deflate(1)
        properties.set_deflate(1)
        space = h5py.h5s.create_simple((2**20,))
        dataset = h5py.Dataset(h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_INT32, space, properties))
        dataset[:] = np.random.default_rng(0).integers(0, 2**31, 2**20)
    with pytest.raises(DataError, match="/x is compressed more than once"):
        read(path, "x")


# -- writing -----------------------------------------------------------------------------------------------------------


def test_a_new_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with new_hdf5(path) as file:
        file["x"] = np.arange(5)
        assert not path.exists()
    with h5py.File(path) as file:
        assert (file["x"][()] == range(5)).all()
    before = path.read_bytes()

    def fail() -> None:
        with new_hdf5(path) as file:
            file["x"] = np.arange(7)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.h5"]


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is Linux's")
def test_a_new_file_that_memory_does_not_hold(tmp_path: Path) -> None:
    """There is one error, and the process ends normally."""
    script = (
        "import resource, numpy as np\nfrom caffe_lite.errors import CaffeError\n"
        "from caffe_lite.files.hdf5 import import_h5py, new_hdf5\nimport_h5py()\narray = np.ones(2**22)\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "limit = pages * resource.getpagesize() + 2**27\nresource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "try:\n    with new_hdf5('a.h5') as file:\n"
        "        for number in range(9):\n            file[str(number)] = array\n"
        "except CaffeError as error:\n    print(error)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("a.h5: there is not the memory to make this HDF5 file. It takes as much")
    assert os.listdir(tmp_path) == []
