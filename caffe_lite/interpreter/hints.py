"""A line after the traceback of an error that an option of `caffe-lite run` would have prevented."""

from __future__ import annotations

import sys
from types import TracebackType

from .options import COMPAT, CPU, asked

_OF_GPUS = ("set_mode_gpu", "set_device")


def install() -> None:
    """Add the line to the output of sys.excepthook."""
    show = sys.excepthook

    def excepthook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        show(kind, error, traceback)
        tell(error)

    sys.excepthook = excepthook


def tell(error: BaseException) -> None:
    """Print the line for this error, if there is one."""
    # Nothing is imported after Ctrl-C: Python would forget how it should end.
    if isinstance(error, Exception) and (line := hint(error)) and sys.stderr is not None:
        print(f"caffe-lite: {line}", file=sys.stderr)


def hint(error: BaseException) -> str:
    """Say which option to try after this error; return an empty string if there is none."""
    from traceback import walk_tb

    from .compat import prevents

    if not asked(CPU) and any(frame.f_code.co_name in _OF_GPUS for frame, _ in walk_tb(error.__traceback__)):
        return "with caffe-lite run --cpu, set_mode_gpu and set_device warn, and the CPU computes"
    if not asked(COMPAT) and prevents(error):
        return "caffe-lite run --compat gives back what today's packages lack here"
    return ""
