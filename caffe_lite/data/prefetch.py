"""Work done ahead in a background thread."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefetcher(Generic[T]):
    """Calls ``produce`` in a thread, at most ``depth`` results ahead of ``get``.

    Once it is so far ahead it rests until half of them are taken: several in a row cost less than each by itself, with
    caches gone cold and a thread to wake.

    An exception in the thread ends it, and ``get`` raises it where its result would have come, and ever after. The
    thread ends with ``close``, with the process, and when nobody holds the Prefetcher any more; so ``produce`` must
    not hold it either.
    """

    def __init__(self, produce: Callable[[], T], depth: int) -> None:
        self._worker = _Worker(produce, depth)
        self._abandoned = weakref.finalize(self, self._worker.stop)
        self._worker.start()

    def get(self) -> T:
        """The next result; waits for it."""
        return self._worker.take()

    def close(self) -> None:
        """Stop the thread, and wait until it has: it finishes the result at which it is."""
        self._abandoned()
        self._worker.join()


class _Worker(threading.Thread, Generic[T]):
    def __init__(self, produce: Callable[[], T], depth: int) -> None:
        super().__init__(name="caffe_lite prefetch", daemon=True)
        self._produce = produce
        self._depth = depth
        self._rests = False
        self._ready: deque[T] = deque()
        self._failure: BaseException | None = None
        self._stopped = False
        # Reentrant, since the garbage collector may call `stop` from a thread that is inside.
        self._changed = threading.Condition(threading.RLock())
        _workers.add(self)

    def run(self) -> None:
        while self._has_room():
            try:
                result = self._produce()
            except BaseException as error:
                with self._changed:
                    self._failure = self._failure or error
                    self._changed.notify_all()
                return
            with self._changed:
                self._ready.append(result)
                self._changed.notify_all()

    def _has_room(self) -> bool:
        """Wait for room in the queue; False once stopped."""
        with self._changed:
            self._rests = len(self._ready) >= self._depth
            while self._rests and not self._stopped:
                self._changed.wait()
            return not self._stopped

    def take(self) -> T:
        with self._changed:
            while not self._ready:
                if self._failure is not None:
                    raise self._failure
                self._changed.wait()
            result = self._ready.popleft()
            if self._rests and len(self._ready) <= self._depth // 2:
                self._rests = False
                self._changed.notify_all()
            return result

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._failure = self._failure or RuntimeError("the prefetcher is closed")
            self._changed.notify_all()


# A thread still in C code when the interpreter goes down can bring the process down with it: wait for them all.
_workers: weakref.WeakSet[_Worker] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    workers = list(_workers)
    for worker in workers:
        worker.stop()
    for worker in workers:
        worker.join()
