"""Layers and engines from other packages, which their distributions name in entry points."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from .errors import PluginError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

LAYERS, ENGINES = "caffe_lite.layers", "caffe_lite.engines"


@functools.cache
def load_plugins() -> list[PluginError]:
    """Import every module that brings layers, once, so that these are registered; what went wrong with any."""
    problems = []
    for found in _named_in(LAYERS):
        try:
            _load(found, "layers")
        except PluginError as problem:
            problems.append(problem)
    return problems


def engine_names() -> list[str]:
    """The engines that distributions bring."""
    return [found.name for found in _named_in(ENGINES)]


def load_engine(name: str) -> Any:
    """What a distribution names as this engine's factory; None if no distribution brings it."""
    return next((_load(found, f"the engine {name!r}") for found in _named_in(ENGINES) if found.name == name), None)


def _named_in(group: str) -> list[EntryPoint]:
    from importlib.metadata import entry_points

    return list(entry_points(group=group))


def _load(found: EntryPoint, what: str) -> Any:
    try:
        return found.load()
    except Exception as error:  # whatever other people's modules raise
        of = f"{found.dist.name} {found.dist.version}" if found.dist else "without a name"
        raise PluginError(
            f"the distribution {of} brings {what} in {found.value}, which cannot be imported: "
            f"{type(error).__name__}: {error}",
            hint="repair or update that distribution, or uninstall it",
        ) from error
