"""The log of a training run, the original's or ours, as two tables: one of displays, one of tests."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain, count

from ..errors import DataError, Where

COLUMNS = ("NumIters", "Seconds", "LearningRate")

Row = dict[str, float]

# I0210 13:39:22.381027 25210 solver.cpp:204] ..., with the year before the month in newer glogs.
_HEAD = re.compile(r"[IWEF](\d{4})?(\d\d)(\d\d) (\d\d):(\d\d):(\d\d)\.(\d{1,6})\s+\d+ [^\]]+\] ?")
_NUMBER = r"([-+]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|inf))(?![^\s,])"
_COUNT = r"[0-9]{1,15}(?=[ ,)])"
_ITERATION = re.compile(rf"Iteration ({_COUNT})")
_TESTING = re.compile(rf"Iteration {_COUNT}, Testing net \(#({_COUNT})\)")
_LOSS = re.compile(rf"Iteration {_COUNT}(?: \(.*\))?, loss = {_NUMBER}")
_RATE = re.compile(rf"Iteration {_COUNT}, lr = {_NUMBER}")
_OUTPUT = re.compile(rf"\s*(Train|Test) net output #\d+: (\S+) = {_NUMBER}")


@dataclass
class TrainingLog:
    """The rows in the order of the log; each has NumIters, Seconds since the start, LearningRate, then the outputs.

    Besides the outputs in ``train``, displays show smoothed losses: ``losses`` has each as (iteration, seconds, loss).
    """

    train: list[Row] = field(default_factory=list)
    test: list[Row] = field(default_factory=list)
    losses: list[tuple[float, float, float]] = field(default_factory=list)


def read_training_log(path: str | os.PathLike[str]) -> TrainingLog:
    """Read the tables of a log file; raise a DataError if it cannot be read, or if no training is logged in it.

    The logs of a run that was resumed, or that was put together from several files, make one table: if a run begins at
    an iteration that was already passed, the later rows replace the earlier ones, and the time goes on without the
    pause in between. If it begins at iteration 0, the rows before it belong to another run and are dropped. A line that
    breaks off is left out. The log need not have the year (older glogs write none): a month earlier than the previous
    line's belongs to the next year. Lines of other programs in between are skipped; the original stops at them.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            log = parse_training_log(stream, datetime.fromtimestamp(os.fstat(stream.fileno()).st_mtime).year)
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or str(error)
        raise DataError(f"cannot read this log: {what}", where=Where(os.fspath(path))) from None
    if not (log.train or log.test or log.losses):
        raise DataError(
            "no training is logged in this file",
            where=Where(os.fspath(path)),
            hint="It should hold what training writes to standard error: caffe-lite train solver.prototxt 2> train.log",
        )
    return log


def parse_training_log(lines: Iterable[str], year: int = 2000) -> TrainingLog:
    """Read the tables from a log's lines; ``year`` is for lines without one. See ``read_training_log``."""
    log, clock = TrainingLog(), _Clock(year)
    iteration, rate, test_net = -1, float("nan"), 0
    train_row: Row = {}
    test_row: Row = {}
    for line in lines:
        head = _HEAD.search(line)
        if head is None or not line.endswith("\n") or not clock.advance(head):
            continue
        text = line[head.end() :]
        if text.startswith("Solving "):
            clock.start_run()
            iteration = -1
        elif match := _ITERATION.match(text):
            before, iteration = iteration, int(match[1])
            if before == -1 or iteration < before:
                _forget(log, iteration)
                if iteration == 0:
                    clock.forget_earlier_runs()
        if iteration == -1:
            continue
        clock.training = True
        seconds = clock.trained.total_seconds()
        first = dict(zip(COLUMNS, (float(iteration), seconds, rate), strict=True))
        if match := _TESTING.match(text):
            test_net = int(match[1])
            test_row = first if test_net == 0 else test_row
        elif match := _LOSS.match(text):
            log.losses.append((iteration, seconds, float(match[1])))
            train_row = first
        elif match := _RATE.match(text):
            rate = float(match[1])
        elif match := _OUTPUT.match(text):
            kind, name, value = match.groups()
            rows, row = (log.train, train_row) if kind == "Train" else (log.test, test_row)
            if len(row) <= len(COLUMNS):
                row.update(first)
                rows.append(row)
            name = f"{name}#{test_net}" if kind == "Test" and test_net else name
            row[next(column for column in _columns(name) if column not in row)] = float(value)
        else:
            continue
        clock.before_run = clock.trained
    for rows in (log.train, log.test):
        if len(rows) > 1 and math.isnan(rows[0]["LearningRate"]):
            rows[0]["LearningRate"] = rows[1]["LearningRate"]  # it is logged after the first outputs
    return log


def columns_of(rows: list[Row]) -> list[str]:
    """Return the names of all columns, the fixed ones first."""
    return list(dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)]))


class _Clock:
    """Counts the seconds of training, from the line that begins it and without the pauses between runs."""

    def __init__(self, year: int) -> None:
        self.year = year
        self.month = 0
        self.now: datetime | None = None
        self.trained = self.before_run = self.run_start = timedelta()
        self.training = False

    def advance(self, head: re.Match[str]) -> bool:
        """Go on to the time of a line, and return True; return False if the line's time is not valid."""
        written_year, *numbers, fraction = head.groups()
        month, day, hour, minute, second = map(int, numbers)
        year = int(written_year) if written_year else self.year + (month < self.month)
        try:
            # So every year has a 29th of February: the guessed year of a log without years may be wrong.
            now = datetime(year, month, 1, hour, minute, second) + timedelta(day - 1, 0, int(fraction.ljust(6, "0")))
        except (ValueError, OverflowError):
            return False
        self.year, self.month = year, month
        if self.training and self.now is not None:
            self.trained += now - self.now
        self.now = now
        return True

    def start_run(self) -> None:
        """Begin a run now."""
        self.trained = self.run_start = self.before_run
        self.training = True

    def forget_earlier_runs(self) -> None:
        self.trained -= self.run_start
        self.run_start = timedelta()


def _columns(name: str) -> Iterator[str]:
    """Yield the names of the columns of an output with several values."""
    return chain([name], (f"{name}_{number}" for number in count(2)))


def _forget(log: TrainingLog, iteration: int) -> None:
    """Drop the rows from this iteration on, which is done again."""
    for rows in (log.train, log.test):
        rows[:] = [row for row in rows if row["NumIters"] < iteration]
    log.losses[:] = [loss for loss in log.losses if loss[0] < iteration]
