"""Python 2's built-in functions and types that scripts for both Pythons may name."""

from __future__ import annotations

import builtins
import functools
import importlib
from typing import Any

from .names import say

_FUNCTIONS = {
    "xrange": (range, "range(n)"),
    "raw_input": (input, "input()"),
    "reduce": (functools.reduce, "functools.reduce(f, x)"),
    "reload": (importlib.reload, "importlib.reload(module)"),
    "unichr": (chr, "chr(n)"),
}
_TYPES = {"unicode": str, "basestring": str, "long": int}  # no line: a plain type can't tell that it is used

PREVENTED = (rf"NameError: name '({'|'.join([*_FUNCTIONS, *_TYPES])})' is not defined",)


def install() -> None:
    vars(builtins).update(_TYPES)
    for name, (function, now) in _FUNCTIONS.items():
        setattr(builtins, name, _saying(name, function, now))


def _saying(name: str, function: Any, now: str) -> Any:
    def call(*args: object, **kw: object) -> Any:
        say(name, now)
        return function(*args, **kw)

    return call
