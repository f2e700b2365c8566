"""Databases: the order of records, the position in it, and how databases are found."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from caffe_lite.data.databases.opening import open_database
from caffe_lite.data.databases.writing import new_database
from caffe_lite.errors import DataError, Where
from caffe_lite.proto import caffe_pb2
from caffe_lite.ranks import Share
from tests.data.database_files import write_lmdb

LEVELDB, LMDB = caffe_pb2.DataParameter.LEVELDB, caffe_pb2.DataParameter.LMDB
RECORDS = [(b"b", b"2"), (b"a", b"1"), (b"d", b"4"), (b"c", b"3")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_lmdb(tmp_path / "four_lmdb", RECORDS)


def test_records_come_in_the_order_of_their_keys_and_around(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "caffe_lite")
    database = open_database(str(folder), LMDB)
    assert caplog.messages == [f"Opened lmdb {folder}"]
    assert database.read(3) == sorted(RECORDS)[:3]
    assert len(caplog.messages) == 1
    assert database.read(1) == [(b"d", b"4")]
    assert caplog.messages[1:] == ["Restarting data prefetching from start."]
    assert database.read(9) == (sorted(RECORDS) * 3)[:9]
    assert caplog.messages[1:] == ["Restarting data prefetching from start."] * 3


@pytest.mark.parametrize("backend", ["lmdb", "leveldb"])
@pytest.mark.parametrize("by_batch", [False, True])
@pytest.mark.parametrize("shares", [1, 2, 3, 5])
def test_shares_together_are_the_whole(tmp_path: Path, backend: str, by_batch: bool, shares: int) -> None:
    with new_database(str(tmp_path / "db"), backend) as put:
        for key, value in RECORDS:
            put(key, value)
    databases = [open_database(str(tmp_path / "db"), LMDB if backend == "lmdb" else LEVELDB) for _ in range(shares)]
    read = []
    for count in (1, 3, 2):
        parts = [one.read(count, Share(rank, shares, by_batch)) for rank, one in enumerate(databases)]
        assert all(len(part) == count for part in parts)
        read += [record for row in (parts if by_batch else zip(*parts, strict=True)) for record in row]
        assert {one.position for one in databases} == {sorted(RECORDS)[len(read) % 4][0]}
    assert read == [sorted(RECORDS)[i % 4] for i in range(6 * shares)]
    for database in databases:
        database.close()


def test_peeking_does_not_move(folder: Path) -> None:
    database = open_database(str(folder), LMDB)
    assert database.peek() == database.peek() == (b"a", b"1")
    assert database.read(1) == [(b"a", b"1")]


@pytest.mark.parametrize("consumed", range(9))
def test_seek_goes_on_from_a_position(folder: Path, consumed: int) -> None:
    database = open_database(str(folder), LMDB)
    database.read(consumed)
    position = database.position
    expected = database.read(6)
    other = open_database(str(folder), LMDB)
    other.seek(position)
    assert other.read(6) == expected


@pytest.mark.parametrize("key", [b"zz", b"bb", b""])
def test_seek_refuses_another_database(folder: Path, key: bytes) -> None:
    with pytest.raises(DataError, match=f"has no record {key!r}, where training is to go on. It is not the one"):
        open_database(str(folder), LMDB).seek(key)


def test_many_may_read_one_database(folder: Path) -> None:
    first, second = (open_database(str(folder), LMDB) for _ in range(2))
    first.read(2)
    assert second.read(1) == [(b"a", b"1")]
    first.close()
    first.close()
    assert second.read(1) == [(b"b", b"2")]


def test_a_path_is_also_looked_up_beside_the_prototxt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.parent / "elsewhere").mkdir()
    monkeypatch.chdir(folder.parent / "elsewhere")
    where = Where(str(folder.parent / "net.prototxt"), 3, 1)
    assert open_database("four_lmdb", LMDB, where).read(1) == [(b"a", b"1")]
    write_lmdb(folder.parent / "elsewhere" / "four_lmdb", [(b"here", b"")])
    assert open_database("four_lmdb", LMDB, where).read(1) == [(b"here", b"")]


def test_a_missing_database_tells_where_it_was_sought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    with pytest.raises(DataError) as caught:
        open_database("no_lmdb", LMDB, Where(str(tmp_path / "net.prototxt")))
    assert str(tmp_path / "cwd" / "no_lmdb") in str(caught.value)
    assert str(tmp_path / "no_lmdb") in str(caught.value)
    assert "correct the source in data_param" in str(caught.value)


def test_what_is_not_an_lmdb_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not a folder with a file data\.mdb in it"):
        open_database(str(tmp_path), LMDB)
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(DataError, match=r"is not an LMDB\. Give the folder that holds data\.mdb"):
        open_database(str(tmp_path / "file"), LMDB)


def test_an_empty_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no records"):
        open_database(str(write_lmdb(tmp_path / "db", [])), LMDB)


def test_the_other_kind_of_database_is_recognised(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"It is an LMDB: write `backend: LMDB` in data_param"):
        open_database(str(folder), LEVELDB)
    with new_database(str(tmp_path / "leveldb"), "leveldb") as put:
        put(b"key", b"value")
    with pytest.raises(DataError, match=r"It is a LevelDB: write `backend: LEVELDB` in data_param"):
        open_database(str(tmp_path / "leveldb"), LMDB)
