"""Solvers that train together, one in each process: how many there are, which one is this process's, what it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """The part of a source that one of ``count`` processes reads.

    Records are dealt out in turn: of each ``count`` of them in a row, ``rank`` tells which is this process's. With
    ``by_batch``, whole batches are dealt out instead.
    """

    rank: int = 0
    count: int = 1
    by_batch: bool = False

    def of(self, records: Sequence[T]) -> Sequence[T]:
        """Return its part of the next records, of which there are enough for a batch of each process."""
        if self.by_batch:
            each = len(records) // self.count
            return records[self.rank * each : (self.rank + 1) * each]
        return records[self.rank :: self.count]


WHOLE = Share()

_solver = WHOLE
_tested = WHOLE
_multiprocess = False


def solver_count() -> int:
    """Return how many solvers train together."""
    return _solver.count


def set_solver_count(count: int) -> None:
    """Set how many solvers train together, before they are made."""
    global _solver
    if int(count) < 1:
        raise ValueError(f"solver_count is {count}; it must be at least 1")
    _solver = replace(_solver, count=int(count))


def solver_rank() -> int:
    """Return the number of this process's solver, counted from 0. The first one tests, displays and snapshots."""
    return _solver.rank


def set_solver_rank(rank: int) -> None:
    """Set the number of this process's solver, before it is made."""
    global _solver
    if int(rank) < 0:
        raise ValueError(f"solver_rank is {rank}; it must be at least 0")
    _solver = replace(_solver, rank=int(rank))


def multiprocess() -> bool:
    """Return what ``set_multiprocess`` has set."""
    return _multiprocess


def set_multiprocess(value: bool) -> None:
    """Say that each solver has a process of its own. Here that is always so, and nothing depends on it."""
    global _multiprocess
    _multiprocess = bool(value)


def training_share() -> Share:
    """Return the part of the sources of a TRAIN net that this process reads."""
    return _solver


def testing_share() -> Share:
    """Return the part of the sources of a TEST net that this process reads: everything, unless batches are dealt."""
    return _tested


def deal_batches(rank: int, count: int) -> None:
    """Let TEST nets that are made from now on read every ``count``-th batch, from number ``rank`` on."""
    global _tested
    _tested = Share(rank, count, by_batch=True)


def diverged(state: Any, rank: int) -> Any:
    """Return a copy of a net's state in which the generators under each key "rng" draw numbers of this rank's own.

    Rank 0's are the same as before.
    """
    if isinstance(state, list | tuple):
        return [diverged(part, rank) for part in state]
    if not isinstance(state, dict):
        return state
    return {key: _jumped(part, rank) if key == "rng" else diverged(part, rank) for key, part in state.items()}


def _jumped(state: Any, rank: int) -> Any:
    generator = np.random.PCG64()
    generator.state = state
    return generator.jumped(rank).state if rank else state
