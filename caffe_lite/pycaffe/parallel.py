"""pycaffe's names for training on several GPUs, with one process each. Here one process trains one solver."""

from __future__ import annotations

from typing import Any, NoReturn

from ..errors import EngineError

_ADVICE = "train in one process; iter_size adds up the gradients of several batches"


def solver_count() -> int:
    """Return how many solvers train together: 1."""
    return 1


def set_solver_count(count: int) -> None:
    """Accept 1; raise an EngineError for another number."""
    if count != 1:
        raise EngineError(f"{count} solvers cannot train together here", hint=_ADVICE)


def solver_rank() -> int:
    """Return the index of this process's solver: 0, the first."""
    return 0


def set_solver_rank(rank: int) -> None:
    """Accept 0; raise an EngineError for another rank."""
    if rank != 0:
        raise EngineError(f"there is no solver {rank} here, only solver 0", hint=_ADVICE)


def set_multiprocess(multiprocess: bool) -> None:
    """Accept False; raise an EngineError for True."""
    if multiprocess:
        raise EngineError("several processes cannot train one net here", hint=_ADVICE)


def has_nccl() -> bool:
    """Return whether gradients can be exchanged between GPUs: False."""
    return False


class NCCL:
    """The original's class to exchange gradients between GPUs; using it raises an EngineError."""

    def __init__(self, *args: Any) -> None:
        _refuse_nccl()

    @staticmethod
    def new_uid() -> str:
        _refuse_nccl()


def _refuse_nccl() -> NoReturn:
    raise EngineError("gradients cannot be exchanged between GPUs here: there is no NCCL", hint=_ADVICE)
