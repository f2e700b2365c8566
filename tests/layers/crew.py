"""Workers in processes of their own, which wait for functions to run together."""

from __future__ import annotations

import multiprocessing
import socket
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from caffe_lite.workers.environment import Place
from caffe_lite.workers.exchange import Exchange
from caffe_lite.workers.group import Group

_PATIENCE = 120  # seconds


class Crew:
    """``count`` processes, joined as a group. ``run`` has each of them run a function, and returns the results."""

    def __init__(self, count: int) -> None:
        self.count = count
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        spawn = multiprocessing.get_context("spawn")
        self._pipes, self._processes = [], []
        for rank in range(count):
            mine, theirs = spawn.Pipe()
            place = Place(rank, count, rank, count, "127.0.0.1", port, "a test")
            self._processes.append(spawn.Process(target=_work, args=(place, theirs), daemon=True))
            self._processes[-1].start()
            theirs.close()
            self._pipes.append(mine)

    def run(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Return what ``function(exchange, *arguments[rank])`` returns in each process."""
        for pipe, own in zip(self._pipes, arguments, strict=True):
            pipe.send((function, own))
        results = []
        for pipe in self._pipes:
            assert pipe.poll(_PATIENCE), "a worker hangs"
            results.append(pipe.recv())
        for done, result in results:
            assert done, result
        return [result for _, result in results]

    def close(self) -> None:
        for pipe in self._pipes:
            pipe.send(None)
        for process in self._processes:
            process.join(10)
            process.kill()


def _work(place: Place, pipe: Any) -> None:
    with Group(place) as group:
        exchange = Exchange(group)
        while (task := pipe.recv()) is not None:
            function, arguments = task
            try:
                pipe.send((True, function(exchange, *arguments)))
            except Exception:
                pipe.send((False, traceback.format_exc()))
