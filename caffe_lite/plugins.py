"""Other packages: which are installed, and the layers and engines that they provide through entry points."""

from __future__ import annotations

import functools
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from .errors import PluginError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

LAYERS, ENGINES = "caffe_lite.layers", "caffe_lite.engines"


def is_installed(package: str) -> bool:
    """Return whether a package could be imported; it is not imported."""
    return find_spec(package) is not None


@functools.cache
def load_plugins() -> list[PluginError]:
    """Import every module that provides layers, once, so that they are registered. Return the errors."""
    problems = []
    for found in _named_in(LAYERS):
        try:
            _load(found, "layers")
        except PluginError as problem:
            problems.append(problem)
    return problems


def engine_names() -> list[str]:
    """Return the names of the engines that distributions provide."""
    return [found.name for found in _named_in(ENGINES)]


def load_engine(name: str) -> Any:
    """Return the object that a distribution names as this engine's factory, or None if no distribution provides it."""
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
