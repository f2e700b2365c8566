"""New databases of both kinds: either complete or absent."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from caffe_lite.data.databases.opening import open_database
from caffe_lite.data.databases.writing import WRITERS, new_database
from caffe_lite.errors import DataError, MissingExtra
from caffe_lite.proto import caffe_pb2
from tests.data.database_files import Record

FILES = {"lmdb": {"data.mdb"}, "leveldb": {"CURRENT", "MANIFEST-*", "*.ldb", "*.log"}}

backends = pytest.mark.parametrize("backend", WRITERS)


def read(path: Path, backend: str) -> list[Record]:
    database = open_database(str(path), caffe_pb2.DataParameter.DB.Value(backend.upper()))
    try:
        return list(database.records())
    finally:
        database.close()


def numbered(count: int, size: int) -> Iterator[Record]:
    rng = random.Random(0)
    return ((b"%08d" % i, rng.randbytes(size)) for i in range(count))


def write(path: Path, backend: str, records: Iterable[Record]) -> None:
    with new_database(str(path), backend) as put:
        for key, value in records:
            put(key, value)


@backends
@pytest.mark.parametrize(("count", "size"), [(1, 0), (999, 50), (5000, 800), (40, 1_500_000)])
def test_what_is_put_is_read(tmp_path: Path, backend: str, count: int, size: int) -> None:
    records = list(numbered(count, size))
    write(tmp_path / "db", backend, records)
    assert read(tmp_path / "db", backend) == records
    names = [file.name for file in (tmp_path / "db").iterdir()]
    assert all(any(Path(name).match(pattern) for pattern in FILES[backend]) for name in names)
    assert [path.name for path in tmp_path.iterdir()] == ["db"]
    assert sum(file.stat().st_size for file in (tmp_path / "db").iterdir()) < 1.25 * count * (size + 30) + 20_000


@backends
def test_keys_in_any_order_and_the_last_of_equals(tmp_path: Path, backend: str) -> None:
    records = list(numbered(3000, 9))
    mixed = random.Random(1).sample(records, len(records))
    write(tmp_path / "db", backend, [(key, b"old") for key, _ in mixed[::3]] + mixed)
    assert read(tmp_path / "db", backend) == records


@backends
def test_what_is_there_stays(tmp_path: Path, backend: str) -> None:
    (tmp_path / "db").write_text("mine")
    with pytest.raises(DataError, match=r"db: it exists already\. Remove it, or choose another name"):
        write(tmp_path / "db", backend, list(numbered(3, 3)))
    assert (tmp_path / "db").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["db"]


@backends
def test_what_has_come_meanwhile_stays(tmp_path: Path, backend: str) -> None:
    def records() -> Iterator[Record]:
        yield b"key", b"value"
        (tmp_path / "db").mkdir()

    with pytest.raises(DataError, match="it exists already"):
        write(tmp_path / "db", backend, records())
    assert [path.name for path in tmp_path.iterdir()] == ["db"]
    assert list((tmp_path / "db").iterdir()) == []


@backends
@pytest.mark.parametrize("error", [DataError("broken"), KeyboardInterrupt(), ZeroDivisionError()])
def test_nothing_is_left_of_what_fails(tmp_path: Path, backend: str, error: BaseException) -> None:
    def records() -> Iterator[Record]:
        yield from numbered(2500, 10)
        raise error

    with pytest.raises(type(error)) as caught:
        write(tmp_path / "db", backend, records())
    assert caught.value is error
    assert getattr(error, "where", None) is None
    assert list(tmp_path.iterdir()) == []


@backends
def test_a_missing_folder(tmp_path: Path, backend: str) -> None:
    with pytest.raises(DataError, match=r"cannot write it: No such .*Make the folder first: mkdir -p .*deeper"):
        write(tmp_path / "deeper" / "db", backend, [])


def test_long_keys(tmp_path: Path) -> None:
    records = [(b"k" * 511, b"1"), (b"l" * 512, b"2")]
    write(tmp_path / "leveldb", "leveldb", records)
    assert read(tmp_path / "leveldb", "leveldb") == records
    with pytest.raises(
        DataError, match=r"lmdb: an LMDB takes keys of 1 to 511 bytes, this one has 512: b'lll.*LevelDB"
    ):
        write(tmp_path / "lmdb", "lmdb", records)
    assert not (tmp_path / "lmdb").exists()


@backends
def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path, backend: str) -> None:
    script = (
        "import time\nfrom caffe_lite.data.databases.writing import new_database\n"
        f"with new_database('db', {backend!r}) as put:\n"
        "    for i in range(2000):\n        put(b'%08d' % i, bytes(1000))\n"
        "    print('written', flush=True)\n    time.sleep(60)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    child = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, env=environment, stdout=subprocess.PIPE)
    with child:
        if not child.stdout.readline().startswith(b"written"):
            pytest.skip(f"no {backend} here")
        child.kill()
    (left,) = tmp_path.iterdir()
    if os.name == "nt":
        for path in (*left.iterdir(), left):
            os.utime(path, (0, 0))
    write(tmp_path / "db", backend, numbered(3, 3))
    assert [path.name for path in tmp_path.iterdir()] == ["db"]


@backends
@pytest.mark.skipif(os.name == "nt", reason="the limit of a file's size is POSIX's")
def test_a_full_disk(tmp_path: Path, backend: str) -> None:
    """A process that may only write files of 300 kB fails as on a full disk."""
    script = (
        "import random, resource, signal\n"
        "from caffe_lite.data.databases.writing import new_database\nfrom caffe_lite.errors import DataError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "try:\n"
        f"    with new_database('db', {backend!r}) as put:\n"
        "        for i in range(2000):\n"
        "            put(b'%08d' % i, random.randbytes(1000))\n"
        "except DataError as error:\n"
        "    print(error)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    if "MissingExtra" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("db: cannot write it: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("backend", "modules", "extra"), [("lmdb", ["lmdb"], "data"), ("leveldb", ["plyvel", "plyvel_next"], "leveldb")]
)
def test_a_missing_package_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, modules: list[str], extra: str
) -> None:
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=rf"pip install 'caffe-lite\[{extra}\]'"):
        write(tmp_path / "db", backend, [])
    assert list(tmp_path.iterdir()) == []
