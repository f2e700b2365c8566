"""Names and modules from Caffe's time that are gone, restored when scripts import them: `caffe-lite run --compat`.

There is one module per library. Each has `install()`, which imports nothing, but registers functions that are called
when a script imports the library; and `PREVENTED`, patterns of the errors that scripts meet without it. The first use
of each old thing prints a line that says what is written today.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

from .names import install_modules

_LIBRARIES = [
    "builtins",
    "cv2",
    "h5py",
    "matplotlib",
    "numpy",
    "pillow",
    "protobuf",
    "scipy",
    "skimage",
    "standard",
    "yaml",
]


def install() -> None:
    """Restore everything in this process."""
    install_modules()
    for library in _libraries():
        library.install()


def prevents(error: BaseException) -> bool:
    """Return whether --compat would have prevented this error."""
    text = f"{type(error).__name__}: {error}"
    return any(re.match(pattern, text) for library in _libraries() for pattern in library.PREVENTED)


def _libraries() -> list[Any]:
    return [import_module(f".{name}", __package__) for name in _LIBRARIES]
