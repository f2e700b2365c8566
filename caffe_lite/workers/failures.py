"""The first failure of a group, kept in its store, where all workers find it; and the end of the group."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass
from typing import Any

from .environment import Place

_FAILURE = "failure"
_GONE = "gone"
# Seconds that a worker that has failed stays for the others to learn why.
_STAY = 6.0


@dataclass(frozen=True)
class Failure:
    """The first failure: the worker's ``rank`` and ``host``, and its message; without a rank, it says all itself."""

    rank: int | None
    host: str
    message: str

    def told(self) -> str:
        """Say it from another worker's view."""
        if self.rank is None:
            return self.message
        return f"worker {self.rank}, on {self.host}, has failed: {self.message}"


class Failures:
    """What the workers of a group leave about failures, over one connection to its store."""

    def __init__(self, place: Place, store: Any) -> None:
        self.place = place
        self.store = store

    def report(self, message: str, about: int | None) -> None:
        """Leave a failure for the others; only the first of all workers is kept."""
        text = json.dumps({"rank": about, "host": socket.gethostname(), "message": message})
        try:
            self.store.compare_set(_FAILURE, "", text)
        except RuntimeError:
            return  # the store is gone with the worker or the launcher that held it

    def first(self) -> Failure | None:
        """Return the first failure that a worker has left."""
        if not self.store.check([_FAILURE]):
            return None
        return Failure(**json.loads(self.store.get(_FAILURE)))

    def last_out(self, lost: bool = False) -> None:
        """Say that this worker goes; stay for the others if they need this process, or what ends with it.

        Rank 0 may hold the store; and torchrun, which else holds it, ends when one of its workers does. One that has
        only lost another goes after that one, so that the launcher sees the cause first.
        """
        try:
            self.store.add(_GONE, 1)
            until = time.monotonic() + _STAY
            while not self.place.is_ours and self.store.add(_GONE, 0) < self.place.count and time.monotonic() < until:
                time.sleep(0.05)
            if lost and not self.place.is_ours:
                time.sleep(0.5)
        except RuntimeError:
            return
