"""LevelDBs: the records are those that were written, and the files on disk do not change."""

from __future__ import annotations

import gc
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from caffe_lite.data.databases.leveldb import LevelDB, import_plyvel
from caffe_lite.data.databases.opening import open_database
from caffe_lite.errors import DataError, MissingExtra
from caffe_lite.proto import caffe_pb2
from caffe_lite.ranks import Share
from tests.data.database_files import Record, write_lmdb

LEVELDB = caffe_pb2.DataParameter.LEVELDB
ROOT = Path(__file__).parents[3]

try:
    plyvel = import_plyvel("test")
except MissingExtra as missing:
    pytest.skip(str(missing), allow_module_level=True)

RECORDS = [(b"%06d" % i, b"%d" % i * 40 + random.Random(i).randbytes(60)) for i in range(3000)]


def write_leveldb(path: Path, records: list[Record] = RECORDS, **options: object) -> Path:
    """Write a LevelDB of several tables and a log, as LevelDB leaves it."""
    with plyvel.DB(str(path), create_if_missing=True, write_buffer_size=100_000, **options) as database:
        for key, value in records:
            database.put(key, value)
    return path


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the folders with links where a test can look at them."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_leveldb(tmp_path / "db")


def links(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "temporary").iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def read(path: Path) -> list[Record]:
    database = LevelDB(str(path))
    try:
        return list(database.records())
    finally:
        database.close()


def test_records_are_those_that_were_written(folder: Path) -> None:
    names = [file.suffix for file in folder.iterdir()]
    assert ".ldb" in names and ".log" in names
    assert read(folder) == RECORDS


@pytest.mark.parametrize("compression", [None, "snappy"])
@pytest.mark.parametrize("block_size", [100, 4096, 65536])
def test_every_kind(tmp_path: Path, compression: str | None, block_size: int) -> None:
    path = write_leveldb(tmp_path / "db", RECORDS[::-1], compression=compression, block_size=block_size)
    with plyvel.DB(str(path)) as database:
        database.delete(RECORDS[7][0])
        database.put(RECORDS[8][0], b"new")
    assert read(path) == [*RECORDS[:7], (RECORDS[8][0], b"new"), *RECORDS[9:]]


def test_records_from_a_key_on(folder: Path) -> None:
    database = LevelDB(str(folder))
    assert list(database.records(b"002997")) == RECORDS[2997:]
    assert next(database.records(b"0012")) == RECORDS[1200]
    assert list(database.records(b"9")) == []
    index = database.index()
    assert index == [key for key, _ in RECORDS] and database.find(index[1200]) == RECORDS[1200]


def test_reading_around_and_going_on(folder: Path) -> None:
    database = open_database(str(folder), LEVELDB)
    database.read(2990)
    assert database.read(20) == RECORDS[2990:] + RECORDS[:10]
    other = open_database(str(folder), LEVELDB)
    other.seek(database.position)
    assert other.peek() == RECORDS[10]
    with pytest.raises(DataError, match="has no record b'nine', where training is to go on"):
        other.seek(b"nine")


def test_reading_leaves_the_folder_as_it_was(folder: Path) -> None:
    before = contents(folder)
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)
    try:
        assert read(folder) == RECORDS
        assert contents(folder) == before
    finally:
        folder.chmod(0o755)


def test_many_may_read_one_database(folder: Path) -> None:
    first, second = (LevelDB(str(folder)) for _ in range(2))
    assert next(first.records()) == next(second.records()) == RECORDS[0]
    first.close()
    first.close()
    assert list(second.records()) == RECORDS


@pytest.mark.skipif(os.name == "nt", reason="Windows lets nobody else read the log of an open database")
def test_a_database_in_use_by_another_process(folder: Path) -> None:
    script = (
        "import sys\nfrom caffe_lite.data.databases.leveldb import import_plyvel\n"
        f"database = import_plyvel('test').DB({str(folder)!r})\ndatabase.put(b'zzz', b'new')\n"
        "print('open', flush=True)\nsys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with pytest.raises(plyvel.IOError, match="lock"):
            plyvel.DB(str(folder))
        assert read(folder) == [*RECORDS, (b"zzz", b"new")]


def test_links_go_with_the_database(folder: Path, tmp_path: Path) -> None:
    closed, dropped = LevelDB(str(folder)), LevelDB(str(folder))
    assert len(links(tmp_path)) == 2
    closed.close()
    assert len(links(tmp_path)) == 1
    next(dropped.records())
    del dropped
    gc.collect()
    assert links(tmp_path) == []


def test_without_links_files_are_copied(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: str) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "symlink", refuse)
    monkeypatch.setattr(os, "link", refuse)
    assert read(folder) == RECORDS


