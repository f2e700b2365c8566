"""Progress bars below the lines of the log, if standard error is a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from ..logs.log import LogHandler

if TYPE_CHECKING:
    from ..solvers import Solver

T = TypeVar("T")


@contextmanager
def progress_bar(solver: Solver, log: LogHandler) -> Iterator[None]:
    """Show iteration, speed and loss while the block runs, if the log goes to a terminal."""
    with _bar(log, total=solver.param.max_iter, initial=solver.iter) as bar:
        if bar.disable:
            yield
            return

        def advance(solver: Solver) -> None:
            bar.set_postfix_str(f"loss {solver.smoothed_loss:.4g}", refresh=False)
            bar.update(solver.iter - bar.n)

        solver.on_iteration.append(advance)
        try:
            yield
        finally:
            solver.on_iteration.remove(advance)


class Progress:
    """Goes through items with a bar that counts them; the bar is shown only if the log goes to a terminal."""

    def __init__(self, log: LogHandler, unit: str) -> None:
        self.log = log
        self.unit = unit

    def __call__(self, items: Iterable[T], total: int | None = None) -> Iterator[T]:
        with _bar(self.log, total=total, unit=self.unit) as bar:
            for item in items:
                yield item
                bar.update()


@contextmanager
def _bar(log: LogHandler, **options: object) -> Iterator[Any]:
    """Show a bar that the lines of the log do not disturb."""
    from tqdm import tqdm

    terminal = log.stream.isatty()
    if terminal:
        log.around = lambda: tqdm.external_write_mode(log.stream)
    try:
        with tqdm(**options, file=log.stream, dynamic_ncols=True, disable=not terminal) as bar:
            yield bar
    finally:
        if terminal:
            del log.around
