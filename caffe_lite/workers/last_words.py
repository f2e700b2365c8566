"""What a worker leaves when it fails: a line for the user, and a file for the launcher, in the form of torchrun's."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass

from ..errors import CaffeError
from .environment import OWN_LAUNCHER_VARIABLE, Place

# Launchers that use torch's starter of processes name the file here.
_FILE = "TORCHELASTIC_ERROR_FILE"
_silence = threading.Lock()  # held from the first words on


@dataclass(frozen=True)
class LastWords:
    """Why a worker has ended.

    Attributes:
        rank: of the worker that the message is about; None if the message says so itself.
        lost: whether it could only not go on without another, which has failed.
        status: its exit status.
        time: when it was said, in seconds.
    """

    message: str
    rank: int | None
    lost: bool = False
    status: int = 1
    time: float = 0.0

    def __str__(self) -> str:
        return self.message if self.rank is None else f"worker {self.rank}: {self.message}"


def words_of(error: BaseException) -> str:
    """Return what an error says; one that is not ours with its type, and with the place that a note tells."""
    if isinstance(error, KeyboardInterrupt):
        return "it was interrupted"
    if isinstance(error, CaffeError):
        return str(error)
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    notes = "; ".join(note.rstrip(".") for note in getattr(error, "__notes__", ()))
    return f"{text} ({notes})" if notes else text


def leave(words: LastWords, place: Place, trace: str = "", shown: str = "", untold: bool = False) -> None:
    """Write the words where the launcher looks for them, and for the user, unless the launcher does that.

    ``trace`` tells the launcher where in the program it was; ``shown`` is printed before. An empty message is not
    printed. ``untold``: the launcher may not be able to print anything. Only the first words of a process count: its
    watch and its main thread may find the same cause.
    """
    if not _silence.acquire(blocking=False):
        return
    if path := os.environ.get(_FILE):
        _write(path, words, trace)
    if shown:
        print(shown, end="", file=sys.stderr, flush=True)
    if words.message and (untold or not _launcher_tells(place)):
        print(f"caffe-lite: worker {place.rank}: {words.message}", file=sys.stderr, flush=True)


def _launcher_tells(place: Place) -> bool:
    """Return whether the launcher prints what ends its workers: whether it is ours, and still there."""
    return place.is_ours and (sys.platform == "win32" or str(os.getppid()) == os.environ[OWN_LAUNCHER_VARIABLE])


def _write(path: str, words: LastWords, trace: str) -> None:
    now = time.time()
    # torchrun counts whole seconds, and takes the earliest for the cause of the others.
    more = {"timestamp": str(int(now) + words.lost)} | ({"py_callstack": trace} if trace else {})
    text = json.dumps(
        {
            "message": {"message": str(words), "extraInfo": more},
            "caffe_lite": asdict(words) | {"time": now},
        }
    )
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        pass  # the exit status says at least that it has failed


def left(path: str) -> LastWords | None:
    """Return what a worker that has ended left in its file, if it did."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)["caffe_lite"]
        return LastWords(**found)
    except (OSError, ValueError, LookupError, TypeError):
        return None
