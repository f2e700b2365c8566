"""Work on many things, dealt out to the workers of a group in turn; the first worker gets the results in order."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from ..errors import CaffeError
from .group import Group, Sending

T = TypeVar("T")
R = TypeVar("R")

# Bytes of results that are sent together, and that may be on their way before a worker waits for the first one.
_TOGETHER = 2**20
_ON_THE_WAY = 2**26


def in_turn(group: Group, items: Sequence[T], work: Callable[[T], Iterable[R]]) -> Iterator[R]:
    """Yield the results of the work on each item, in the order of the items.

    Item i is the work of rank i % count. Rank 0 yields the results of all, the others yield none. A CaffeError comes
    after the results of all items before, as it would in one process; the group can do nothing more then.
    """
    if group.rank:
        _send(group, items[group.rank :: group.count], work)
        return
    received = [0] * group.count
    for number, item in enumerate(items):
        rank, is_done = number % group.count, False
        if not rank:
            try:
                yield from work(item)
            except CaffeError as error:
                raise _anyones(error) from error.__cause__
        while rank and not is_done:
            results, is_done, failure = pickle.loads(group.received(rank, received[rank]))
            received[rank] += 1
            yield from map(pickle.loads, results)
            if failure is not None:
                raise _anyones(failure)


def _send(group: Group, items: Sequence[T], work: Callable[[T], Iterable[R]]) -> None:
    outbox = _Outbox(group)
    for item in items:
        try:
            for result in work(item):
                outbox.put(result)
        except CaffeError as error:
            outbox.post(is_done=True, error=error)
            break  # rank 0 raises it when it has come so far
        outbox.post(is_done=True)
    outbox.wait(0)


class _Outbox:
    """What a worker sends to rank 0: a few results at a time, while it works on the next ones."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.results: list[bytes] = []
        self.number = 0
        self.under_way: deque[tuple[Sending, int]] = deque()

    def put(self, result: Any) -> None:
        self.results.append(pickle.dumps(result, protocol=pickle.HIGHEST_PROTOCOL))
        if sum(map(len, self.results)) >= _TOGETHER:
            self.post(is_done=False)

    def post(self, is_done: bool, error: CaffeError | None = None) -> None:
        """Send what there is, and whether it is the last of an item; wait if too much is on its way."""
        data = pickle.dumps((self.results, is_done, error))
        self.results = []
        self.under_way.append((self.group.sending(data, self.number), len(data)))
        self.number += 1
        self.wait(_ON_THE_WAY)

    def wait(self, size: int) -> None:
        """Wait until no more than this size is on its way."""
        while self.under_way and sum(length for _, length in self.under_way) > size:
            sending, _ = self.under_way.popleft()
            sending.wait()


def _anyones(error: CaffeError) -> CaffeError:
    error.anyones = True
    return error
