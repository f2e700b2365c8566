"""Lets ``import caffe`` find caffe_lite, for scripts and Python layers that are to run as they were written."""

from __future__ import annotations

import sys

from .errors import CaffeError
from .interpreter.imports import AliasFinder

_ALIAS, _PACKAGE = "caffe", __package__


def install_as_caffe() -> None:
    """From now on, ``import caffe`` in this process gives caffe_lite, and ``caffe.X`` its module X: itself, no copy.

    A CaffeError if another ``caffe`` is imported already. To call it again changes nothing.
    """
    ours = sys.modules[_PACKAGE]
    other = sys.modules.setdefault(_ALIAS, ours)
    if other is not ours:
        raise CaffeError(
            f"another caffe is imported already, from {getattr(other, '__file__', None) or 'an unknown place'}",
            hint="Call caffe_lite.install_as_caffe() before anything imports caffe",
        )
    if not any(isinstance(finder, AliasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, AliasFinder(_PACKAGE, _ALIAS))  # before Python's own, which would load copies
