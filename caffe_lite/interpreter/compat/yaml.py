"""PyYAML: `yaml.load` without a loader reads as in 5.1 to 5.4, which make no objects of Python classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..imports import watch
from .names import say

PREVENTED = (r"TypeError: load(_all)?\(\) missing 1 required positional argument: 'Loader'",)


def install() -> None:
    watch("yaml", _patch)


def _patch(yaml: Any) -> None:
    def with_loader(name: str, today: Callable[..., Any]) -> Callable[..., Any]:
        def load(stream: Any, Loader: Any = None) -> Any:
            if Loader is None:
                say(f"yaml.{name} without a loader", f"yaml.safe_{name}(text)")
            return today(stream, Loader or yaml.FullLoader)

        return load

    yaml.load, yaml.load_all = with_loader("load", yaml.load), with_loader("load_all", yaml.load_all)
