"""SciPy: `scipy.misc`, whose image calls went with 1.2 and 1.3, and `scipy.ndimage.imread`."""

from __future__ import annotations

from .names import give_modules, give_names, missing

_MODULE = f"{__package__}.scipy_misc"

PREVENTED = (
    *missing("scipy.ndimage", {"imread": ""}),
    r"(AttributeError|ImportError): .*(module 'scipy\.misc'|from 'scipy\.misc'|module 'scipy' has no attribute 'misc')",
    r"ModuleNotFoundError: No module named 'scipy\.misc'",
)


def install() -> None:
    give_modules({"scipy.misc": _MODULE})
    give_names("scipy.ndimage", {"imread": f"{_MODULE}.imread"})
