"""matplotlib: `hold`, which 3.0 removed, and colour maps by their old names."""

from __future__ import annotations

from .names import Stand, give_names, missing


def _hold(*args: object, **kw: object) -> None:
    """nothing, as plots are always added."""


def _ishold() -> bool:
    """True, as plots are always added."""  # noqa: D401 (users are shown it)
    return True


_NAMES: dict[str, dict[str, Stand]] = {
    "matplotlib.pyplot": {"hold": _hold, "ishold": _ishold, "spectral": "matplotlib.pyplot.nipy_spectral"},
    "matplotlib.cm": {"get_cmap": "matplotlib.pyplot.get_cmap", "spectral": "matplotlib.cm.nipy_spectral"},
}

PREVENTED = tuple(pattern for module, names in _NAMES.items() for pattern in missing(module, names))


def install() -> None:
    for module, names in _NAMES.items():
        give_names(module, names)
