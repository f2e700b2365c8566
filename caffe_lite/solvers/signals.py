"""Signals in training: Ctrl-C (SIGINT) and SIGHUP ask the solver to stop or to take a snapshot between iterations."""

from __future__ import annotations

import enum
import signal
from collections.abc import Callable
from types import FrameType, TracebackType


class SolverAction(enum.Enum):
    """The actions that a solver can be asked for before its next iteration."""

    NONE = "none"
    STOP = "stop"
    SNAPSHOT = "snapshot"


class SignalHandler:
    """A context manager that turns signals into actions: assign its ``requested_action`` to the solver's attribute.

    Effects are "stop", "snapshot" or "none", which ignores the signal. After a first SIGINT that means stop, a second
    one has its usual effect (the original only counts it). There is no SIGHUP on Windows.
    """

    def __init__(self, sigint: str = "stop", sighup: str = "snapshot") -> None:
        self._effects = {signal.SIGINT: SolverAction(sigint)}
        if hasattr(signal, "SIGHUP"):
            self._effects[signal.SIGHUP] = SolverAction(sighup)
        self._received: dict[int, SolverAction] = {}
        self._before: dict[int, signal.Handlers | Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> SignalHandler:
        for number in self._effects:
            self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def requested_action(self) -> SolverAction:
        """Return the next action that a signal asks for; each is returned once."""
        if hasattr(signal, "pthread_sigmask"):
            # Runs pending signal handlers: CPython 3.11 forgets to if a BLAS thread has received the signal.
            signal.pthread_sigmask(signal.SIG_BLOCK, ())
        if not self._received:
            return SolverAction.NONE
        return self._received.pop(next(iter(self._received)))

    def _receive(self, number: int, frame: FrameType | None) -> None:
        action = self._effects[signal.Signals(number)]
        self._received[number] = action
        if number == signal.SIGINT and action is SolverAction.STOP:
            signal.signal(number, self._before[number])
