"""The LMDB reader against liblmdb: it reads the same records, and any damage ends in an error, not in a crash."""

from __future__ import annotations

import os
import random
import shutil
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite.data.databases.lmdb import LMDB
from caffe_lite.data.databases.opening import open_database
from caffe_lite.errors import DataError
from caffe_lite.proto import caffe_pb2
from caffe_lite.ranks import Share
from tests.data.database_files import Record, write_lmdb

lmdb = pytest.importorskip("lmdb")

META_SIZE = 152


def by_liblmdb(path: Path, subdir: bool = True) -> list[Record]:
    with lmdb.open(str(path), readonly=True, lock=False, subdir=subdir) as environment, environment.begin() as reading:
        return list(reading.cursor())


def depth(path: Path) -> int:
    with lmdb.open(str(path), readonly=True, lock=False) as environment:
        return environment.stat()["depth"]


def page_size(path: Path) -> int:
    with lmdb.open(str(path), readonly=True, lock=False) as environment:
        return environment.stat()["psize"]


def read(path: Path) -> list[Record]:
    database = LMDB(str(path))
    try:
        records = list(database.records())
        assert [database.find(place) for place in database.index()] == records
        return records
    finally:
        database.close()


# -- databases of every kind -----------------------------------------------------------------------------------------


def numbered(path: Path) -> Path:
    return write_lmdb(path, ((b"%08d" % i, b"%d" % i * 50) for i in range(3000)))


def appended(path: Path) -> Path:
    return write_lmdb(path, ((b"%08d" % i, bytes([i % 256]) * 800) for i in range(500)), append=True)


def deep(path: Path) -> Path:
    rng = random.Random(1)
    return write_lmdb(path, ((rng.randbytes(rng.randint(400, 511)), rng.randbytes(9)) for _ in range(2000)))


def large_values(path: Path) -> Path:
    rng = random.Random(2)
    return write_lmdb(path, ((b"%05d" % i, rng.randbytes(rng.randint(0, 40_000))) for i in range(60)))


def sizes_around_a_page(path: Path) -> Path:
    sizes = [n * page + off for page in (4096, 16384) for n in (0.25, 0.5, 1, 2, 4) for off in range(-40, 9, 3)]
    return write_lmdb(path, ((b"%05d" % i, b"\xa5" * int(size)) for i, size in enumerate(sizes)))


def mapped_for_writing(path: Path) -> Path:
    return write_lmdb(path, ((b"%08d" % i, b"v" * (i % 5000)) for i in range(300)), writemap=True)


def much_changed(path: Path, seed: int = 3) -> Path:
    """Write, delete and overwrite records in many transactions."""
    rng = random.Random(seed)
    with lmdb.open(str(path), map_size=2**24, lock=False, sync=False) as environment:
        for _ in range(rng.randint(2, 40)):
            with environment.begin(write=True) as transaction:
                for _ in range(rng.randint(1, 60)):
                    key = b"%05d" % rng.randint(0, 400)
                    if rng.random() < 0.4:
                        transaction.delete(key)
                    else:
                        transaction.put(key, rng.randbytes(rng.choice([0, 10, 700, 3000, 10_000])))
    return path


def emptied(path: Path) -> Path:
    numbered(path)
    with lmdb.open(str(path), map_size=2**24, lock=False) as environment, environment.begin(write=True) as transaction:
        transaction.drop(environment.open_db(), delete=False)
    return path


def never_filled(path: Path) -> Path:
    return write_lmdb(path, [])


def copied(path: Path) -> Path:
    path.mkdir()
    with lmdb.open(str(much_changed(path.with_name("original"))), lock=False) as environment:
        environment.copy(str(path), compact=True)
    return path


KINDS = [
    numbered,
    appended,
    deep,
    large_values,
    sizes_around_a_page,
    mapped_for_writing,
    much_changed,
    emptied,
    never_filled,
    copied,
]


@pytest.mark.parametrize("kind", KINDS)
def test_records_are_those_that_liblmdb_reads(tmp_path: Path, kind: Callable[[Path], Path]) -> None:
    path = kind(tmp_path / "db")
    database, expected = LMDB(str(path)), by_liblmdb(path)
    assert list(database.records()) == expected
    assert len(database) == len(expected)
    assert bool(expected) == (kind not in (emptied, never_filled))


