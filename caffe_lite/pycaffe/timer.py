"""pycaffe's Timer."""

from __future__ import annotations

import time

from ..errors import CaffeError


class Timer:
    """A stopwatch: ``start()``, ``stop()``, then ``ms``, ``us`` and ``seconds`` between the two."""

    def __init__(self) -> None:
        self._started: float | None = None
        self._stopped: float | None = None

    def start(self) -> None:
        self._started, self._stopped = time.perf_counter(), None

    def stop(self) -> None:
        if self._started is not None and self._stopped is None:
            self._stopped = time.perf_counter()

    @property
    def seconds(self) -> float:
        """The measured time; reading it stops a running timer."""
        if self._started is None:
            raise CaffeError("the timer was never started", hint="call start() first")
        self.stop()
        assert self._stopped is not None
        return self._stopped - self._started

    @property
    def ms(self) -> float:
        return 1e3 * self.seconds

    @property
    def us(self) -> float:
        return 1e6 * self.seconds
