"""Lets ``import caffe`` find caffe_lite, for scripts and Python layers that are to run as they were written."""

from __future__ import annotations

import sys
from importlib import import_module

from ..errors import CaffeError
from ..interpreter.imports import Alias, CaffeFinder

_ALIAS, _PACKAGE = "caffe", __package__.partition(".")[0]


def install_as_caffe() -> None:
    """From now on, ``import caffe`` in this process gives caffe_lite, and ``caffe.X`` its module X: itself,
    no copy.

    ``caffe`` shows and changes what caffe_lite holds; only its ``__version__`` is that of the Caffe it stands for.
    A CaffeError if another ``caffe`` is imported already. To call it again changes nothing.
    """
    other = sys.modules.get(_ALIAS)
    if other is not None and not isinstance(other, Alias):
        raise CaffeError(
            f"another caffe is imported already, from {getattr(other, '__file__', None) or 'an unknown place'}",
            hint="Call caffe_lite.install_as_caffe() before anything imports caffe",
        )
    if not any(isinstance(finder, CaffeFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, CaffeFinder(_PACKAGE))  # before Python's own, which would load copies
    import_module(_ALIAS)
