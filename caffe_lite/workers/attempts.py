"""Attempts of a launcher: what the workers of one leave in the launcher's store must not be taken for another's."""

from __future__ import annotations

import time
from typing import Any


class Attempt:
    """One start of all workers; the next one, if there is, uses the same store.

    torchrun counts the restarts, but each machine its own: where no worker has failed, a restart is not counted. So the
    number of the attempt is what rank 0 says to each that comes.

    Attributes:
        number: of this attempt; None until rank 0 is there, too.
        restarted_since: rank 0 learns here when the first attempt has begun, if this is another one.
    """

    def __init__(self, rank: int, store: Any) -> None:
        """Come to a store that all attempts have in common."""
        self._rank, self._store = rank, store
        self._coming: int = store.add("comers", 1)
        self.restarted_since: float | None = None
        self.number: int | None = None
        if rank == 0:
            self.number = self._coming
            now = repr(time.time())
            began = store.compare_set("began", "", now).decode()
            self.restarted_since = None if began == now else float(began)
        self.find()

    def find(self) -> None:
        """Learn the number of the attempt; rank 0 tells it to those who have come since it looked last."""
        if self._rank == 0:
            # Those who were told by the last attempt's rank 0 have ended.
            for comer in range(self._store.add("told", 0) + 1, self._store.add("comers", 0) + 1):
                self._store.set(f"attempt/{comer}", str(self.number))
                self._store.add("told", 1)
        elif self.number is None and self._store.check([key := f"attempt/{self._coming}"]):
            self.number = int(self._store.get(key))
