"""The log: the original's lines in the original's form (glog's)."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from typing import TextIO

from ..text.foreign_bytes import shown

logger = logging.getLogger("caffe_lite")
logger.addHandler(logging.NullHandler())  # otherwise Python shows warnings before anybody has asked for the log

# The values of GLOG_minloglevel.
_LEVELS = {"0": logging.INFO, "1": logging.WARNING, "2": logging.ERROR, "3": logging.CRITICAL}


_is_quiet = False


class GlogFormatter(logging.Formatter):
    """``I1121 19:15:16.395696  9459 solver.py:45] message``: level, month, day, time, thread and line of the call.

    This is the form of the original's logs. glog 0.6 and later put the year before the month, which few readers of
    these logs expect.
    """

    def format(self, record: logging.LogRecord) -> str:
        letter = "F" if record.levelno >= logging.CRITICAL else record.levelname[0]
        # A record has no native thread id, but handlers run in the thread that logs.
        head = f"{letter}{datetime.fromtimestamp(record.created):%m%d %H:%M:%S.%f} {threading.get_native_id():5d}"
        return f"{head} {record.filename}:{record.lineno}] {shown(record.getMessage()).removesuffix(chr(10))}"


class LogHandler(logging.StreamHandler):
    """Writes the log to a stream; each line inside the context from ``around``, in which a progress bar is hidden."""

    around: Callable[[], AbstractContextManager[None]] = staticmethod(nullcontext)

    def emit(self, record: logging.LogRecord) -> None:
        with self.around():
            super().emit(record)


def start_logging(stream: TextIO | None = None) -> LogHandler:
    """Show the log on a stream (standard error) instead of the previous one; GLOG_minloglevel selects the levels."""
    for old in [handler for handler in logger.handlers if isinstance(handler, LogHandler)]:
        logger.removeHandler(old)
    handler = LogHandler(stream or sys.stderr)
    handler.setFormatter(GlogFormatter())
    handler.addFilter(_wanted)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return handler


@contextmanager
def muted() -> Iterator[None]:
    """Log nothing for some time: what is done once more has been logged."""
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _wanted(record: logging.LogRecord) -> bool:
    """Check GLOG_minloglevel now: scripts set it just before `import caffe`, when `caffe-lite run` already logs."""
    least = _LEVELS.get(os.environ.get("GLOG_minloglevel", "0"), logging.INFO)  # noqa: SIM112
    if _is_quiet and not hasattr(record, "of_script"):
        least = max(least, logging.WARNING)
    return record.levelno >= least


def set_quiet(quiet: bool) -> None:
    """Show only warnings, errors and what scripts ``log``, as the original does in all solvers but the first."""
    global _is_quiet
    _is_quiet = quiet


def init_log(level: int = 0, stderr: bool = True) -> None:
    """Show the log on standard error from this level on (0 info, 1 warning, 2 error, 3 fatal), as in pycaffe.

    Without ``stderr`` only errors are shown: glog then writes the rest into its own files.
    """
    shown = _LEVELS[str(min(max(int(level), 0), 3))]
    start_logging().setLevel(shown if stderr else max(shown, logging.ERROR))


def set_logging_disabled() -> None:
    """Hide the log until ``start_logging`` or ``init_log`` is called. FlowNet2's Caffe has this function."""
    for handler in logger.handlers:
        if isinstance(handler, LogHandler):
            handler.setLevel(logging.CRITICAL + 1)


@contextmanager
def errors_only() -> Iterator[None]:
    """Log nothing but errors in the block."""
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def log(message: str) -> None:
    """Write a line into the log, as in pycaffe."""
    logger.info("%s", message, stacklevel=2, extra={"of_script": True})
