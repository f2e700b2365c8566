"""A progress bar for training, below the lines of the log, where standard error is a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..log import LogHandler

if TYPE_CHECKING:
    from ..solvers import Solver


@contextmanager
def progress_bar(solver: Solver, log: LogHandler) -> Iterator[None]:
    """Show iteration, speed and loss while the block runs; nothing where the log does not go to a terminal."""
    if not log.stream.isatty():
        yield
        return
    from tqdm import tqdm

    with tqdm(total=solver.param.max_iter, initial=solver.iter, file=log.stream, dynamic_ncols=True) as bar:

        def advance(solver: Solver) -> None:
            bar.set_postfix_str(f"loss {solver.smoothed_loss:.4g}", refresh=False)
            bar.update(solver.iter - bar.n)

        log.around = lambda: tqdm.external_write_mode(log.stream)
        solver.on_iteration.append(advance)
        try:
            yield
        finally:
            solver.on_iteration.remove(advance)
            del log.around
