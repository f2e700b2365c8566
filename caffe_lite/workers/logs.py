"""The log of several workers as one: rank 0's, and what only others have to warn of."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable, Sequence
from types import TracebackType

from ..errors import WorkerLost
from ..logs.log import GlogFormatter, LogHandler, logger
from .group import Group

_GIVEN = "warnings of rank 0"


class GroupLog:
    """Shows rank 0's log, and of the others only warnings and errors, each with the worker's number.

    All workers read the same files, and warn of the same things. So warnings are held back on the others until
    ``release``, or until an error ends the block, after which those are shown that rank 0 has not given.
    """

    def __init__(self, log: LogHandler, group: Group) -> None:
        self.log = log
        self.group = group
        self._held: list[logging.LogRecord] = []
        self._collector = _Collector(self._collect)

    def __enter__(self) -> GroupLog:
        logger.addHandler(self._collector)
        if self.group.rank:
            self.log.setLevel(logging.WARNING)
            self.log.setFormatter(_WorkerFormatter(self.group.rank))
            logger.removeHandler(self.log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._collector in logger.handlers and self.group.rank and not isinstance(error, WorkerLost):
            self._show_all_but(self._given_so_far())

    def release(self) -> None:
        """Show the warnings that rank 0 did not give, and all later ones at once. All workers call this."""
        given = self.group.shared([record.getMessage() for record in self._held])
        if self.group.rank:
            self._show_all_but(given)
        logger.removeHandler(self._collector)

    def _collect(self, record: logging.LogRecord) -> None:
        self._held.append(record)
        if not self.group.rank:
            try:
                self.group.store.set(_GIVEN, json.dumps([record.getMessage() for record in self._held]))
            except RuntimeError:
                return  # the store is gone; somebody else tells why

    def _given_so_far(self) -> list[str]:
        try:
            given: list[str] = json.loads(self.group.store.get(_GIVEN)) if self.group.store.check([_GIVEN]) else []
            return given
        except RuntimeError:
            return []

    def _show_all_but(self, given: Sequence[str]) -> None:
        logger.removeHandler(self._collector)
        logger.addHandler(self.log)
        for record in self._held:
            if record.getMessage() not in given:
                self.log.handle(record)


class _Collector(logging.Handler):
    """Hands warnings and errors to a function."""

    def __init__(self, collect: Callable[[logging.LogRecord], None]) -> None:
        super().__init__(logging.WARNING)
        self._collect = collect

    def emit(self, record: logging.LogRecord) -> None:
        self._collect(record)


class _WorkerFormatter(GlogFormatter):
    """Writes a worker's number before each message."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank = rank

    def format(self, record: logging.LogRecord) -> str:
        marked = copy.copy(record)
        marked.msg, marked.args = f"[worker {self.rank}] {record.getMessage()}", None
        return super().format(marked)
