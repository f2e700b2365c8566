"""pycaffe's names for training on several GPUs, a process each. Here one process trains one solver."""

from __future__ import annotations

from typing import Any, NoReturn

from ..errors import EngineError

_ADVICE = "train in one process; iter_size adds up the gradients of several batches"


def solver_count() -> int:
    """How many solvers train together: 1."""
    return 1


def set_solver_count(count: int) -> None:
    """Accept 1; an EngineError for more."""
    if count != 1:
        raise EngineError(f"{count} solvers cannot train together here", hint=_ADVICE)


def solver_rank() -> int:
    """Which of the solvers this process has: the first."""
    return 0


def set_solver_rank(rank: int) -> None:
    """Accept 0; an EngineError for others."""
    if rank != 0:
        raise EngineError(f"there is no solver {rank} here, only solver 0", hint=_ADVICE)


def set_multiprocess(multiprocess: bool) -> None:
    """Accept False; an EngineError for True."""
    if multiprocess:
        raise EngineError("several processes cannot train one net here", hint=_ADVICE)


def has_nccl() -> bool:
    """Whether gradients can be exchanged between GPUs: no."""
    return False


class NCCL:
    """What exchanges gradients between GPUs in the original; asking for one is an EngineError."""

    def __init__(self, *args: Any) -> None:
        _refuse_nccl()

    @staticmethod
    def new_uid() -> str:
        _refuse_nccl()


def _refuse_nccl() -> NoReturn:
    raise EngineError("gradients cannot be exchanged between GPUs here: there is no NCCL", hint=_ADVICE)
