"""Every bad input ends with one clear message and exit status 1, and damages no existing file."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import NET, write_lmdb

TRAIN = ("train", "solver.prototxt")


def net_with(old: str, new: str) -> Callable[[Path], None]:
    """Return the net with some of its text changed."""

    def change(folder: Path) -> None:
        assert old in NET
        (folder / "net.prototxt").write_text(NET.replace(old, new))

    return change


def no_database(folder: Path) -> None:
    shutil.rmtree(folder / "train_lmdb")


def empty_database(folder: Path) -> None:
    no_database(folder)
    write_lmdb(folder / "train_lmdb", [])


def corrupt_database(folder: Path) -> None:
    (folder / "train_lmdb" / "data.mdb").write_bytes(bytes(range(256)) * 64)


def truncated_database(folder: Path) -> None:
    path = folder / "train_lmdb" / "data.mdb"
    path.write_bytes(path.read_bytes()[:5000])


def wrong_label(folder: Path) -> None:
    no_database(folder)
    write_lmdb(folder / "train_lmdb", [0, 1, 2, 12, 0, 1, 2, 0])


def nothing(folder: Path) -> None:
    pass


def broken_weights(folder: Path) -> None:
    (folder / "w.caffemodel").write_bytes(b"these are no weights")


def broken_hdf5(folder: Path) -> None:
    (folder / "w.h5").write_bytes(b"these are no weights")


def broken_state(folder: Path) -> None:
    (folder / "s.solverstate").write_bytes(b"\xff" * 40)


def solver_without_net(folder: Path) -> None:
    (folder / "solver.prototxt").write_text("base_lr: 0.1\nmax_iter: 5\n")


BAD = {
    "no solver": (nothing, ("train", "nowhere.prototxt"), r"nowhere\.prototxt: there is no such file"),
    "no net": (nothing, (*TRAIN, "--set", "net=nowhere.prototxt"), r"nowhere\.prototxt: there is no such file"),
    "solver names no net": (solver_without_net, TRAIN, r"net"),
    "a folder": (nothing, ("summary", "train_lmdb"), r"train_lmdb: this is a folder"),
    "broken text": (
        net_with('bottom: "ip2" bottom: "label" top: "loss" }', 'bottom "ip2" }'),
        TRAIN,
        r"net\.prototxt:24:53, layer \"loss\".*a ':' is missing",
    ),
    "unknown layer type": (
        net_with('"ReLU"', '"Relu"'),
        TRAIN,
        r'net\.prototxt:18:1, layer "relu1".*[Dd]id you mean ReLU',
    ),
    "unknown field": (net_with("num_output: 6", "num_outputs: 6"), TRAIN, r"net\.prototxt:16:25.*num_output\b"),
    "in-place loop": (
        net_with('bottom: "data" top: "ip1"', 'bottom: "ip1" top: "ip1"'),
        TRAIN,
        r"layer \"ip1\" \(InnerProduct\): unknown bottom blob 'ip1'",
    ),
    "bottom nobody makes": (net_with('bottom: "data"', 'bottom: "dota"'), TRAIN, r"'dota'.*[Dd]id you mean 'data'"),
    "top made twice": (net_with('top: "loss" }', 'top: "ip1" }'), TRAIN, r"'ip1' is produced by two layers"),
    "no database": (no_database, TRAIN, r'layer "images" \(Data\).*train_lmdb'),
    "empty database": (empty_database, TRAIN, r'layer "images" \(Data\).*train_lmdb.*(empty|no records?|holds no)'),
    "corrupt database": (corrupt_database, TRAIN, r'layer "images" \(Data\).*train_lmdb'),
    "truncated database": (truncated_database, TRAIN, r'layer "images" \(Data\).*train_lmdb'),
    "wrong label": (wrong_label, TRAIN, r'layer "loss" \(SoftmaxWithLoss\).*\b12\b'),
    "misspelt setting": (nothing, (*TRAIN, "--set", "max_itr=5"), r"--set max_itr=5.*max_iter"),
    "setting without value": (nothing, (*TRAIN, "--set", "max_iter"), r"--set max_iter.*FIELD=VALUE"),
    "setting of the wrong kind": (nothing, (*TRAIN, "--max-iter", "many"), r"--max-iter many.*integer"),
    "unknown policy": (nothing, (*TRAIN, "--lr-policy", "steps"), r"steps"),
    "unknown solver": (nothing, (*TRAIN, "--type", "Sgd"), r"Sgd.*SGD"),
    "snapshot and weights": (nothing, (*TRAIN, "--snapshot", "a", "--weights", "b"), r"both --snapshot and --weights"),
    "no weights": (nothing, (*TRAIN, "--weights", "w.caffemodel"), r"w\.caffemodel"),
    "no weights to test": (nothing, ("test", "--model", "net.prototxt", "--weights", "w.caffemodel"), r"w\.caffemodel"),
    "broken weights": (broken_weights, (*TRAIN, "--weights", "w.caffemodel"), r"w\.caffemodel"),
    "broken HDF5 weights": (broken_hdf5, (*TRAIN, "--weights", "w.h5"), r"w\.h5"),
    "no snapshot": (nothing, (*TRAIN, "--snapshot", "s.solverstate"), r"s\.solverstate"),
    "broken snapshot": (broken_state, (*TRAIN, "--snapshot", "s.solverstate"), r"s\.solverstate"),
    "no folder for snapshots": (nothing, (*TRAIN, "--snapshot-prefix", "no/where/x"), r"no/where"),
    "no such GPU": (nothing, (*TRAIN, "--gpu", "99"), r"GPU"),
    "several GPUs": (nothing, (*TRAIN, "--gpu", "all"), r"--gpu all: torch sees no GPU.*--gpu|torch is needed"),
    "misspelt GPU": (nothing, (*TRAIN, "--gpu", "first"), r"--gpu 'first' .*--gpu 0"),
    "unknown engine": (nothing, (*TRAIN, "--engine", "abacus"), r"unknown engine 'abacus'.*numpy"),
    "an empty solver's path": (nothing, ("train", ""), r"'': there is no such file"),
    "an empty net's path": (nothing, (*TRAIN, "--set", "net="), r"'': there is no such file"),
    "an empty snapshot's path": (nothing, (*TRAIN, "--snapshot", ""), r"'': there is no such file"),
    "an empty weights' path": (
        nothing,
        ("test", "--model", "net.prototxt", "--weights", ""),
        r"'': there is no such file",
    ),
    "no images to convert": (nothing, ("convert-mnist", "images.gz", "labels.gz", "out"), r"images\.gz"),
    "time without data": (no_database, ("time", "--model", "net.prototxt"), r"train_lmdb"),
}


@pytest.mark.parametrize("case", BAD)
def test_one_clear_message(case, caffe, folder):
    prepare, arguments, message = BAD[case]
    prepare(folder)
    before = contents(folder)
    result = caffe(*arguments)
    assert_one_message(result, message)
    assert contents(folder) == before


def test_truncated_weights(caffe, folder):
    assert caffe(*TRAIN).returncode == 0
    whole = folder / "stripes_iter_20.caffemodel"
    (folder / "part.caffemodel").write_bytes(whole.read_bytes()[:-20])
    before = contents(folder)
    for arguments in (
        ("test", "--model", "net.prototxt", "--weights", "part.caffemodel"),
        (*TRAIN, "--weights", "part.caffemodel"),
    ):
        assert_one_message(caffe(*arguments), r"part\.caffemodel")
    assert contents(folder) == before


def test_weights_and_snapshot_of_another_net(caffe, folder):
    assert caffe(*TRAIN).returncode == 0
    net_with("num_output: 6", "num_output: 5")(folder)
    before = contents(folder)
    message = r'layer "ip1" \(InnerProduct\): cannot copy param 0.*6.*5'
    weights = "stripes_iter_20.caffemodel"
    assert_one_message(caffe("test", "--model", "net.prototxt", "--weights", weights), message)
    assert_one_message(caffe(*TRAIN, "--weights", weights), message)
    assert_one_message(caffe(*TRAIN, "--snapshot", "stripes_iter_20.solverstate"), r"ip1|stripes_iter_20\.solverstate")
    assert contents(folder) == before


def assert_one_message(result, pattern: str) -> None:
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    told = [line for line in result.stderr.splitlines() if line.startswith("caffe-lite: ")]
    assert told == result.stderr.splitlines()[-1:], result.stderr
    assert re.search(pattern, told[0]), told[0]


def contents(folder: Path) -> dict[Path, bytes]:
    """Read every file except LMDB's lock files, which change whenever a database is opened."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock.mdb"}
