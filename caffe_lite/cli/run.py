"""Run a Python script that was written for pycaffe as it is: `import caffe` gives it caffe_lite."""

from __future__ import annotations

import argparse
import builtins
import os
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, TracebackType

from .arguments import Parser


def add_arguments(parser: Parser) -> None:
    parser.add_argument("script", metavar="SCRIPT", help="a .py file")
    parser.add_argument("arguments", metavar="ARGS", nargs="*", help="all that follows is the script's own")


def run(arguments: argparse.Namespace) -> int:
    from ..log import start_logging

    source, path = _read(arguments.script), os.path.abspath(arguments.script)
    start_logging()
    sys.argv = [arguments.script, *arguments.arguments]
    sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
    main = ModuleType("__main__")
    main.__dict__.update(__file__=path, __builtins__=builtins)
    sys.modules["__main__"] = main
    try:
        code = SourceFileLoader("__main__", path).source_to_code(source, path)
    except (SyntaxError, ValueError) as error:
        return _failed(error, None)
    try:
        exec(code, main.__dict__)
    except SystemExit:
        raise
    except BaseException as error:
        return _failed(error, error.__traceback__ and error.__traceback__.tb_next)
    return 0


def _read(path: str) -> bytes:
    from ..errors import CaffeError, Where

    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        what = "there is no such script" if not os.path.exists(path) else f"it cannot be read: {error}"
        raise CaffeError(what, where=Where(path), hint="As in caffe-lite run train.py --its-own-option") from None


def _failed(error: BaseException, traceback: TracebackType | None) -> int:
    """Tell it as Python does, with the script's own frames only."""
    sys.excepthook(type(error), error.with_traceback(traceback), traceback)
    return 130 if isinstance(error, KeyboardInterrupt) else 1
