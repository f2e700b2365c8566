"""Layers from other packages: modules that their distributions name in the entry point group ``caffe_lite.layers``."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from .errors import PluginError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "caffe_lite.layers"


@functools.cache
def load_plugins() -> list[PluginError]:
    """Import every plug-in, once, so that its layers are registered; what went wrong with any."""
    from importlib.metadata import entry_points

    return [problem for found in entry_points(group=GROUP) if (problem := _load(found))]


def _load(found: EntryPoint) -> PluginError | None:
    try:
        found.load()
    except Exception as error:  # whatever other people's modules raise
        of = f"{found.dist.name} {found.dist.version}" if found.dist else "without a name"
        problem = PluginError(
            f"the distribution {of} brings layers in {found.value}, which cannot be imported: "
            f"{type(error).__name__}: {error}",
            hint="repair or update that distribution, or uninstall it",
        )
        problem.__cause__ = error
        return problem
    return None
