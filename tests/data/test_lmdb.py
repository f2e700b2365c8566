"""Databases: the order of records, the place in it, and everything that may be wrong with the files."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from pathlib import Path

import lmdb
import pytest

from caffe_lite.data.database import open_database
from caffe_lite.errors import DataError, MissingExtra, Where
from caffe_lite.proto import caffe_pb2
from tests.data.databases import write_lmdb

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


def test_seek_refuses_another_database(folder: Path) -> None:
    with pytest.raises(DataError, match=r"has no record b'zz', where training is to go on\. It is not the one"):
        open_database(str(folder), LMDB).seek(b"zz")


def test_many_may_read_one_database(folder: Path) -> None:
    first, second = (open_database(str(folder), LMDB) for _ in range(2))
    first.read(2)
    assert second.read(1) == [(b"a", b"1")]
    first.close()
    first.close()
    assert second.read(1) == [(b"b", b"2")]


def test_closing_lets_go_of_the_files(folder: Path) -> None:
    open_database(str(folder), LMDB).close()
    lmdb.open(str(folder), readonly=True, lock=False).close()  # would fail while it is open in this process


@pytest.mark.skipif(os.name == "nt", reason="on Windows an open file cannot be removed")
def test_a_database_made_anew_at_the_same_place_is_read(folder: Path) -> None:
    old = open_database(str(folder), LMDB)
    shutil.rmtree(folder)
    write_lmdb(folder, [(b"x", b"9")])
    assert open_database(str(folder), LMDB).read(1) == [(b"x", b"9")]
    assert old.read(1) == [(b"a", b"1")]


def test_reading_leaves_the_folder_as_it_was(folder: Path) -> None:
    before = (folder / "data.mdb").read_bytes()
    (folder / "data.mdb").chmod(0o444)
    folder.chmod(0o555)
    try:
        database = open_database(str(folder), LMDB)
        database.read(10)
        database.close()
        assert [path.name for path in folder.iterdir()] == ["data.mdb"]
        assert (folder / "data.mdb").read_bytes() == before
    finally:
        folder.chmod(0o755)


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
    with pytest.raises(DataError, match=r"not a folder with a file data\.mdb in it"):
        open_database(str(tmp_path / "file"), LMDB)


@pytest.mark.parametrize("content", [b"x", b"not an LMDB" * 1000, bytes(8192)], ids=["short", "text", "zeros"])
def test_a_foreign_data_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.mdb").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be opened as an LMDB: .*Copy it again from where it was made\."):
        open_database(str(tmp_path), LMDB)


def test_a_truncated_file_is_refused_before_it_kills_the_process(tmp_path: Path) -> None:
    folder = write_lmdb(tmp_path / "db", ((b"%08d" % i, bytes(3000)) for i in range(20)))
    file = folder / "data.mdb"
    file.write_bytes(file.read_bytes()[: 4096 * 9 + 5])
    with pytest.raises(DataError, match=r"is cut short: data\.mdb has 36,869 bytes of [\d,]+"):
        open_database(str(folder), LMDB)
    file.write_bytes(b"")
    with pytest.raises(DataError, match=r"is cut short: data\.mdb has 0 bytes"):
        open_database(str(folder), LMDB)


def test_a_damaged_page_is_named_as_damage(tmp_path: Path) -> None:
    folder = write_lmdb(tmp_path / "db", ((b"%08d" % i, bytes(100)) for i in range(200)))
    with lmdb.open(str(folder), readonly=True, lock=False) as environment:
        page = environment.stat()["psize"]
    content = bytearray((folder / "data.mdb").read_bytes())
    content[2 * page : 3 * page] = bytes(page)  # behind two pages of metadata comes the first leaf
    (folder / "data.mdb").write_bytes(content)
    with pytest.raises(DataError, match="is damaged: "):
        open_database(str(folder), LMDB)


def test_an_empty_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no records"):
        open_database(str(write_lmdb(tmp_path / "db", [])), LMDB)


def test_leveldb_is_refused_and_says_what_to_do(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"It is an LMDB: write `backend: LMDB`"):
        open_database(str(folder), LEVELDB)
    with pytest.raises(DataError, match="Convert it to an LMDB"):
        open_database(str(tmp_path / "leveldb"), LEVELDB)


def test_without_the_package_the_error_names_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(MissingExtra, match=r"pip install 'caffe-lite\[data\]'"):
        open_database(str(folder), LMDB)


def test_a_database_the_user_has_open_himself_is_refused(folder: Path) -> None:
    with (
        lmdb.open(str(folder), readonly=True, lock=False),
        pytest.raises(DataError, match="already open in this process"),
    ):
        open_database(str(folder), LMDB)
