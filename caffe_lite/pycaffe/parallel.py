"""pycaffe's names for training in several processes: NCCL, solver_count, solver_rank."""

from __future__ import annotations

import json
import socket
from importlib import import_module
from typing import Any

from .. import ranks
from ..errors import MissingExtra, WorkerError
from ..logs.log import set_quiet
from ..ops import on_gpu
from ..plugins import is_installed
from ..ranks import set_solver_count as set_solver_count
from ..ranks import solver_count as solver_count
from ..ranks import solver_rank as solver_rank
from ..workers.environment import Place
from ..workers.group import Group

# Where the processes of a session meet: they live as long as the process that has made the session's uid.
_stores: list[Any] = []
# The one that this process is in.
_sessions: list[Group] = []


def set_solver_rank(rank: int) -> None:
    """Set the number of this process's solver, counted from 0, before it is made.

    The first one tests, displays, takes the snapshots, and logs; of the others only warnings are shown.
    """
    ranks.set_solver_rank(rank)
    set_quiet(rank > 0)


def set_multiprocess(value: bool) -> None:
    """Say that each solver has a process of its own. Here that is always so, and nothing depends on it."""


def has_nccl() -> bool:
    """Return whether processes can exchange gradients: whether torch is installed."""
    return is_installed("torch")


class NCCL:
    """Lets the solvers of several processes train one net, each on its part of the data.

    Every process calls ``set_solver_count`` and ``set_solver_rank``, makes its solver, and ``NCCL(solver, uid)`` with
    the one uid that ``NCCL.new_uid()`` has returned to one of them or to their parent. ``bcast()`` then gives all
    solvers the parameters of the first, and its place in the data: shuffled sources have one order for all. After
    ``solver.add_callback(nccl)``, ``solver.step`` averages the gradients over all solvers before each update.

    GPUs exchange them through NCCL, CPUs through Gloo. Each gradient leaves as soon as the backward pass has computed
    it, also without ``net.after_backward(nccl)``, and also if layers share parameters (the original aborts there).
    Source: the original's parallel.cpp.
    """

    def __init__(self, solver: Any, uid: bytes | str) -> None:
        try:
            meeting = json.loads(uid)
            host, port, name = meeting["host"], meeting["port"], meeting["name"]
        except (ValueError, TypeError, KeyError):
            raise WorkerError(
                f"the uid {uid!r} names no session", hint="give all processes what one call of NCCL.new_uid() returned"
            ) from None
        rank, count = solver_rank(), solver_count()
        if rank >= count:
            raise WorkerError(
                f"solver_rank is {rank}, and solver_count {count}", hint="call caffe.set_solver_count before NCCL"
            )
        address = "127.0.0.1" if name == socket.gethostname() else host
        place = Place(rank, count, 0, 1, address, port, "pycaffe", store_is_held=True)
        self.solver = solver
        while _sessions:  # a process can be in one only
            _sessions.pop().part()
        self.group = Group(place, "cuda" if on_gpu() else "cpu")
        _sessions.append(self.group)

    @staticmethod
    def new_uid() -> bytes:
        """Return the name of a new session, in which the processes that are given it can meet.

        The process that calls this must outlive the session.
        """
        if not has_nccl():
            raise MissingExtra("torch", "torch", "train in several processes")
        distributed: Any = import_module("torch.distributed")
        name = socket.gethostname()
        store = distributed.TCPStore(name, 0, is_master=True, wait_for_workers=False)
        _stores.append(store)
        return json.dumps({"host": name, "port": store.port, "name": name}).encode()

    def bcast(self) -> None:
        """Give all solvers the parameters, the history and the place in the data of the first."""
        self.solver.start_from_first(self.group)

    def on_start(self) -> None:
        """Do nothing: gradients are exchanged when they are there."""

    def on_gradients_ready(self) -> None:
        """Average the gradients over the solvers."""
        self.solver.exchange_gradients(self.group)
