"""Training killed (SIGKILL) at any moment resumes from its last snapshot bit for bit, and leaves nothing beside it."""

from __future__ import annotations

import random
import re
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.cli.conftest import command, environment

ITERATIONS = 40
STATES = re.compile(r"stripes_iter_(\d+)\.solverstate(\.h5)?")

pytestmark = pytest.mark.slow


class Training:
    """Runs of one training in a folder, with a snapshot after each iteration."""

    def __init__(self, folder: Path, format_: str) -> None:
        self.folder = folder
        self.options = ("--max-iter", str(ITERATIONS), "--set", f"snapshot_format={format_}", "--set", "snapshot=1")

    def command(self) -> list[str]:
        return command("train", "solver.prototxt", *self.options, *self.resuming())

    def resuming(self) -> tuple[str, ...]:
        """Return the options to resume from the last snapshot, if there is one."""
        states = {int(state[1]): state[0] for state in map(STATES.fullmatch, self.names()) if state}
        return ("--snapshot", states[max(states)]) if states else ()

    def finish(self) -> dict[str, bytes]:
        """Run to the end; return the contents of the snapshots by name."""
        done = subprocess.run(
            self.command(), cwd=self.folder, env=environment(), capture_output=True, text=True, timeout=120
        )
        if " and is not installed" in done.stderr:
            pytest.skip(done.stderr)
        assert done.returncode == 0, done.stderr
        return {name: (self.folder / name).read_bytes() for name in self.names() if name.startswith("stripes_iter")}

    def kill_while_it_writes(self, after: float) -> None:
        """Kill the run so many seconds after it begins its first snapshot."""
        before = set(self.names())
        child = subprocess.Popen(
            self.command(), cwd=self.folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            while child.poll() is None and not any("_iter_" in name for name in set(self.names()) - before):
                time.sleep(0.001)
            time.sleep(after)
        finally:
            child.kill()
            child.wait()

    def names(self) -> list[str]:
        return [path.name for path in self.folder.iterdir()]

    def clear(self) -> None:
        for name in self.names():
            if "stripes_iter" in name:
                (self.folder / name).unlink()


@pytest.fixture(params=["BINARYPROTO", "HDF5"])
def training(request: pytest.FixtureRequest, folder: Path) -> Training:
    return Training(folder, request.param)


def check_kills(training: Training, count: int, rng: random.Random) -> Counter[str]:
    """Kill the run again and again until it has finished, then start over; count the observations."""
    whole = training.finish()
    names = sorted(training.names())
    training.clear()
    seen: Counter[str] = Counter()
    while seen["kills"] < count:
        for _ in range(4):
            training.kill_while_it_writes(rng.random() * 0.3)
            seen["kills"] += 1
            seen["parts"] += any(name.endswith(".tmp") for name in training.names())
            seen["resumed"] += bool(training.resuming())
        assert training.finish() == whole
        assert sorted(training.names()) == names
        training.clear()
    return seen


def test_kills(training: Training) -> None:
    seen = check_kills(training, 8, random.Random())
    assert seen["resumed"]


def test_what_is_left_is_removed_by_a_run_with_other_snapshots(training: Training) -> None:
    end = ".h5" if "snapshot_format=HDF5" in training.options else ""
    left = [training.folder / f".stripes_iter_7.{kind}{end}.0123456789ab.tmp" for kind in ("caffemodel", "solverstate")]
    others = [training.folder / name for name in (".stripes.0123456789ab.tmp", "stripes_iter_7.tmp")]
    for file in (*left, *others):
        file.write_bytes(b"part")
    training.options += ("--set", "snapshot=20")
    training.finish()
    assert not any(file.exists() for file in left)
    assert all(file.read_bytes() == b"part" for file in others)
