"""Where nets get their random generators from."""

from __future__ import annotations

import numpy as np

# Made with the first generator: numpy.random takes a while to import.
_seeds: np.random.SeedSequence | None = None


def set_random_seed(seed: int) -> None:
    """Seed every net made from now on without a seed of its own: the same script then draws the same numbers."""
    global _seeds
    _seeds = np.random.SeedSequence(seed)


def new_generator(seed: int | None = None) -> np.random.Generator:
    """A generator of this seed; without one, the next of those that ``set_random_seed`` started."""
    global _seeds
    _seeds = _seeds or np.random.SeedSequence()
    return np.random.Generator(np.random.PCG64(_seeds.spawn(1)[0] if seed is None else seed))
