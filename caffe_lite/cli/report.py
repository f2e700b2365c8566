"""What ``caffe-lite train`` says when it has finished: the last test's scores, and where the snapshot lies."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ..log import logger

if TYPE_CHECKING:
    from ..solvers import Solver


class TestScores(logging.Handler):
    """The scores of the last test, overheard from the log: test net number -> ``name = value`` of each output."""

    __test__ = False  # pytest takes it for a test by its name

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.iteration = 0
        self.of_net: dict[int, list[str]] = {}

    def __enter__(self) -> TestScores:
        logger.addHandler(self)
        return self

    def __exit__(self, *error: object) -> None:
        logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if begins := re.fullmatch(r"Iteration (\d+), Testing net \(#(\d+)\)", message):
            if int(begins[2]) == 0:
                self.of_net.clear()
            self.iteration = int(begins[1])
            self.of_net[int(begins[2])] = []
        elif score := re.match(r" +Test net output #\d+: (\S+ = \S+)", message):
            self.of_net[max(self.of_net)].append(score[1])


def report(solver: Solver, scores: TestScores) -> str:
    """A few lines for whoever started the training."""
    stopped = solver.iter < solver.param.max_iter
    lines = [f"{'Stopped' if stopped else 'Finished'} after {solver.iter} iterations."]
    for index, outputs in scores.of_net.items():
        name = "Test" if len(scores.of_net) == 1 else f"Test net #{index}"
        if outputs:
            lines.append(f"{name} at iteration {scores.iteration}: {', '.join(outputs)}")
    base = f"{solver.param.snapshot_prefix}_iter_{solver.iter}"
    extension = ".h5" if solver.param.snapshot_format == solver.param.HDF5 else ""
    weights, state = f"{base}.caffemodel{extension}", f"{base}.solverstate{extension}"
    if Path(state).exists():
        lines += [f"Weights: {weights}", f"To go on from here: --snapshot {state}"]
    return "\n".join(lines)