@pytest.mark.parametrize("kind", KINDS)
def test_records_from_a_key_on_are_those_that_liblmdb_reads(tmp_path: Path, kind: Callable[[Path], Path]) -> None:
    path = kind(tmp_path / "db")
    database, rng = LMDB(str(path)), random.Random(0)
    keys = [key for key, _ in by_liblmdb(path)]
    some = rng.sample(keys, min(len(keys), 40))
    with lmdb.open(str(path), readonly=True, lock=False) as environment, environment.begin() as reading:
        cursor = reading.cursor()
        for start in [
            b"\0",
            b"\xff" * 511,
            *some,
            *(key[:-1] or b"\0" for key in some),
            *(key + b"\0" for key in some),
        ]:
            expected = cursor.item() if cursor.set_range(start) else None
            assert next(database.records(start), None) == expected


def test_the_deep_one_is_deep(tmp_path: Path) -> None:
    assert depth(deep(tmp_path / "db")) >= 3


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.binary(min_size=1, max_size=511), st.binary(max_size=20) | st.integers(0, 9000).map(bytes)),
    st.lists(st.binary(max_size=511), max_size=9),
    st.randoms(use_true_random=False),
)
def test_any_keys(content: dict[bytes, bytes], starts: list[bytes], rng: random.Random) -> None:
    items, ordered = list(content.items()), sorted(content.items())
    rng.shuffle(items)
    with TemporaryDirectory() as folder:
        database = LMDB(str(write_lmdb(Path(folder), items)))
        assert list(database.records()) == ordered
        for start in [*starts, *content]:
            assert list(database.records(start)) == [item for item in ordered if item[0] >= start]
        database.close()


def test_a_single_file(tmp_path: Path) -> None:
    path = write_lmdb(tmp_path / "file.mdb", [(b"b", b"2"), (b"a", bytes(9000))], subdir=False)
    assert path.is_file()
    database = open_database(str(path), caffe_pb2.DataParameter.LMDB)
    assert database.read(2) == by_liblmdb(path, subdir=False) == [(b"a", bytes(9000)), (b"b", b"2")]


def test_a_file_may_end_before_its_last_page(tmp_path: Path) -> None:
    """liblmdb does not write pages at the end that a transaction allocated and freed again."""
    short = 0
    for seed in range(60):
        path, rng = tmp_path / str(seed), random.Random(seed)
        with lmdb.open(str(path), map_size=2**24, lock=False, sync=False) as environment:
            for _ in range(3):
                with environment.begin(write=True) as transaction:
                    new: list[bytes] = []
                    for _ in range(rng.randint(1, 60)):
                        if new and rng.random() < 0.5:
                            transaction.delete(new.pop())
                        else:
                            new.append(rng.randbytes(8))
                            transaction.put(new[-1], bytes(rng.choice([10, 500, 3000, 10_000])))
            last_page = environment.info()["last_pgno"]
        short += (path / "data.mdb").stat().st_size < (last_page + 1) * page_size(path)
        assert read(path) == by_liblmdb(path)
    assert short


# -- the files -------------------------------------------------------------------------------------------------------


def test_the_lmdb_package_is_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, expected = numbered(tmp_path / "db"), by_liblmdb(tmp_path / "db")
    monkeypatch.setitem(sys.modules, "lmdb", None)
    assert open_database(str(path), caffe_pb2.DataParameter.LMDB).read(3000) == expected


def test_a_database_the_user_has_open_himself(tmp_path: Path) -> None:
    path = numbered(tmp_path / "db")
    with lmdb.open(str(path), readonly=True, lock=False) as environment, environment.begin() as reading:
        assert read(path) == list(reading.cursor())


def test_closing_lets_go_of_the_files(tmp_path: Path) -> None:
    path = numbered(tmp_path / "db")
    database = LMDB(str(path))
    next(database.records())
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert str(path) in maps.read_text()
    database.close()
    database.close()
    if maps.exists():
        assert str(path) not in maps.read_text()
    shutil.rmtree(path)  # fails on Windows while it is open


@pytest.mark.skipif(os.name == "nt", reason="on Windows an open file cannot be removed")
def test_a_database_made_anew_at_the_same_place_is_read(tmp_path: Path) -> None:
    path = write_lmdb(tmp_path / "db", [(b"a", b"1")])
    old = LMDB(str(path))
    shutil.rmtree(path)
    write_lmdb(path, [(b"x", b"9")])
    assert read(path) == [(b"x", b"9")]
    assert list(old.records()) == [(b"a", b"1")]


def test_reading_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    path = numbered(tmp_path / "db")
    before = (path / "data.mdb").read_bytes()
    (path / "data.mdb").chmod(0o444)
    path.chmod(0o555)
    try:
        assert len(read(path)) == 3000
        assert [file.name for file in path.iterdir()] == ["data.mdb"]
        assert (path / "data.mdb").read_bytes() == before
    finally:
        path.chmod(0o755)


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.mdb' cannot be opened as an LMDB: No such file or directory\."):
        LMDB(str(tmp_path))


