"""The group of all workers: what they tell each other, by torch.distributed (NCCL between GPUs, Gloo otherwise)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from multiprocessing.util import Finalize
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..errors import MissingExtra, WorkerError, WorkerLost, first_line
from ..plugins import is_installed
from .attempts import Attempt
from .environment import Place
from .failures import Failures
from .interfaces import choose_interface
from .last_words import words_of
from .watching import Watch

if TYPE_CHECKING:
    import torch
    import torch.distributed as distributed

T = TypeVar("T")

# Rank 0 may test for hours while the others wait for it. The watch (watching.py) finds workers that are gone.
_PATIENCE = timedelta(days=7)
_JOINING = timedelta(minutes=5)
_HELD = timedelta(seconds=30)  # for a store that is there before the workers
# How long to look for the message of a worker that has closed its connections, in seconds.
_GRACE = 3.0


class Group:
    """This process and the others that work with it.

    All members call the same methods in the same order, except ``report``. A method that needs a worker
    that has ended raises a WorkerLost with that worker's own error.

    Attributes:
        rank, count: this process's number, and how many there are.
        place: where the launcher has put this process.
        restarted_since: on rank 0, when the launcher has started the workers for the first time, if not now.
    """

    def __init__(self, place: Place, device: str = "cpu") -> None:
        if not is_installed("torch"):
            raise MissingExtra("torch", "torch", "work in several processes")
        import torch

        distributed: Any = import_module("torch.distributed")
        if not distributed.is_available():
            raise WorkerError("this build of torch has no torch.distributed", hint="install another build of torch")
        if distributed.is_initialized():
            raise WorkerError(
                "this process is in a group of torch.distributed, and can be in one only",
                hint="train in a process of its own, or call torch.distributed.destroy_process_group() before",
            )
        self.place = place
        self.rank, self.count = place.rank, place.count
        self._torch, self._distributed = torch, distributed
        backend = "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"
        try:
            self._held = self._connect(is_master=place.rank == 0 and not place.store_is_held)
            attempt = Attempt(place.rank, distributed.PrefixStore("caffe_lite", self._held))
            self.restarted_since = attempt.restarted_since
            for _ in self._patiently("worker 0 has not come"):
                attempt.find()
                if attempt.number is not None:
                    break
            prefix = f"caffe_lite/{attempt.number}"
            self.store = distributed.PrefixStore(prefix, self._held)
            self._failures = Failures(place, self.store)
            self._watch = Watch(place, distributed.PrefixStore(prefix, self._connect()))
            self._meet(attempt)
            self._watch.start()
            # For scripts, which end without leaving; also those whose process multiprocessing has started.
            Finalize(None, self._watch.part, exitpriority=0)
            choose_interface(place, self.store)
            distributed.init_process_group(
                backend, store=self.store, rank=place.rank, world_size=place.count, timeout=_PATIENCE
            )
        except WorkerError:
            raise
        except (RuntimeError, ValueError) as error:
            raise WorkerError(
                f"worker {place.rank} of {place.count} cannot join the others at {place.address}:{place.port}: "
                f"{first_line(error)}",
                hint="start all workers, with one address that all of them can reach, and a MASTER_PORT that is free",
            ) from error

    def _connect(self, is_master: bool = False) -> Any:
        return self._distributed.TCPStore(
            self.place.address,
            self.place.port,
            is_master=is_master,
            wait_for_workers=False,
            timeout=_HELD if self.place.store_is_held else _JOINING,
        )

    def _meet(self, attempt: Attempt) -> None:
        """Wait for all others, but not for one that has failed on its way."""
        arrived = self.store.add("arrived", 1)
        for _ in self._patiently(f"not all of the {self.count} workers have come"):
            attempt.find()
            if arrived == self.count:
                return
            if failure := self._failures.first():
                raise WorkerLost(failure.told())
            arrived = self.store.add("arrived", 0)

    def _patiently(self, what: str) -> Iterator[None]:
        """Yield again and again, until it takes too long."""
        until, pause = time.monotonic() + _JOINING.total_seconds(), 0.005
        while time.monotonic() < until:
            yield
            time.sleep(pause)
            pause = min(0.5, 1.5 * pause)
        raise WorkerError(
            f"{what} to {self.place.address}:{self.place.port} within {_JOINING.total_seconds() / 60:g} minutes",
            hint="start all of them; the logs of the others may say why they are not here",
        )

    def part(self) -> None:
        """End the group for this process, which has no more to do with the others; they may go on without it."""
        self._watch.part()
        if self._distributed.is_initialized():
            self._distributed.destroy_process_group()

    def __enter__(self) -> Group:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave together: after an error with its message for the others, otherwise when all are done."""
        if error is None:
            try:
                self._await_all()
            except BaseException as late:
                self._leave(late)
                raise
        self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        if not self._watch.stop():
            time.sleep(60)  # the watch has found a failure, and ends this process
        if error is None:
            self._watch.rest()
            self._distributed.destroy_process_group()
        elif not isinstance(error, WorkerLost):
            self.report(words_of(error))
        self._failures.last_out(lost=isinstance(error, WorkerLost))

    def _await_all(self) -> None:
        """Wait until all are done: rank 0 may still test, and a failure there is one of the group.

        This is no exchange by torch.distributed, which would not end if one of the others has failed.
        """
        try:
            done, pause = self.store.add("done", 1), 0.005
            while done < self.count:
                time.sleep(pause)
                pause = min(0.5, 1.5 * pause)
                done = self.store.add("done", 0)
        except RuntimeError as error:
            raise self.lost(error) from error

    # -- what all members call -----------------------------------------------------------------------------------------

    def shared(self, value: T) -> T:
        """Return rank 0's value to all."""
        values = [value]
        with self.guarded():
            self._distributed.broadcast_object_list(values, 0, device=self._torch.device("cpu"))
        return values[0]

    def gathered(self, value: T) -> list[T]:
        """Return every worker's value, in the order of their ranks."""
        values: list[Any] = [None] * self.count
        flat = self._torch.from_numpy(np.frombuffer(json.dumps(value).encode(), np.uint8).copy())
        sizes = [self._torch.zeros(1, dtype=self._torch.int64) for _ in values]
        with self.guarded():
            self._distributed.all_gather(sizes, self._torch.tensor([len(flat)]))
            padded = self._torch.zeros(max(int(size) for size in sizes), dtype=self._torch.uint8)
            padded[: len(flat)] = flat
            found = [self._torch.zeros_like(padded) for _ in values]
            self._distributed.all_gather(found, padded)
        return [json.loads(data[: int(size)].numpy().tobytes()) for data, size in zip(found, sizes, strict=True)]

    def shared_arrays(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return copies of rank 0's arrays to all; the arrays of the others have the same shapes and types."""
        copies = [np.array(array, order="C") for array in arrays]
        with self.guarded():
            works = [
                self._distributed.broadcast(self._torch.from_numpy(copy), 0, async_op=True)
                for copy in copies
                if copy.size
            ]
            for work in works:
                work.wait()
        return copies

    def sending(self, data: bytes, number: int) -> Sending:
        """Begin to send bytes to rank 0, which calls ``received`` with the same number: 0, then 1, and so on."""
        flat = self._torch.from_numpy(np.frombuffer(data, np.uint8).copy())
        size = self._torch.tensor([len(flat)])
        with self.guarded():
            works = [
                self._distributed.isend(tensor, 0, tag=_tag(number, part)) for part, tensor in enumerate((size, flat))
            ]
        return Sending(self, works, (size, flat))

    def received(self, rank: int, number: int) -> bytes:
        """Return, at rank 0, the bytes that a worker sends with this number."""
        size = self._torch.zeros(1, dtype=self._torch.int64)
        with self.guarded():
            self._distributed.recv(size, rank, tag=_tag(number, 0))
            flat = self._torch.zeros(int(size), dtype=self._torch.uint8)
            self._distributed.recv(flat, rank, tag=_tag(number, 1))
        data: bytes = flat.numpy().tobytes()
        return data

    def summing(self, tensor: torch.Tensor) -> distributed.Work:
        """Begin to replace a tensor by its sum over all workers; it must be left alone until the work is waited for."""
        return self._distributed.all_reduce(tensor, async_op=True)

    def mean(self, numbers: Sequence[float]) -> list[float]:
        """Return the mean of each number over all workers."""
        tensor = self._torch.tensor([float(number) for number in numbers], dtype=self._torch.float64)
        with self.guarded():
            self._distributed.all_reduce(tensor)
        return [float(number) / self.count for number in tensor.tolist()]

    # -- when a worker fails -------------------------------------------------------------------------------------------

    def report(self, message: str) -> None:
        """Leave this worker's error for the others; only the first error of all workers is kept."""
        self._failures.report(message, about=self.rank)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn the end of a connection into the error of the worker at its other end."""
        self._watch.waiting_since = time.monotonic()
        try:
            yield
        except RuntimeError as error:
            if isinstance(error, WorkerError):
                raise
            raise self.lost(error) from error
        finally:
            self._watch.waiting_since = float("inf")

    def lost(self, error: BaseException) -> WorkerLost:
        """Make the error to raise after a connection has ended with this one."""
        until, failure = time.monotonic() + _GRACE, None
        try:
            while (failure := self._failures.first()) is None and time.monotonic() < until:
                time.sleep(0.05)
        except RuntimeError:
            pass  # the store is gone with the worker or the launcher that held it
        if failure is None:
            return WorkerLost(
                f"worker {self.rank} has lost the others: {first_line(error)}",
                hint="one of them was killed, or its machine cannot be reached; its own log may say why",
            )
        return WorkerLost(failure.told())


class Sending:
    """Tensors on their way to rank 0."""

    def __init__(self, group: Group, works: Sequence[distributed.Work], tensors: Sequence[torch.Tensor]) -> None:
        self._group, self._works = group, works
        self._tensors = tensors  # kept until they have arrived

    def wait(self) -> None:
        with self._group.guarded():
            for work in self._works:
                work.wait()


def _tag(number: int, part: int) -> int:
    return 2 * (number % 2**29) + part
