"""The order in which the parts of a source are read, over and over again: as they stand, or shuffled."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DataError
from ..ranks import WHOLE, Share

Place = dict[str, Any]  # to go on from, as JSON


class Order:
    """The numbers from 0 to ``count`` - 1, round after round; with a generator, each round is shuffled again.

    ``what`` is what errors call the things counted. ``place()`` is JSON and stays small: instead of the shuffled
    numbers, it holds the generator's state before the shuffle.
    """

    def __init__(self, what: str, count: int, rng: np.random.Generator | None = None) -> None:
        self.what = what
        self.count = count
        self.rng = rng
        self._begin_round()

    def _begin_round(self) -> None:
        self.next = 0
        self._before = None if self.rng is None else self.rng.bit_generator.state
        self._numbers = np.arange(self.count) if self.rng is None else self.shuffled(self.rng)

    def shuffled(self, rng: np.random.Generator) -> np.ndarray:
        """Return the numbers in the order of the next round."""
        return rng.permutation(self.count)

    @property
    def left(self) -> int:
        """Number of numbers left in the round; never 0."""
        return self.count - self.next

    def peek(self) -> int:
        """Return the next number without taking it."""
        return int(self._numbers[self.next])

    def take(self, count: int, share: Share = WHOLE) -> list[int]:
        """Return this share of the next numbers, of which each has ``count``; the next round follows the last number.

        All shares' numbers are taken, so that the order and the place in it are the same for all of them.
        """
        taken: list[int] = []
        total = count * share.count
        while len(taken) < total:
            numbers = self._numbers[self.next : self.next + total - len(taken)]
            taken += numbers.tolist()
            self.next += len(numbers)
            if self.next == self.count:
                self._begin_round()
        return list(share.of(taken))

    def place(self) -> Place:
        return {"next": self.next, "count": self.count, "before": self._before}

    def seek(self, place: Place) -> None:
        """Go on from where ``place()`` was called; leave the generator as it was after the shuffle of that round."""
        count, following = int(place["count"]), int(place["next"])
        if count != self.count:
            raise DataError(
                f"there are {self.count} {self.what}, and were {count} when the snapshot was made",
                hint="Resume with the same ones, or start anew",
            )
        if not 0 <= following < count:
            raise ValueError(following)
        if self.rng is not None:
            self.rng.bit_generator.state = place["before"]
        self._begin_round()
        self.next = following
