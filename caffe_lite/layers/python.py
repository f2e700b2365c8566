"""Python: a layer that the user writes."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..blobs import Blob
from ..blobs.unknown import Undetermined, UnknownSize
from ..errors import CaffeError, LayerError, Where
from ..layer import Layer, register_layer
from ..logs.log import logger
from ..onnx_graph import OnnxGraph, Value
from ..proto.caffe_pb2 import TEST
from ..pycaffe.blob import HostBlob, HostBlobs, shown_blob
from ..pycaffe.layer import Phase, UserLayer, missing_method
from ..ranks import testing_share
from . import py_faster_rcnn


@register_layer("Python")
class PythonLayer(Layer):
    """Runs a layer class that the user wrote.

    Bottoms and tops: any number. Reads ``python_param``: module and layer, the module and the class in it;
    param_str (""), a string for the class; share_in_parallel, which has no effect. Python's own search for the module
    comes first, then the folder of the prototxt, then the current directory; if none of them has it, the layers of
    py-faster-rcnn are those of ``caffe_lite.layers.py_faster_rcnn``. The class derives from ``caffe_lite.Layer``, or
    just has its methods.
    An exception in the user's code passes through unchanged, with a note that names the layer.
    Source: the original's python_layer.hpp.
    """

    formula = r"y = f(x)"
    bottoms = (0, None)
    tops = (0, None)
    rows_vary = True  # for all we know
    repeatable = False  # the user's code may do anything else, too

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        cls = self._class()
        self._check_division(bottom, cls)
        with self._noted("__init__"):
            self.user_layer = cls(self.param) if issubclass(cls, UserLayer) else cls()
        layer, self.user_blobs = self.user_layer, HostBlobs(self.blobs, self.ops)
        layer.param_str = layer.param_str_ = self.param.python_param.param_str
        layer.phase = Phase(self.phase)
        layer.blobs = self.user_blobs
        self.shown = layer, self.user_blobs
        self.decides = getattr(layer, "decides", False)
        self._call("setup", _shown(bottom), _shown(top))
        for method in ("reshape", "forward"):
            self._method(method)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._call("reshape", _shown(bottom), _shown(top))

    def outline(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Check the names, then raise Undetermined: only the user's code knows the shapes, and it is not run.

        Of py-faster-rcnn's layers, some tell how many columns their tops have.
        """
        self._check_names()
        p = self.param.python_param
        cls = None if _is_found(p.module, self.where) else getattr(_stand_in(p.module), p.layer, None)
        columns = getattr(cls, "columns", None)
        if columns is None:
            raise Undetermined
        rows: Any = UnknownSize()
        for blob, size in zip(top, columns, strict=False):
            blob.Reshape((rows, size))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        # The user's code writes in place, but others still hold the array: the layer below an in-place one, and
        # readers of the last pass.
        for blob in top:
            blob.data = self.ops.copy(blob.data)
        self._call("forward", _shown(bottom), _shown(top))

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        for blob in bottom:
            if any(blob is other for other in top):
                blob.diff = self.ops.copy(blob.diff)
            else:
                blob.clear_diff()
        self._call("backward", _shown(top), list(propagate_down), _shown(bottom))

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        write = getattr(self.user_layer, "to_onnx", None)
        if not callable(write) or getattr(write, "__func__", None) is UserLayer.to_onnx:
            self.error(f"class {self._path} cannot be written in ONNX", "Define its method to_onnx")
        with self._noted("to_onnx"):
            results: Sequence[Value] = write(g, bottom, top)
        return results

    def example(self, index: int, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray | None:
        return self.user_layer.example(index, shape, rng) if isinstance(self.user_layer, UserLayer) else None

    def _check_names(self) -> None:
        module = self.param.python_param.module
        if not module or not self.param.python_param.layer:
            self.error("python_param names no class", "give it module: and layer:, the module and the class in it")
        if "" in module.split(".") or set(module) & set("/\\\0"):
            self.error(
                f"{module!r} is no module's name",
                "write it from its outermost package on with single dots, as `import` has it: folder.module",
            )

    def _check_division(self, bottom: Sequence[Blob], cls: Any) -> None:
        """Refuse a source of batches that nobody can deal out, and warn of what the user's code may not expect."""
        if not bottom:
            self.check_undivided("its batches cannot be dealt out")
        if self.phase == TEST and (count := testing_share().count) > 1 and not cls.__module__.startswith(__package__):
            own = "each of %d workers has a %s of its own, which sees only a part of the batches"
            logger.warning(f"%s: {own}", self.name, count, self._path)

    def _class(self) -> Any:
        p = self.param.python_param
        self._check_names()
        module = self._module(p.module)
        cls = getattr(module, p.layer, None)
        if not isinstance(cls, type):
            found = [name for name in dir(module) if callable(getattr(getattr(module, name), "forward", None))]
            self.error(
                f"module {p.module!r} ({getattr(module, '__file__', None) or 'built in'}) has no class {p.layer!r}",
                f"layers in it: {', '.join(found) or 'none'}",
            )
        return cls

    def _module(self, name: str) -> ModuleType:
        try:
            with self._noted("import"), _looked_for_in(_folders(self.where)):
                return importlib.import_module(name)
        except ModuleNotFoundError as error:
            missing = error.name or ""
            if name == missing or name.startswith(f"{missing}."):
                if stand_in := _stand_in(name):
                    return stand_in
                self.error(
                    f"there is no Python module {missing!r}",
                    "put it beside the prototxt, in the current directory, or in a folder that PYTHONPATH names",
                )
            if missing.partition(".")[0] == "caffe":
                self.error(
                    f"module {name!r} imports caffe",
                    "write `import caffe_lite as caffe` there, or call caffe_lite.install_as_caffe() first",
                )
            raise

    def _method(self, name: str) -> Callable[..., None]:
        method = getattr(self.user_layer, name, None)
        if not callable(method) or getattr(method, "__func__", None) is UserLayer.reshape:
            raise missing_method(self.user_layer, name)
        return method

    def _call(self, name: str, *args: object) -> None:
        method = self._method(name)
        with self._noted(name):
            method(*args)

    @property
    def _path(self) -> str:
        return f"{self.param.python_param.module}.{self.param.python_param.layer}"

    @contextmanager
    def _noted(self, doing: str) -> Iterator[None]:
        """Add a note that names the layer to exceptions that pass (PEP 678; before Python 3.11 it is not printed)."""
        try:
            yield
        except CaffeError:
            raise
        except Exception as error:
            place = LayerError(f"{doing} of {self._path}", where=self.where, layer=self.name, layer_type=self.type)
            error.__notes__ = [*getattr(error, "__notes__", ()), str(place)]
            raise


def finds_module(name: str, where: Where | None) -> bool:
    """Return whether the module of a Python layer, or the package around it, exists; nothing is imported."""
    return name in py_faster_rcnn.MODULES or _is_found(name, where)


def _is_found(name: str, where: Where | None) -> bool:
    with _looked_for_in(_folders(where)):
        try:
            return importlib.util.find_spec(name.partition(".")[0]) is not None
        except ValueError:  # a module made by hand
            return True


def _stand_in(name: str) -> ModuleType | None:
    """Return the module here that stands for one of py-faster-rcnn's."""
    if name not in py_faster_rcnn.MODULES:
        return None
    return importlib.import_module(f"{py_faster_rcnn.__name__}.{py_faster_rcnn.MODULES[name]}")


def _folders(where: Where | None) -> list[str]:
    return [*([str(Path(where.file).resolve().parent)] if where else []), str(Path.cwd())]


def _shown(blobs: Sequence[Blob]) -> list[HostBlob]:
    return [shown_blob(blob) for blob in blobs]


@contextmanager
def _looked_for_in(folders: list[str]) -> Iterator[None]:
    """Let imports search these folders after all others."""
    before = list(sys.path)
    sys.path += [folder for folder in folders if folder not in sys.path]
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before
