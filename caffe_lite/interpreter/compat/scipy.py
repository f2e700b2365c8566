"""SciPy: `scipy.misc`, whose functions for images 1.2 and 1.3 removed, and `scipy.ndimage.imread`."""

from __future__ import annotations

from typing import Any

from .names import Stand, give_modules, give_names, missing


def _imread(*args: Any, **kw: Any) -> Any:
    """cv2.imread(file), imageio.imread(file)."""
    from .scipy_misc import imread

    return imread(*args, **kw)


_NAMES: dict[str, Stand] = {"imread": _imread}

PREVENTED = (
    *missing("scipy.ndimage", _NAMES),
    r"(AttributeError|ImportError): .*(module 'scipy\.misc'|from 'scipy\.misc'|module 'scipy' has no attribute 'misc')",
    r"ModuleNotFoundError: No module named 'scipy\.misc'",
)


def install() -> None:
    give_modules({"scipy.misc": f"{__package__}.scipy_misc"})
    give_names("scipy.ndimage", _NAMES)
