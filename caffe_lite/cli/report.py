"""The closing report of ``caffe-lite train``: the last test's scores, and the path of the snapshot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..solvers import Solver


def report(solver: Solver) -> str:
    """Return a few lines for the user who started the training."""
    stopped = solver.iter < solver.param.max_iter
    lines = [f"{'Stopped' if stopped else 'Finished'} after {solver.iter} iterations."]
    for index, scores in solver.test_scores.items():
        name = "Test" if len(solver.test_nets) == 1 else f"Test net #{index}"
        outputs = [f"{blob} = {value:g}" for blob, values in scores.items() for value in values]
        lines.append(f"{name} at iteration {solver.tested}: {', '.join(outputs)}")
    base = f"{solver.param.snapshot_prefix}_iter_{solver.iter}"
    extension = ".h5" if solver.param.snapshot_format == solver.param.HDF5 else ""
    weights, state = f"{base}.caffemodel{extension}", f"{base}.solverstate{extension}"
    if Path(state).exists():
        lines += [f"Weights: {weights}", f"To go on from here: --snapshot {state}"]
    return "\n".join(lines)
