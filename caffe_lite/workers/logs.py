"""The log of several workers as one: rank 0's, and what only others have to warn of."""

from __future__ import annotations

import copy
import logging

from ..logs.log import GlogFormatter, LogHandler, logger
from .group import Group


class GroupLog:
    """Shows rank 0's log, and of the others only warnings and errors, each with the worker's number.

    All workers read the same files, and warn of the same things. So warnings are held back on the others until
    ``release``, after which those are shown that rank 0 has not given.
    """

    def __init__(self, log: LogHandler, group: Group) -> None:
        self.log = log
        self.group = group
        self._collected = _Collected(logging.WARNING)
        logger.addHandler(self._collected)
        if group.rank:
            log.setLevel(logging.WARNING)
            log.setFormatter(_WorkerFormatter(group.rank))
            logger.removeHandler(log)

    def release(self) -> None:
        """Show the warnings that rank 0 did not give, and all later ones at once. All workers call this."""
        logger.removeHandler(self._collected)
        mine = self._collected.records
        given = set(self.group.shared([record.getMessage() for record in mine]))
        if self.group.rank:
            logger.addHandler(self.log)
            for record in mine:
                if record.getMessage() not in given:
                    self.log.handle(record)


class _Collected(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class _WorkerFormatter(GlogFormatter):
    """Writes a worker's number before each message."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank = rank

    def format(self, record: logging.LogRecord) -> str:
        marked = copy.copy(record)
        marked.msg, marked.args = f"[worker {self.rank}] {record.getMessage()}", None
        return super().format(marked)
