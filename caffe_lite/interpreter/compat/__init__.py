"""What age took from scripts of Caffe's time, given back as their modules are imported: `caffe-lite run --compat`.

One module per library. Each has `install()`, which imports nothing but asks to be told when a script does, and
`PREVENTED`: patterns of the errors that scripts meet without it. The first use of each thing says in a line what is
written today.
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
    """Give it all back in this process."""
    install_modules()
    for library in _libraries():
        library.install()


def prevents(error: BaseException) -> bool:
    """Whether a script would not have met this error under --compat."""
    text = f"{type(error).__name__}: {error}"
    return any(re.match(pattern, text) for library in _libraries() for pattern in library.PREVENTED)


def _libraries() -> list[Any]:
    return [import_module(f".{name}", __package__) for name in _LIBRARIES]
