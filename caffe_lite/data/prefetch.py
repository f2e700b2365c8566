"""Work done ahead in a background thread."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Prefetcher(Generic[T]):
    """Calls ``produce`` in a thread, at most ``depth`` results ahead of ``get``.

    Once it is that far ahead, it rests until half of the results are taken: several in a row cost less than one at a
    time, with cold caches and a thread to wake.

    An exception in the thread ends it, and ``get`` raises it where the result would have come, and from then on. The
    thread ends with ``close``, with the process, and when nothing refers to the Prefetcher any more; therefore
    ``produce`` must not refer to it either.
    """

    def __init__(self, produce: Callable[[], T], depth: int) -> None:
        self._worker = _Worker(produce, depth)
        self._abandoned = weakref.finalize(self, self._worker.stop)
        self._worker.start()

    def get(self) -> T:
        """Wait for the next result and return it."""
        return self._worker.take()

    def close(self) -> None:
        """Stop the thread and wait for it: it finishes the result it is working on."""
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
        # Reentrant, because the garbage collector may call `stop` in a thread that holds the lock.
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


# A thread still in C code when the interpreter shuts down can crash the process: wait for all threads.
_workers: weakref.WeakSet[_Worker[Any]] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    workers = list(_workers)
    for worker in workers:
        worker.stop()
    for worker in workers:
        worker.join()
