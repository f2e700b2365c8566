"""A picture of loss and accuracy, kept up to date while ``caffe-lite train`` runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..logs.log import GlogFormatter, logger
from ..logs.plotting import new_figure, plot_run
from ..logs.training_log import parse_training_log

if TYPE_CHECKING:
    from ..solvers import Solver

SHARE = 0.1  # at most this share of the time is spent on drawing


@contextmanager
def live_plot(solver: Solver, path: str | None) -> Iterator[None]:
    """Redraw the picture after displays and tests while the block runs, and at its end; do nothing without a path.

    If the path cannot be drawn to, or matplotlib is missing, this is an error before training; later failures are
    warnings.
    """
    if path is None:
        yield
        return
    new_figure(path)
    plot = _LivePlot(path, solver.name)
    logger.addHandler(plot)
    solver.on_iteration.append(plot.after_iteration)
    try:
        yield
    finally:
        solver.on_iteration.remove(plot.after_iteration)
        logger.removeHandler(plot)
        plot.draw()


class _LivePlot(logging.Handler):
    """Keeps the lines of the log from which the picture is drawn, so that it shows the same as plot-log."""

    def __init__(self, path: str, title: str) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(GlogFormatter())
        self.path, self.title = path, title
        self.lines: list[str] = []
        self.drawn = 0
        self.rest_until = 0.0
        self.warned = ""

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message.startswith(("Solving ", "Iteration ")) or " net output #" in message:
            self.lines.append(self.format(record) + "\n")

    def after_iteration(self, solver: Solver) -> None:
        if self.drawn < len(self.lines) and time.monotonic() >= self.rest_until:
            self.draw()

    def draw(self) -> None:
        start = time.monotonic()
        try:
            plot_run(parse_training_log(self.lines), self.path, self.title)
        except Exception as error:  # hours of training must not end because of a picture
            if str(error) != self.warned:
                self.warned = str(error)
                logger.warning("The picture is not drawn: %s", error)
        self.drawn = len(self.lines)
        now = time.monotonic()
        self.rest_until = now + (now - start) * (1 / SHARE - 1)