@pytest.mark.skipif(os.name == "nt", reason="on Windows an open file cannot grow")
def test_one_who_writes_meanwhile_causes_no_crash(tmp_path: Path) -> None:
    path = large_values(tmp_path / "db")
    before = by_liblmdb(path)
    database = LMDB(str(path))
    assert list(database.records()) == before
    for seed in range(3):
        much_changed(path, seed)
        try:
            keys = [key for key, _ in database.records()]
        except DataError:
            continue
        assert keys == sorted(set(keys))


# -- damage ----------------------------------------------------------------------------------------------------------


def change(path: Path, offset: int, new: bytes) -> None:
    with open(path / "data.mdb", "r+b") as file:
        file.seek(offset)
        file.write(new)


@pytest.mark.parametrize("content", [b"x", b"not an LMDB" * 1000, bytes(8192)], ids=["short", "text", "zeros"])
def test_a_foreign_data_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.mdb").write_bytes(content)
    with pytest.raises(DataError, match=r"data\.mdb' is not an LMDB\. Give the folder that holds data\.mdb; if this"):
        LMDB(str(tmp_path))


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").touch()
    with pytest.raises(DataError, match=r"data\.mdb' is not an LMDB: it is empty\. Copy it again"):
        LMDB(str(tmp_path))


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (struct.pack("<IHHIII", 0, 0, 8, 0, 0xBEEFC0DE, 1), "made by a machine of 32 bits or of another byte order"),
        (struct.pack(">QHHIII", 0, 0, 8, 0, 0xBEEFC0DE, 1), "made by a machine of 32 bits or of another byte order"),
        (struct.pack(">IHHIII", 0, 0, 8, 0, 0xBEEFC0DE, 1), "made by a machine of 32 bits or of another byte order"),
        (struct.pack("<QHHIII", 0, 0, 8, 0, 0xBEEFC0DE, 2), "has the format 2, only 1 can be read"),
        (struct.pack("<QHHIII", 0, 0, 8, 0, 0xBEEFC0DE, 1), "neither of its two meta pages is valid. Copy it again"),
    ],
)
def test_other_formats_are_named(tmp_path: Path, head: bytes, message: str) -> None:
    (tmp_path / "data.mdb").write_bytes(head.ljust(8192, b"\0"))
    with pytest.raises(DataError) as caught:
        LMDB(str(tmp_path))
    assert message in str(caught.value)


def test_databases_with_names_are_refused(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path), max_dbs=2, lock=False) as environment:
        for name in (b"train", b"test"):
            with environment.begin(write=True, db=environment.open_db(name)) as transaction:
                transaction.put(b"key", b"value")
    with pytest.raises(DataError, match=r"holds databases with names, as b'test', and no records of its own\. Caffe"):
        read(tmp_path)


def test_another_order_of_keys_is_refused(tmp_path: Path) -> None:
    numbered(tmp_path / "db")
    for page in range(2):
        change(tmp_path / "db", page * page_size(tmp_path / "db") + 92, b"\2")  # MDB_REVERSEKEY
    with pytest.raises(DataError, match=r"sorts its records in a way of its own \(flags 0x2\)"):
        LMDB(str(tmp_path / "db"))


def test_a_torn_meta_page_leaves_the_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_lmdb(tmp_path / "db", [(b"a", b"1")])  # transaction 1, on meta page 1
    write_lmdb(path, [(b"b", b"2")])  # transaction 2, on meta page 0
    second = page_size(path)
    content = (path / "data.mdb").read_bytes()
    assert read(path) == [(b"a", b"1"), (b"b", b"2")]
    assert not caplog.messages
    for offset, size, expected in [
        (0, META_SIZE, [(b"a", b"1")]),
        (16, 30, [(b"a", b"1")]),  # the magic number and the page size
        (0, 1, [(b"a", b"1")]),  # the page number
        (second, META_SIZE, [(b"a", b"1"), (b"b", b"2")]),
    ]:
        change(path, offset, b"\1" * size)
        assert read(path) == expected
        assert "One of the two meta pages of" in caplog.messages.pop()
        (path / "data.mdb").write_bytes(content)


def test_a_damaged_page_is_named(tmp_path: Path) -> None:
    path, leaf = one_leaf(tmp_path / "db")
    change(path, leaf, bytes(page_size(path)))
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value) == (
        f"the LMDB {str(path / 'data.mdb')!r} is damaged at page {leaf // page_size(path)}: "
        "another page stands in its place. Copy it again from where it was made, or make it again."
    )


