"""Commands whose batches or images are dealt out to several processes, of which the first one tells the user."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from .. import ranks
from .arguments import choose_engine
from .workers import member, to_launch

if TYPE_CHECKING:
    from ..logs.log import LogHandler
    from ..pycaffe.net import Net
    from ..workers.group import Group
    from ..workers.logs import GroupLog

T = TypeVar("T")
R = TypeVar("R")


def in_workers(arguments: argparse.Namespace, command: Callable[[argparse.Namespace, Crew], None]) -> int:
    """Run a command in as many processes as ``--workers`` or a launcher asks for; usually in this one alone."""
    if count := to_launch(arguments):
        from ..workers.launching import launch

        return launch(arguments.words, count)
    with member(arguments) as group, Crew(group) as crew:
        command(arguments, crew)
        sys.stdout.flush()  # while an error can still be told
    return 0


class Crew:
    """This process and the others that do the same command, if there are any.

    A command calls ``start``, makes its net, calls ``join``, and then goes through its work ``in_turn``.

    Attributes:
        is_first: whether this process tells the user and writes what is common.
        is_alone: whether there are no others.
    """

    def __init__(self, group: Group | None) -> None:
        self._group = group
        self._log: GroupLog | None = None
        self._net: Net | None = None
        self.is_first = group is None or group.rank == 0
        self.is_alone = group is None
        self._exit = ExitStack()

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._exit.__exit__(kind, error, traceback)

    def start(self, arguments: argparse.Namespace) -> LogHandler:
        """Show the log, choose the engine, and let nets read this process's batches from now on."""
        from ..logs.log import start_logging

        log = start_logging()
        if self._group is not None:
            from ..workers.logs import GroupLog

            self._log = self._exit.enter_context(GroupLog(log, self._group))
            ranks.deal_batches(self._group.rank, self._group.count)
        choose_engine(arguments)
        return log

    def join(self, net: Net) -> None:
        """Go on with the parameters of the first process, also those that no file gives, and in its order of data."""
        self._net = net
        if self._group is None or self._log is None:
            return
        from ..workers.starting import check_alike, parameters_of, take_first

        group, graph = self._group, net._caffe_graph
        check_alike(group, graph, [])
        take_first(group, graph.ops, [blob.data for blob in parameters_of(graph)])
        state = group.shared(graph.state())
        if group.rank:
            graph.restore_state(ranks.diverged(state, group.rank))
        self._log.release()

    def in_turn(self, items: Sequence[T], work: Callable[[T], Iterable[R]]) -> Iterator[R]:
        """Yield the results of the work on each item in order, at the first process; the others yield nothing.

        The work on an item, one pass of the net or more, must not depend on that on others.
        """
        if self._group is None:
            for item in items:
                yield from work(item)
            return
        from ..workers.turns import in_turn

        def checked(number: int) -> Iterator[R]:
            for index, result in enumerate(work(items[number])):
                if number and not index:
                    self._check_pass()
                yield result

        yield from in_turn(self._group, range(len(items)), checked)

    def _check_pass(self) -> None:
        """Refuse a net whose last pass depends on those before it, which another process may have run."""
        assert self._net is not None
        for node in self._net._caffe_graph.nodes:
            if node.layer.goes_on(node.bottom):
                node.layer.error(
                    "what it computes depends on the pass before, which another worker has run",
                    "run this net without --workers, in one process",
                )
