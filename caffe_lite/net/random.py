"""The random generators of nets."""

from __future__ import annotations

import numpy as np

# Made with the first generator, because importing numpy.random takes a while.
_seeds: np.random.SeedSequence | None = None


def set_random_seed(seed: int) -> None:
    """Seed every net that is made from now on without its own seed: the same script then draws the same numbers."""
    global _seeds
    _seeds = np.random.SeedSequence(seed)


def new_generator(seed: int | None = None) -> np.random.Generator:
    """Make a generator with this seed; without one, make the next in the sequence that ``set_random_seed`` starts."""
    global _seeds
    _seeds = _seeds or np.random.SeedSequence()
    return np.random.Generator(np.random.PCG64(_seeds.spawn(1)[0] if seed is None else seed))
