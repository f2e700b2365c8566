"""Giving cv2.dnn what it lacks. Only the standard library is imported before a script calls something."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

_PACKAGE = __name__.rpartition(".")[0]

# What goes by two names in cv2: as cv2.dnn.X and as cv2.dnn_X.
_MODELS = ("ClassificationModel", "DetectionModel", "KeypointsModel", "Model", "SegmentationModel")


def install(cv2: ModuleType | None = None) -> None:
    """Let ``cv2.dnn.readNetFromCaffe`` and ``readNet`` read nets of Caffe, and models take them, where OpenCV cannot.

    An OpenCV that reads nets of Caffe itself (3 and 4) is left as it is. Layers that a script registers with
    ``cv2.dnn_registerLayer`` are used in nets of both.
    """
    if cv2 is None:
        from ..errors import MissingExtra
        from ..plugins import is_installed

        if not is_installed("cv2"):
            raise MissingExtra("opencv-python-headless", "data", "give its cv2.dnn what it lacks")
        cv2 = import_module("cv2")
    dnn: Any = getattr(cv2, "dnn", None)
    if dnn is None or hasattr(dnn, "readNetFromCaffe"):
        return
    dnn.readNetFromCaffe = _ours("readNetFromCaffe")
    dnn.shrinkCaffeModel = _ours("shrinkCaffeModel")
    dnn.readNet = _either("readNet", dnn.readNet)
    for name in _MODELS:
        if hasattr(dnn, name):
            setattr(dnn, name, _either(name, getattr(dnn, name)))
            setattr(cv2, f"dnn_{name}", getattr(dnn, name))
    if not hasattr(dnn, "DNN_BACKEND_HALIDE"):
        dnn.DNN_BACKEND_HALIDE = 1
    for name in ("registerLayer", "unregisterLayer"):
        setattr(cv2, f"dnn_{name}", _both(name, getattr(cv2, f"dnn_{name}", None)))


def _ours(name: str) -> Callable[..., Any]:
    def call(*args: Any, **kw: Any) -> Any:
        return getattr(import_module(_PACKAGE), name)(*args, **kw)

    call.__name__ = call.__qualname__ = name
    return call


def _either(name: str, theirs: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that is ours for files and nets of Caffe, and OpenCV's for others."""

    def call(*args: Any, **kw: Any) -> Any:
        of_caffe = import_module(f"{_PACKAGE}.reading").is_of_caffe
        return getattr(import_module(_PACKAGE), name)(*args, **kw) if of_caffe(*args, **kw) else theirs(*args, **kw)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = theirs.__doc__
    return call


def _both(name: str, theirs: Callable[..., Any] | None) -> Callable[..., Any]:
    """Return a function that calls ours, and OpenCV's."""

    def call(*args: Any, **kw: Any) -> None:
        getattr(import_module(_PACKAGE), name)(*args, **kw)
        if theirs is not None:
            theirs(*args, **kw)

    call.__name__ = call.__qualname__ = name
    return call
