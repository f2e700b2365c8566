"""Threads that end a worker that could only wait: for one that has failed, was stopped, or cannot be reached."""

from __future__ import annotations

import os
import sys
import threading
import time
from math import inf
from typing import Any

from ..errors import WorkerError
from .environment import Place
from .failures import Failures
from .last_words import LastWords, leave

SILENCE = "CAFFE_LITE_SILENCE"
_SILENCE = 25.0  # seconds without a sign of life after which a worker counts as gone, unless the variable says others
# Between two signs of life, as a share of that.
_PULSE = 0.08
# If a thread was not run for such a share, the process was stopped; what it has not heard meanwhile proves nothing.
_GAP = 0.2
# Seconds that the main thread gets to end with an error of its own after another worker has failed.
_ALLOWED = 1.0
_PARTED = "parted"


class Watch:
    """Gives signs of life of this worker, and watches the failures of all and the signs of its neighbour.

    A worker's main thread may be inside an exchange that never ends, because one of the others is gone, or in a test of
    hours. So the watch ends the process itself. A second thread watches the first, because a request to a machine that
    has vanished never returns.
    """

    def __init__(self, place: Place, store: Any) -> None:
        """Take a store that nobody else uses: one connection serves one request at a time."""
        self.place = place
        self.store = store
        self.silence = _silence()
        self.failures = Failures(place, store)
        self.neighbour = (place.rank + 1) % place.count
        self._stopped = threading.Event()
        self._stopping = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._answered = time.monotonic()
        self._beats = 0
        self.parted: list[int] = []
        self.waiting_since = float("inf")
        self._heard = (b"", time.monotonic())
        self._beat()

    def start(self) -> None:
        """Begin to watch; all workers have given their first sign of life."""
        self._answered = time.monotonic()
        self._heard = (b"", time.monotonic())
        for target in (self._watch, self._watch_the_store):
            self._threads.append(threading.Thread(target=target, name="caffe_lite watch", daemon=True))
            self._threads[-1].start()

    def stop(self) -> bool:
        """Watch no longer; return whether it was not already stopped: if not, it is about to end this process."""
        with self._stopping:
            if self._stopped.is_set():
                return False
            self._stopped.set()
            return True

    def rest(self) -> None:
        """Wait for the threads of a stopped watch, but not for a store that does not answer.

        A thread that came back from torch's store while Python ends would abort the process.
        """
        for thread in self._threads:
            thread.join(self.silence)

    def _beat(self) -> None:
        self._beats += 1
        self.store.set(f"alive/{self.place.rank}", str(self._beats))

    def part(self) -> None:
        """Say that this worker has ended without the others, who may go on if they do not need it."""
        is_first = self.stop()
        self.rest()
        if is_first:
            try:
                self.store.set(f"alive/{self.place.rank}", _PARTED)
            except RuntimeError:
                return  # the others have ended before

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._stopped.is_set():
            try:
                self._beat()
                failure = self.failures.first()
                sign = self._sign_of_neighbour()
            except RuntimeError:
                if not self._stopped.wait(_ALLOWED):
                    self._end(f"{self._host()} is gone", untold=True)
                return
            now = self._answered = time.monotonic()
            if failure:
                self._stopped.wait(_ALLOWED)
                self._end(failure.told())
                return
            if sign != self._heard[0] or now - last > _GAP * self.silence:
                self._heard = (sign, now)
            if now - self._heard[1] > self.silence and self.neighbour != self.place.rank:
                what = f"worker {self.neighbour} has not been heard of for {self.silence:g} seconds"
                self._end(f"{what}: it was stopped, or its machine cannot be reached", lost=False)
                return
            if self.parted and now - self.waiting_since > self.silence:
                parted = ", ".join(map(str, self.parted))
                self._end(f"worker {self.place.rank} waits for others, but worker {parted} has ended")
                return
            last = now
            self._stopped.wait(_PULSE * self.silence)

    def _sign_of_neighbour(self) -> bytes:
        """Return the last sign of life of the next worker that has not parted."""
        sign = b""
        while self.neighbour != self.place.rank:
            sign = self.store.get(f"alive/{self.neighbour}")
            if sign != _PARTED.encode():
                break
            self.parted.append(self.neighbour)
            self.neighbour = (self.neighbour + 1) % self.place.count
        return sign

    def _watch_the_store(self) -> None:
        last = time.monotonic()
        while not self._stopped.wait(_PULSE * self.silence / 4):
            now = time.monotonic()
            if now - last > _GAP * self.silence:
                self._answered = now
            last = now
            if now - self._answered > self.silence:
                self._end(f"{self._host()} has not answered for {self.silence:g} seconds", untold=True)
                return

    def _host(self) -> str:
        """Name who holds the store."""
        if self.place.is_ours:
            return "the caffe-lite that has started the workers"
        return f"what joins the workers at {self.place.address}:{self.place.port}"

    def _end(self, message: str, lost: bool = True, untold: bool = False) -> None:
        """End the process, whatever its other threads do, unless it has come to its own end meanwhile.

        ``untold``: nobody can be told of it through the store, and our launcher may not be there to print it.
        """
        if not self.stop():
            return
        if not lost:
            self.failures.report(message, about=None)
        leave(LastWords(message, self.place.rank if lost else None, lost), self.place, untold=untold)
        if not untold:
            self.failures.last_out(lost)
        sys.stdout.flush()
        os._exit(1)


def _silence() -> float:
    text = os.environ.get(SILENCE, str(_SILENCE))
    try:
        seconds = float(text)
        if not 1 <= seconds < inf:
            raise ValueError
    except ValueError:
        raise WorkerError(
            f"{SILENCE} is {text!r}", hint="give the seconds without a sign of life after which a worker is gone: 60"
        ) from None
    return seconds
