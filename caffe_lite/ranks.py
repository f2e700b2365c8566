"""Solvers that train together, one in each process: how many there are, which one is this process's, what it reads."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from .errors import WorkerError

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


def training_share() -> Share:
    """Return the part of the sources of a TRAIN net that this process reads."""
    if _solver.rank >= _solver.count:
        raise WorkerError(
            f"solver_rank is {_solver.rank}, and solver_count {_solver.count}",
            hint="Set both before a net is made; ranks are counted from 0",
        )
    return _solver


def testing_share() -> Share:
    """Return the part of the sources of a TEST net that this process reads: everything, unless batches are dealt."""
    return _tested


def deal_batches(rank: int, count: int) -> None:
    """Let TEST nets that are made from now on read every ``count``-th batch, from number ``rank`` on."""
    global _tested
    _tested = Share(rank, count, by_batch=True)


def diverged(state: Any, rank: int) -> Any:
    """Return a copy of a net's state, which is JSON, for another rank: with random numbers of its own.

    Every state of a generator under a key "rng" is moved to a stream that no other rank gets; rank 0 keeps its own.
    What is under other keys is common: places, and the states of generators before they shuffled an order.
    """
    if isinstance(state, dict):
        return {
            key: moved(value, rank) if key == "rng" and _is_generator(value) else diverged(value, rank)
            for key, value in state.items()
        }
    return [diverged(value, rank) for value in state] if isinstance(state, (list, tuple)) else state


def moved(generator: dict[str, Any], jumps: int) -> dict[str, Any]:
    """Return the state of one of NumPy's generators, as JSON, so far on that its numbers never meet those before."""
    if not jumps:
        return copy.deepcopy(generator)
    kind: Any = getattr(np.random, generator["bit_generator"], None)
    if not hasattr(kind, "jumped"):
        raise WorkerError(
            f"a layer draws random numbers with {generator['bit_generator']}, which cannot be divided among workers",
            hint="Use np.random.PCG64, as np.random.default_rng does",
        )
    bits = kind()
    bits.state = generator
    further: dict[str, Any] = _plain(bits.jumped(jumps).state)
    return further


def _is_generator(value: Any) -> bool:
    return isinstance(value, dict) and "bit_generator" in value


def _plain(value: Any) -> Any:
    """Return a state with lists in the place of arrays."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value