@pytest.mark.parametrize("share", [Share(), Share(1, 2)])
def test_a_process_ends_though_a_thread_reads(folder: Path, tmp_path: Path, share: Share) -> None:
    script = (
        "from caffe_lite.data.databases.opening import open_database\nfrom caffe_lite.data.prefetch import Prefetcher\n"
        f"from caffe_lite.ranks import Share\ndatabase = open_database({str(folder)!r}, 0)\n"
        f"Prefetcher.kept = Prefetcher(lambda: database.read(5000, {share!r}), 3)\n"
        "print(len(Prefetcher.kept.get()))\n"
    )
    environment = os.environ | {name: str(tmp_path / "temporary") for name in ("TMPDIR", "TEMP", "TMP")}
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "5000\n", "")
        assert links(tmp_path) == []


def test_without_plyvel_the_error_names_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("plyvel", "plyvel_next"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match=r"to read LevelDB .*pip install 'caffe-lite\[leveldb\]'"):
        open_database(str(folder), LEVELDB)


# -- damage ----------------------------------------------------------------------------------------------------------


def test_what_is_not_a_leveldb_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is not a LevelDB: .* no.*file CURRENT in it\. Give the folder"):
        open_database(str(tmp_path), LEVELDB)
    with pytest.raises(DataError, match=r"It is an LMDB: write `backend: LMDB` in data_param \(LEVELDB is the default"):
        open_database(str(write_lmdb(tmp_path / "lmdb", RECORDS[:3])), LEVELDB)
    with pytest.raises(DataError, match="there is no database"):
        open_database(str(tmp_path / "nothing"), LEVELDB)


def test_an_empty_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no records"):
        open_database(str(write_leveldb(tmp_path / "db", [])), LEVELDB)
    assert links(tmp_path) == []


def table(folder: Path) -> Path:
    return min(folder.glob("*.ldb"))


def test_a_missing_table_is_named(folder: Path, tmp_path: Path) -> None:
    missing = table(folder)
    missing.unlink()
    with pytest.raises(DataError) as caught:
        LevelDB(str(folder))
    assert f"the LevelDB {str(folder)!r} cannot be read: Corruption: 1 missing files; e.g.: {missing}" in str(
        caught.value
    )
    assert "Copy it again" in str(caught.value)
    assert links(tmp_path) == []


def test_a_damaged_value_is_noticed(folder: Path) -> None:
    content = bytearray(table(folder).read_bytes())
    content[300] ^= 1
    table(folder).write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read: Corruption: .*Copy it again"):
        read(folder)
    database = LevelDB(str(folder))
    database.position = b""
    with pytest.raises(DataError, match=r"cannot be read: Corruption: .*Copy it again"):
        database.read(1000, Share(0, 3))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file or directory"):
        LevelDB(str(tmp_path / "nothing"))


def damage(file: Path, rng: random.Random) -> None:
    content = bytearray(file.read_bytes())
    kind = rng.randrange(5)
    if kind == 0:
        content = content[: rng.randrange(len(content))]
    elif kind == 1:
        content = content[rng.randrange(1, len(content)) :]
    elif kind == 2:
        start = rng.randrange(len(content))
        content[start : start + 300] = rng.randbytes(min(300, len(content) - start))
    else:
        for _ in range(rng.randint(1, 5)):  # half of them near the end, where a table has its index and its footer
            near_the_end = max(0, len(content) - 1 - rng.randrange(200))
            content[rng.choice([rng.randrange(len(content)), near_the_end])] = rng.randrange(256)
    file.write_bytes(content)


def test_damage_ends_in_an_error_or_is_harmless(folder: Path, tmp_path: Path) -> None:
    """A crash leaves a torn end in the log, so records may be missing there; but no record is read wrongly."""
    rng, messages, known = random.Random(0), [], set(RECORDS)
    for _ in range(300):
        damaged = Path(shutil.copytree(folder, tmp_path / "damaged"))
        damage(rng.choice([file for file in damaged.iterdir() if file.stat().st_size]), rng)
        try:
            assert known.issuperset(read(damaged))
        except DataError as error:
            messages.append(str(error))
        shutil.rmtree(damaged)
    assert len(messages) > 100
    assert not [message for message in messages if "caffe_lite_leveldb_" in message]
    assert links(tmp_path) == []
