"""Names and modules that are gone: their stand-ins, and the line that says what is written today."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any

from ..imports import AliasFinder, watch

if TYPE_CHECKING:
    from importlib.abc import MetaPathFinder
else:
    MetaPathFinder = object  # importlib.abc takes longer to import than everything here

# The stand-in for a name: its place today ("numpy.float64"), or a function that does the same, whose docstring says how
# that is written today.
Stand = str | Callable[..., Any]

_OURS = os.path.dirname(os.path.dirname(__file__))
_SAID: set[str] = set()


def say(old: str, now: str) -> None:
    """Print one line to standard error, once for each old thing: where it is used, and what is written today.

    Print nothing if a package uses it: packages try a name to find out which version they have.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (frame.f_code.co_filename.startswith((_OURS, "<frozen "))):
        frame = frame.f_back
    if old in _SAID or sys.stderr is None or frame is None or _is_of_a_package(frame.f_code.co_filename):
        return
    _SAID.add(old)
    place = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
    print(f"caffe-lite run --compat: {place}: {old} is gone; today: {now}", file=sys.stderr)


def give_names(module: str, stands: Mapping[str, Stand]) -> None:
    """Give a module the names that it lacks."""

    def patch(found: ModuleType) -> None:
        before = getattr(found, "__getattr__", None)

        def __getattr__(name: str) -> Any:
            if name in stands:
                value, now = standing(stands[name])
                say(f"{module}.{name}", now)
                return value
            if before is not None:
                return before(name)
            raise AttributeError(f"module {module!r} has no attribute {name!r}", name=name, obj=found)

        found.__getattr__ = __getattr__  # type: ignore[method-assign]

    watch(module, patch)


def give_methods(cls: type, methods: Mapping[str, Callable[..., Any]]) -> None:
    """Give a class that is written in Python the methods that it lacks."""
    for name, method in methods.items():
        if not hasattr(cls, name):
            setattr(cls, name, method)


def give_modules(modules: Mapping[str, str]) -> None:
    """Let imports find modules under names that are gone."""
    _finder.modules.update(modules)


def install_modules() -> None:
    """Install the finder for `give_modules`."""
    sys.meta_path.insert(0, _finder)


def standing(stand: Stand) -> tuple[Any, str]:
    """Return the stand-in for a name, and how it is written today."""
    if callable(stand):
        return stand, (stand.__doc__ or "").rstrip(".")
    from pkgutil import resolve_name

    return resolve_name(stand), stand.removeprefix("builtins.")


def missing(module: str, stands: Mapping[str, Stand]) -> tuple[str, ...]:
    """Return the patterns of the errors that scripts meet without `give_names`."""
    names = "|".join(stands)
    short = "np" if module == "numpy" else module
    return (
        rf"AttributeError: module '{module}' has no attribute '({names})'",
        rf"AttributeError: `{short}\.({names})` was removed",
        rf"ImportError: cannot import name '({names})' from '{module}'",
    )


def missing_modules(modules: Mapping[str, str]) -> tuple[str, ...]:
    """Return the patterns of the errors that scripts meet without `give_modules`."""
    return tuple(rf"ModuleNotFoundError: No module named '{name}'" for name in modules)


class _ModulesFinder(MetaPathFinder):
    """Finds a module of today for the name of an old one, and prints the line about it."""

    def __init__(self) -> None:
        self.modules: dict[str, str] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if (now := self.modules.get(fullname)) is None:
            return None
        if not now.startswith(__package__):
            say(f"module {fullname}", f"import {now}")
        return AliasFinder(now, fullname).find_spec(fullname, path, target)


_finder = _ModulesFinder()


def _is_of_a_package(file: str) -> bool:
    folder = os.path.dirname(os.__file__)
    return "site-packages" in file or "dist-packages" in file or file.startswith(folder + os.sep)
