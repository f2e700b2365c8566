"""The group of all workers: what they tell each other, by torch.distributed (NCCL between GPUs, Gloo otherwise)."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..errors import MissingExtra, WorkerError, WorkerLost, first_line
from ..plugins import is_installed
from .environment import Place

if TYPE_CHECKING:
    import torch
    import torch.distributed as distributed

T = TypeVar("T")

# Rank 0 may test for hours while the others wait for it. The watch (watching.py) finds workers that are gone.
_PATIENCE = timedelta(days=7)
_JOINING = timedelta(minutes=5)
# How long to look for the message of a worker that has closed its connections, in seconds.
_GRACE = 3.0
_FAILURE = "caffe_lite/failure"


class Group:
    """This process and the others that work with it.

    All members call the same methods in the same order, except ``report`` and ``failure``. A method that needs a worker
    that has ended raises a WorkerLost with that worker's own error.

    Attributes:
        rank, count: this process's number, and how many there are.
        place: where the launcher has put this process.
    """

    def __init__(self, place: Place, device: str = "cpu", store: Any = None) -> None:
        if not is_installed("torch"):
            raise MissingExtra("torch", "torch", "work in several processes")
        import torch

        distributed: Any = import_module("torch.distributed")
        if not distributed.is_available():
            raise WorkerError("this build of torch has no torch.distributed", hint="install another build of torch")
        self.place = place
        self.rank, self.count = place.rank, place.count
        self._torch, self._distributed = torch, distributed
        backend = "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"
        try:
            if store is None:
                store = distributed.TCPStore(
                    place.address,
                    place.port,
                    place.count,
                    is_master=place.rank == 0 and "TORCHELASTIC_USE_AGENT_STORE" not in os.environ,
                    timeout=_JOINING,
                )
            attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
            self.store = distributed.PrefixStore(f"caffe_lite/{attempt}", store)
            distributed.init_process_group(
                backend, store=self.store, rank=place.rank, world_size=place.count, timeout=_PATIENCE
            )
        except (RuntimeError, ValueError) as error:
            raise WorkerError(
                f"worker {place.rank} of {place.count} cannot join the others at {place.address}:{place.port}: "
                f"{first_line(error)}",
                hint="start all workers, with one address that all of them can reach",
            ) from error

    def __enter__(self) -> Group:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self._distributed.destroy_process_group()

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
        text = json.dumps({"rank": self.rank, "host": socket.gethostname(), "message": message})
        try:
            self.store.compare_set(_FAILURE, "", text)
        except RuntimeError:
            return  # the store is gone with the worker or the launcher that held it

    def failure(self) -> dict[str, Any] | None:
        """Return the first error that a worker has left: its rank, host and message."""
        try:
            if not self.store.check([_FAILURE]):
                return None
            failure: dict[str, Any] = json.loads(self.store.get(_FAILURE))
        except RuntimeError:
            return None
        return failure

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn the end of a connection into the error of the worker at its other end."""
        try:
            yield
        except RuntimeError as error:
            if isinstance(error, WorkerError):
                raise
            raise self.lost(error) from error

    def lost(self, error: BaseException) -> WorkerLost:
        """Make the error to raise after a connection has ended with this one."""
        until = time.monotonic() + _GRACE
        while (failure := self.failure()) is None and time.monotonic() < until:
            time.sleep(0.05)
        if failure is None:
            return WorkerLost(
                f"worker {self.rank} has lost the others: {first_line(error)}",
                hint="one of them was killed, or its machine cannot be reached; its own log may say why",
            )
        return WorkerLost(f"worker {failure['rank']}, on {failure['host']}, has failed: {failure['message']}")
