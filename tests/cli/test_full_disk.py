"""A disk that is full at any byte of a snapshot: one message, status 1, and every file is the old or the new one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import command, environment

resource = pytest.importorskip("resource", reason="the limit of a file's size is POSIX's")

OLD = b"old"
FILES = ("stripes_iter_10.caffemodel", "stripes_iter_10.solverstate")


def words(format_: str) -> list[str]:
    return ["train", "solver.prototxt", "--max-iter", "10", "--set", f"snapshot_format={format_}"]


def train(folder: Path, format_: str, limit: int | None = None) -> tuple[int, str]:
    """Train in a process that may write only so many bytes into a file; more fails as on a full disk.

    Return its exit status and what it wrote to standard error.
    """

    def set_limit() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        command(*words(format_)),
        cwd=folder,
        env=environment(),
        preexec_fn=set_limit,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stderr


# Reads limits, and trains once for each, in a fork of a process that has imported everything.
FORKING = """
import importlib.metadata, json, os, resource, sys

import h5py, lmdb

import caffe_lite.cli.train, caffe_lite.solvers
from caffe_lite.cli import main

words = sys.argv[1:]
main(["check", words[1]])
print(flush=True)
for limit in map(int, sys.stdin):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writing, 2)
        os.close(reading)
        os.close(writing)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        sys.exit(main(words))
    os.close(writing)
    with open(reading) as errors:
        said = errors.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(json.dumps([status, said]), flush=True)
"""


class ForkingTrainer:
    """Does what ``train`` does, for many limits in a fraction of the time."""

    def __init__(self, folder: Path, format_: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", FORKING, *words(format_)],
            cwd=folder,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> ForkingTrainer:
        assert self.process.stdout
        for line in self.process.stdout:  # what check says, then an empty line
            if line == "\n":
                return self
        raise AssertionError("the process has ended")

    def train(self, limit: int) -> tuple[int, str]:
        assert self.process.stdin and self.process.stdout
        print(limit, file=self.process.stdin, flush=True)
        lines = iter(self.process.stdout.readline, "")
        status, said = json.loads(next(line for line in lines if line.startswith("[")))
        return status, said

    def __exit__(self, *error: object) -> None:
        self.process.communicate()


class Snapshots:
    """The files of a run on a disk with room for all of them, and what must be there after one on a full disk."""

    def __init__(self, folder: Path, format_: str) -> None:
        self.folder = folder
        status, said = train(folder, format_)
        if " and is not installed" in said:
            pytest.skip(said)
        assert status == 0, said
        self.files = [folder / (name + (".h5" if format_ == "HDF5" else "")) for name in FILES]
        self.whole = [file.read_bytes() for file in self.files]
        self.others = sorted(path.name for path in folder.iterdir())

    def limits(self, count: int) -> list[int]:
        """Return so many limits, from none of a file to all of the larger one."""
        largest = max(map(len, self.whole))
        return sorted({*range(0, largest, max(1, largest // (count - 1))), largest - 1, largest})

    def check(self, limit: int, train: Callable[[int], tuple[int, str]]) -> None:
        for file in self.files:
            file.write_bytes(OLD)
        status, said = train(limit)
        assert sorted(path.name for path in self.folder.iterdir()) == self.others, limit
        expected = [content if len(content) <= limit else OLD for content in self.whole]
        if expected[0] == OLD:  # without its weights, the state is not written
            expected[1] = OLD
        assert [file.read_bytes() for file in self.files] == expected, (limit, said)
        assert status == (1 if OLD in expected else 0), (limit, said)
        messages = [line for line in said.splitlines() if line.startswith("caffe-lite: ")]
        assert len(messages) == (1 if OLD in expected else 0), (limit, said)
        for message in messages:
            failed = self.files[expected.index(OLD)].name
            assert message == f"caffe-lite: {failed}: cannot write this file: File too large.", limit
            assert said.endswith(message + "\n")


@pytest.mark.parametrize("format_", ["BINARYPROTO", "HDF5"])
def test_a_few_limits(folder: Path, format_: str) -> None:
    snapshots = Snapshots(folder, format_)
    for limit in snapshots.limits(3):
        snapshots.check(limit, lambda limit: train(folder, format_, limit))


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["BINARYPROTO", "HDF5"])
def test_sixty_limits(folder: Path, format_: str) -> None:
    snapshots = Snapshots(folder, format_)
    with ForkingTrainer(folder, format_) as trainer:
        for limit in snapshots.limits(60):
            snapshots.check(limit, trainer.train)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk is always full here")
def test_standard_output_on_a_full_disk(folder: Path) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            command("summary", "net.prototxt"), cwd=folder, env=environment(), stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode == 1
    assert done.stderr == b"caffe-lite: cannot write to standard output: No space left on device.\n"
