"""Commands in several processes: whether to start them, and being one of them."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .. import ranks
from ..errors import CaffeError, EngineError, MissingExtra, WorkerError, WorkerLost
from ..ops import check_gpu
from ..plugins import is_installed
from ..workers.environment import Place, place_in, quieten_torch
from ..workers.last_words import LastWords, leave, words_of
from .arguments import Parser, positive
from .output import trouble_with

if TYPE_CHECKING:
    from ..workers.group import Group


def add_workers(parser: Parser) -> None:
    what = "work in N processes on this machine; under torchrun, srun or mpiexec, their number counts"
    parser.add_argument("--workers", metavar="N", type=positive, help=what)


def to_launch(arguments: argparse.Namespace) -> int:
    """Return how many workers to start, or 0 if this process does the work itself, alone or as one of them."""
    gpus = gpus_of(arguments.gpu)
    if place_in(os.environ) is not None:
        return 0
    workers = arguments.workers or max(1, len(gpus))
    if gpus and workers != len(gpus):
        raise WorkerError(
            f"--workers {workers}, but --gpu {arguments.gpu} names {len(gpus)}, and each worker has a GPU of its own",
            hint="leave --workers out, or name as many GPUs",
        )
    if workers > 1:
        for gpu in gpus:
            check_gpu(gpu)
        return workers
    if gpus:
        arguments.gpu = str(gpus[0])
    return 0


@contextmanager
def member(arguments: argparse.Namespace) -> Iterator[Group | None]:
    """Make this process one of the workers, if a launcher has started it as one; otherwise yield None.

    An error in the block ends the process, because other threads of it may wait for the others forever.
    """
    place = place_in(os.environ)
    if place is None:
        yield None
        return
    quieten_torch()
    try:
        _fit(arguments, place)
        from ..workers.group import Group

        with Group(place, "cpu" if arguments.gpu is None else "cuda") as group:
            ranks.set_solver_count(group.count)
            ranks.set_solver_rank(group.rank)
            try:
                yield group
            except (Exception, KeyboardInterrupt) as error:
                _tell(error, place, arguments.traceback)  # before the group waits until all have heard of it
                raise
    except (Exception, KeyboardInterrupt) as error:
        _tell(error, place, arguments.traceback)
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                continue
        os._exit(_status(error))


def _tell(error: BaseException, place: Place, wants_traceback: bool) -> None:
    """Leave the error for the launcher and the user; only the first of this process is told."""
    output = trouble_with(error)
    message = words_of(error) if output is None else output
    is_ours = isinstance(error, (CaffeError, KeyboardInterrupt)) or output is not None
    trace = "" if is_ours else traceback.format_exc()
    shown = trace or (traceback.format_exc() if wants_traceback and message else "")
    rank = None if output is not None or (isinstance(error, CaffeError) and error.anyones) else place.rank
    leave(LastWords(message, rank, isinstance(error, WorkerLost), _status(error)), place, trace, shown)


def _status(error: BaseException) -> int:
    return 130 if isinstance(error, KeyboardInterrupt) else 1


def _fit(arguments: argparse.Namespace, place: Place) -> None:
    """Choose this worker's GPU, and refuse options that contradict the launcher."""
    if arguments.workers not in (None, place.count):
        raise WorkerError(
            f"--workers {arguments.workers}, but {place.launcher} has started {place.count}",
            hint=f"leave --workers out: the number is {place.launcher}'s to choose",
        )
    gpus = gpus_of(arguments.gpu)
    if not gpus:
        return
    if len(gpus) == 1 and arguments.gpu == "all":
        arguments.gpu = "0"  # the launcher shows each worker its own
    elif place.local_rank < len(gpus):
        arguments.gpu = str(gpus[place.local_rank])
    else:
        raise WorkerError(
            f"--gpu {arguments.gpu} is too little for the {place.local_count} workers on this machine: "
            f"{'torch sees' if arguments.gpu == 'all' else 'these are'} {len(gpus)}",
            hint="start one worker for each GPU",
        )
    check_gpu(int(arguments.gpu))


def gpus_of(text: str | None) -> Sequence[int]:
    """Read ``--gpu``: a GPU's number, several with commas between, or all that torch sees."""
    if text is None:
        return []
    if text == "all":
        return range(_count_gpus())
    numbers = text.split(",")
    if not all(number.isascii() and number.isdecimal() for number in numbers):
        raise EngineError(
            f"--gpu {text!r} is no GPU's number",
            hint="give its number, counted from 0, several with commas between, or all: --gpu 0, --gpu 0,1, --gpu all",
        )
    gpus = [int(number) for number in numbers]
    if len(set(gpus)) < len(gpus):
        raise EngineError(f"--gpu {text} names a GPU twice", hint="each worker needs one of its own")
    return gpus


def _count_gpus() -> int:
    if not is_installed("torch"):
        raise MissingExtra("torch", "torch", "compute on GPUs")
    import torch

    count = torch.cuda.device_count()
    if not count:
        raise EngineError("--gpu all: torch sees no GPU", hint="leave --gpu out to compute on the CPU")
    return count
