"""The order in which the parts of a source are read: as they stand, or shuffled; around and around."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DataError


class Order:
    """The numbers from 0 to ``count`` - 1, again and again; with a generator each round is shuffled anew.

    ``what`` names in errors what is counted. ``place()`` is JSON and stays small: instead of the shuffled numbers it
    holds the generator as it was before.
    """

    def __init__(self, what: str, count: int, rng: np.random.Generator | None = None) -> None:
        self.what = what
        self.count = count
        self.rng = rng
        self._begin_round()

    def _begin_round(self) -> None:
        self.next = 0
        self._before = None if self.rng is None else self.rng.bit_generator.state
        self._numbers = np.arange(self.count) if self.rng is None else self.rng.permutation(self.count)

    @property
    def left(self) -> int:
        """How many numbers the round still has; never none."""
        return self.count - self.next

    def peek(self) -> int:
        """The number that comes next."""
        return int(self._numbers[self.next])

    def take(self, count: int) -> list[int]:
        """The next numbers; behind the last comes the first of the next round."""
        taken: list[int] = []
        while len(taken) < count:
            numbers = self._numbers[self.next : self.next + count - len(taken)]
            taken += numbers.tolist()
            self.next += len(numbers)
            if self.next == self.count:
                self._begin_round()
        return taken

    def place(self) -> dict[str, Any]:
        return {"next": self.next, "count": self.count, "before": self._before}

    def seek(self, place: dict[str, Any]) -> None:
        """Go on from where ``place()`` was asked for; leaves the generator as it was when that round began."""
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
