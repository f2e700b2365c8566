"""A disk that is full at any byte of a snapshot: one message, status 1, and every file is the old or the new one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import command, environment

resource = pytest.importorskip("resource", reason="the limit of a file's size is POSIX's")

OLD = b"old"
FILES = ("stripes_iter_10.caffemodel", "stripes_iter_10.solverstate")


def train(folder: Path, format_: str, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    """Train in a process that may write only so many bytes into a file; more fails as on a full disk."""

    def set_limit() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        command("train", "solver.prototxt", "--max-iter", "10", "--set", f"snapshot_format={format_}"),
        cwd=folder,
        env=environment(),
        preexec_fn=set_limit,
        capture_output=True,
        text=True,
        timeout=120,
    )


def check_limits(folder: Path, format_: str, count: int) -> None:
    """Try the requested number of limits, from none of a file to all of the larger one."""
    done = train(folder, format_)
    if " and is not installed" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    files = [folder / (name + (".h5" if format_ == "HDF5" else "")) for name in FILES]
    whole = [file.read_bytes() for file in files]
    others = sorted(path.name for path in folder.iterdir())
    largest = max(map(len, whole))
    for limit in {*range(0, largest, max(1, largest // (count - 1))), largest - 1, largest}:
        for file in files:
            file.write_bytes(OLD)
        done = train(folder, format_, limit)
        assert sorted(path.name for path in folder.iterdir()) == others, limit
        expected = [content if len(content) <= limit else OLD for content in whole]
        if expected[0] == OLD:  # without its weights, the state is not written
            expected[1] = OLD
        assert [file.read_bytes() for file in files] == expected, (limit, done.stderr)
        assert done.returncode == (1 if OLD in expected else 0), (limit, done.stderr)
        messages = [line for line in done.stderr.splitlines() if line.startswith("caffe-lite: ")]
        assert len(messages) == (1 if OLD in expected else 0), (limit, done.stderr)
        for message in messages:
            failed = files[expected.index(OLD)].name
            assert message == f"caffe-lite: {failed}: cannot write this file: File too large.", limit
            assert done.stderr.endswith(message + "\n")


@pytest.mark.parametrize("format_", ["BINARYPROTO", "HDF5"])
def test_a_few_limits(folder: Path, format_: str) -> None:
    check_limits(folder, format_, 3)


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["BINARYPROTO", "HDF5"])
def test_sixty_limits(folder: Path, format_: str) -> None:
    check_limits(folder, format_, 60)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk is always full here")
def test_standard_output_on_a_full_disk(folder: Path) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            command("summary", "net.prototxt"), cwd=folder, env=environment(), stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode == 1
    assert done.stderr == b"caffe-lite: cannot write to standard output: No space left on device.\n"
