"""Lets ``import caffe`` find caffe_lite, so that scripts and Python layers run unchanged."""

from __future__ import annotations

import sys
from importlib import import_module

from ..errors import CaffeError
from ..interpreter.imports import Alias, CaffeFinder

_ALIAS, _PACKAGE = "caffe", __package__.partition(".")[0]


def install_as_caffe() -> None:
    """Let ``import caffe`` in this process give caffe_lite from now on, and ``caffe.X`` its module X, not a copy.

    The attributes of ``caffe`` are those of caffe_lite, to read and to set; only ``__version__`` is that of the Caffe
    that it stands for. Raise a CaffeError if another ``caffe`` is already imported. Further calls change nothing.
    """
    other = sys.modules.get(_ALIAS)
    if other is not None and not isinstance(other, Alias):
        raise CaffeError(
            f"another caffe is imported already, from {getattr(other, '__file__', None) or 'an unknown place'}",
            hint="Call caffe_lite.install_as_caffe() before anything imports caffe",
        )
    if not any(isinstance(finder, CaffeFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, CaffeFinder(_PACKAGE))  # before Python's own finders, which would load copies
    import_module(_ALIAS)
