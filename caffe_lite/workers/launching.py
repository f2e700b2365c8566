"""Starting workers on this machine, passing signals on to them, and telling what has failed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import FrameType
from typing import Any

from ..errors import MissingExtra, WorkerError
from ..ops.cores import usable_cores
from ..plugins import is_installed
from .environment import OWN_LAUNCHER_VARIABLE, quieten_torch
from .last_words import left

_LOOK = 0.05  # seconds between two looks at the workers
# Seconds that the others get to fail by themselves after a first failure: several may have the same to say.
_TOGETHER = 4.0
_TERMINATING = 3.0  # seconds until workers that SIGTERM does not end are killed
_INTERRUPTED = 130


def launch(words: Sequence[str], workers: int) -> int:
    """Run ``caffe-lite WORDS`` in so many processes, and return the exit status: 0 if it is that of all.

    If one of them fails, the others are ended, and its error is printed. SIGINT is passed on to all, and SIGHUP to the
    first; a second SIGINT, or SIGTERM, ends them. SIGTSTP (Ctrl-Z) stops them with this process; they go on with it.
    """
    if not is_installed("torch"):
        raise MissingExtra("torch", "torch", "work in several processes")
    quieten_torch()
    distributed: Any = import_module("torch.distributed")
    if not distributed.is_available():
        raise WorkerError("this build of torch has no torch.distributed", hint="install another build of torch")
    starter: Any = import_module("torch.distributed.elastic.multiprocessing")
    # The workers keep messages for each other in the store. It is here, so that none of them has to outlive the others.
    store = distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    with tempfile.TemporaryDirectory(prefix="caffe_lite_") as folder, _Signals() as signals:
        try:
            context = starter.start_processes(
                "worker",
                sys.executable,
                args=dict.fromkeys(range(workers), ("-m", "caffe_lite", *words)),
                envs={rank: _variables(rank, workers, store.port) for rank in range(workers)},
                logs_specs=starter.DefaultLogsSpecs(folder),
            )
        except starter.SignalException as error:
            return 128 + int(error.sigval)
        processes = {rank: handler.proc for rank, handler in context.subprocess_handlers.items()}
        left_early: list[int] = []
        try:
            signals.take(list(processes.values()))
            failed = _attend(processes, signals)
            left_early = [rank for rank, process in processes.items() if process.poll() == 0]
        finally:
            _end(list(processes.values()))
            context.close()
        return _told(failed, left_early, context.error_files, signals)


def _variables(rank: int, workers: int, port: int) -> dict[str, str]:
    """Return what tells a worker its place, by the names of torchrun."""
    given = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "WORLD_SIZE": str(workers),
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(workers),
        "TORCHELASTIC_USE_AGENT_STORE": str(True),
        OWN_LAUNCHER_VARIABLE: str(os.getpid()),
    }
    if "OMP_NUM_THREADS" not in os.environ:
        given["OMP_NUM_THREADS"] = str(max(1, usable_cores() // workers))
    return given


def _attend(processes: Mapping[int, subprocess.Popen[bytes]], signals: _Signals) -> dict[int, int]:
    """Wait until all workers have ended, or one has failed and the others had a moment to, or a signal ends them.

    Return the statuses of those that have failed, in the order in which they did.
    """
    failed: dict[int, int] = {}
    until = float("inf")
    while not signals.ends:
        statuses = {rank: process.poll() for rank, process in processes.items()}
        failed |= {rank: status for rank, status in statuses.items() if status and rank not in failed}
        if None not in statuses.values() or time.monotonic() > until:
            break
        if failed and until == float("inf"):
            until = time.monotonic() + _TOGETHER
        time.sleep(_LOOK)
    return failed


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End what runs of the workers, and of what they have started."""
    _send(processes, getattr(signal, "SIGTERM", None))
    until = time.monotonic() + _TERMINATING
    while any(process.poll() is None for process in processes) and time.monotonic() < until:
        time.sleep(_LOOK)
    _send(processes, getattr(signal, "SIGKILL", None))
    for process in processes:
        try:
            process.wait(_TERMINATING)
        except subprocess.TimeoutExpired:
            continue  # inside the kernel, as with a GPU that hangs; it ends when that call does


def _send(processes: Sequence[subprocess.Popen[bytes]], number: int | None) -> None:
    """Send a signal to the workers that run, each with its children; on Windows, end them."""
    for process in processes:
        if process.poll() is not None:
            continue
        if sys.platform == "win32":
            process.terminate()
        elif number is not None:
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                continue


class _Signals:
    """Handles this process's signals while workers run.

    ``ends`` is the signal that ends them all, or 0. The starter of processes sets handlers, too, which ``take``
    replaces.
    """

    def __init__(self) -> None:
        self.interrupts = 0
        self.ends = 0
        self._processes: Sequence[subprocess.Popen[bytes]] = ()
        self._before: dict[int, signal.Handlers | Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> _Signals:
        names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTSTP")
        self._before = {getattr(signal, n): signal.getsignal(getattr(signal, n)) for n in names if hasattr(signal, n)}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def take(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        self._processes = processes
        handlers = {"SIGINT": self._interrupt, "SIGTERM": self._terminate, "SIGHUP": self._pass, "SIGTSTP": self._pause}
        for number, before in self._before.items():
            signal.signal(number, handlers.get(signal.Signals(number).name, before))

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.interrupts += 1
        if self.interrupts > 1:
            self.ends = number
        elif sys.platform != "win32":  # there, Ctrl-C reaches all processes of a console
            _send(self._processes, number)

    def _terminate(self, number: int, frame: FrameType | None) -> None:
        self.ends = number

    def _pass(self, number: int, frame: FrameType | None) -> None:
        # To the first one, which shares what it is asked for. All would answer, at moments that may differ.
        _send(self._processes[:1], number)

    def _pause(self, number: int, frame: FrameType | None) -> None:
        _send(self._processes, signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)  # returns when this process may go on
        _send(self._processes, signal.SIGCONT)


def _told(failed: Mapping[int, int], left_early: Sequence[int], files: Mapping[int, str], signals: _Signals) -> int:
    """Print the error that has ended the workers, if they did not end well; return the exit status."""
    if signals.ends:
        return 128 + signals.ends
    if not failed:
        return 0
    said = {rank: left(files[rank]) for rank in failed}
    words = sorted((one for one in said.values() if one), key=lambda one: one.time)
    causes = [one for one in words if not one.lost]
    # One that has ended without a word is what the others have lost, even if its status tells of no failure.
    silent = [rank for rank, one in said.items() if one is None] or left_early
    first = causes[0].status if causes else failed.get(silent[0], 0) if silent else words[0].status
    if signals.interrupts and first in (_INTERRUPTED, -signal.SIGINT):
        return _INTERRUPTED
    if causes:
        alike = len(causes) > 1 and all(one.message == causes[0].message for one in causes)
        told: object = causes[0].message if alike else causes[0]
    elif silent:
        told, first = _end_of(silent[0], first), 1
    else:
        told = words[0]
    if str(told):  # there is nothing to say if what read the output has ended
        print(f"caffe-lite: {told}", file=sys.stderr)
    return first


def _end_of(rank: int, status: int) -> WorkerError:
    if status >= 0:
        return WorkerError(f"worker {rank} has ended with status {status} and without a message")
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    if name == "SIGKILL":
        return WorkerError(
            f"worker {rank} was killed by SIGKILL (out of memory?)",
            hint="the system's log tells if memory was short; fewer workers, or a smaller batch_size, need less",
        )
    return WorkerError(f"worker {rank} was killed by {name}")