def one_leaf(path: Path) -> tuple[Path, int]:
    """Write a database whose records are in a single page, one with a big value; return it and that page's offset."""
    write_lmdb(path, [(b"aaaa", b"value"), (b"bbbb", b"value"), (b"cccc", bytes(100_000))])
    page = page_size(path)
    return path, (path / "data.mdb").read_bytes().index(b"aaaa") // page * page


def u(size: int, value: int) -> bytes:
    return value.to_bytes(size, "little")


@pytest.mark.parametrize(
    ("offset", "new", "message"),
    [
        (0, u(8, 77), "another page stands in its place"),
        (10, u(2, 1), "another page stands in its place"),
        (12, u(2, 16), "its header makes no sense"),
        (12, u(2, 23), "its header makes no sense"),
        (12, u(2, 65534), "its header makes no sense"),
        (14, u(2, 65534), "its header makes no sense"),
        (12, u(2, 20), "its records do not fill it"),
        (16, u(2, 0), "a record lies outside it"),
        (16, u(2, 65534), "a record lies outside it"),
        ("swap", b"", "its keys are not in order"),
        ("a", u(4, 2**31), "a record reaches beyond it"),
        ("a size of the key", u(2, 65535), "a record reaches beyond it"),
        ("a flags", u(2, 4), "a record has the flags 0x4"),
        ("c", u(4, 300_000), "a value of 300,000 bytes does not fit into it"),
        ("c place", u(8, 0), "damaged at page 0: there is no such page"),
        ("c place", u(8, 2**40), "damaged at page 1099511627776: there is no such page, the last is "),
        ("c place", None, "another page stands in its place"),
        ("c value's number", u(8, 9), "another page stands in its place"),
        ("c value's kind", u(2, 2), "another page stands in its place"),
        ("c value's pages", u(4, 2**31), "there is no such page, the last is "),
    ],
)
def test_every_field_is_checked(tmp_path: Path, offset: int | str, new: bytes | None, message: str) -> None:
    path, leaf = one_leaf(tmp_path / "db")
    page, content = page_size(path), (path / "data.mdb").read_bytes()
    a, b, c = struct.unpack_from("<HHH", content, leaf + 16)
    (value,) = struct.unpack_from("<Q", content, leaf + c + 12)
    places = {
        "swap": leaf + 16,
        "a": leaf + a,
        "a flags": leaf + a + 4,
        "a size of the key": leaf + a + 6,
        "c": leaf + c,
        "c place": leaf + c + 12,
        "c value's number": value * page,
        "c value's kind": value * page + 10,
        "c value's pages": value * page + 12,
    }
    at = places[offset] if isinstance(offset, str) else leaf + offset
    change(path, at, struct.pack("<HH", b, a) if offset == "swap" else u(8, leaf // page) if new is None else new)
    with pytest.raises(DataError) as caught:
        read(path)
    assert message in str(caught.value)


def test_keys_must_lie_where_the_branch_says(tmp_path: Path) -> None:
    path = numbered(tmp_path / "db")
    content, page = (path / "data.mdb").read_bytes(), page_size(path)
    leaf = content.index(b"00002999") // page * page
    at = leaf + struct.unpack_from("<H", content, leaf + 16)[0] + 8
    first = content[at : at + 8]
    for new in (b"00000000", b"99999999"):
        change(path, at, new)
        with pytest.raises(DataError, match=f"damaged at page {leaf // page}: its keys are not in order"):
            read(path)
    change(path, at, first)
    assert len(read(path)) == 3000
    root = root_page(content, page) * page
    change(path, root + struct.unpack_from("<H", content, root + 16)[0] + 4, b"\1")  # bit 32 of a child's number
    with pytest.raises(DataError, match=r"damaged at page 42949672\d\d: there is no such page"):
        read(path)


def root_page(content: bytes, page: int) -> int:
    """Find the root page after one transaction; that of the other meta page is 2**64 - 1, which means none."""
    return min(struct.unpack_from("<Q", content, meta + 128)[0] for meta in (0, page))


def test_only_the_pages_on_the_way_to_a_key_are_read(tmp_path: Path) -> None:
    path = deep(tmp_path / "db")
    expected = by_liblmdb(path)
    first = (path / "data.mdb").read_bytes().index(expected[0][0])
    change(path, first // page_size(path) * page_size(path), bytes(16))
    database = LMDB(str(path))
    assert list(database.records(expected[500][0])) == expected[500:]
    with pytest.raises(DataError, match="another page"):
        next(database.records())


def test_values_of_other_shares_are_not_read(tmp_path: Path) -> None:
    records = [(b"%05d" % i, b"value %05d " % i * 2000) for i in range(60)]
    path = write_lmdb(tmp_path / "db", records)
    content = (path / "data.mdb").read_bytes()
    for _, value in records[1::3]:
        change(path, content.index(value) - 16, bytes(16))  # the header of its pages
    databases = [open_database(str(path), caffe_pb2.DataParameter.LMDB) for _ in range(3)]
    for rank in (0, 2):
        assert databases[rank].read(25, Share(rank, 3)) == (records * 2)[rank:75:3]
    with pytest.raises(DataError, match="another page"):
        databases[1].read(25, Share(1, 3))


def test_a_loop_is_noticed(tmp_path: Path) -> None:
    """Test a page that is its own parent, and one that is its own sibling."""
    path = deep(tmp_path / "db")
    content, page = (path / "data.mdb").read_bytes(), page_size(path)
    root = root_page(content, page)
    first, second = (struct.unpack_from("<H", content, root * page + 16 + 2 * i)[0] + root * page for i in range(2))
    for child in (struct.pack("<IH", root, 0), content[second : second + 6]):
        change(path, first, child)
        with pytest.raises(DataError, match="its keys are not in order"):
            read(path)


def test_a_file_cut_short_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    path = write_lmdb(tmp_path / "db", ((b"%08d" % i, bytes(3000)) for i in range(20)))
    os.truncate(path / "data.mdb", 9 * page_size(path) + 5)
    with pytest.raises(DataError, match=r"data\.mdb' is cut short: it has [\d,]+ bytes of [\d,]+ or more\. Copy it"):
        open_database(str(path), caffe_pb2.DataParameter.LMDB)


def outcome(path: Path) -> list[Record] | DataError:
    """Return the records or the error, within a short time."""
    start = time.process_time()
    result: list[Record] | DataError
    try:
        result = read(path)
    except DataError as error:
        result = error
    assert time.process_time() - start < 2
    return result


@pytest.mark.parametrize("kind", [numbered, deep, large_values, much_changed])
def test_truncation(tmp_path: Path, kind: Callable[[Path], Path]) -> None:
    path, rng = kind(tmp_path / "db"), random.Random(4)
    expected, file, page = by_liblmdb(path), path / "data.mdb", page_size(path)
    size = file.stat().st_size
    places = {*range(0, size, page), *(rng.randrange(size) for _ in range(50)), *range(0, 2 * page, 149)}
    refused = 0
    for place in sorted(places, reverse=True):
        os.truncate(file, place)
        result = outcome(path)
        if isinstance(result, DataError):
            assert str(file) in str(result)
            refused += 1
        else:
            assert result == expected
    assert refused > 0.9 * len(places)


def fuzz(folder: Path, times: int) -> None:
    """Damage one place, again and again: it is noticed, or it affects only the records at that place."""
    rng = random.Random(5)
    refused = 0
    for kind in (numbered, deep, large_values, much_changed):
        path = kind(folder / kind.__name__)
        expected, page = by_liblmdb(path), page_size(path)
        content = (path / "data.mdb").read_bytes()
        states = []  # the transactions that remain after damage to a meta page
        for meta in (0, page):
            change(path, meta, bytes(META_SIZE))
            states.append(outcome(path))
            change(path, meta, content[meta : meta + META_SIZE])
        for _ in range(times // 4):
            size = rng.choice([1, 1, 2, 4, 8, page])
            at = rng.randrange(len(content) // page) * page
            if size < page:
                at += rng.choice([rng.randrange(32), rng.randrange(META_SIZE), rng.randrange(page - size)])
            old = content[at : at + size]
            other = rng.randrange(len(content) // page) * page
            new = rng.choice(
                [bytes(size), b"\xff" * size, rng.randbytes(size), content[other : other + size]]
                + [bytes([old[0] ^ 1 << rng.randrange(8)]) + old[1:]] * 2
            )
            change(path, at, new)
            result = outcome(path)
            if isinstance(result, DataError):
                assert str(path / "data.mdb") in str(result)
                refused += 1
            elif at < 2 * page:
                assert result in states
            else:
                assert len(result) == len(expected)
                assert sum(map(tuple.__ne__, result, expected)) <= 2
            change(path, at, old)
        assert read(path) == expected
    assert 0.2 * times < refused < 0.9 * times


def test_random_damage(tmp_path: Path) -> None:
    fuzz(tmp_path, 400)


@pytest.mark.slow
def test_much_random_damage(tmp_path: Path) -> None:
    fuzz(tmp_path, 2000)
