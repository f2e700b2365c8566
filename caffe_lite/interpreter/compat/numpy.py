"""NumPy: names that 1.24 and 2.0 have removed, `fromstring` of bytes, `tostring`, and printing without a limit."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

from ..imports import watch
from .names import Stand, give_names, missing, say


def _asscalar(a: Any) -> Any:
    """a.item()."""
    return a.item()


def _in1d(a: Any, b: Any, assume_unique: bool = False, invert: bool = False) -> Any:
    """np.isin(a, b)."""
    import numpy as np

    return np.isin(np.ravel(a), b, assume_unique=assume_unique, invert=invert)


def _msort(a: Any) -> Any:
    """np.sort(a, axis=0)."""
    import numpy as np

    return np.sort(a, axis=0)


def _asfarray(a: Any, dtype: Any = float) -> Any:
    """np.asarray(a, float)."""
    import numpy as np

    return np.asarray(a, dtype if np.issubdtype(dtype, np.inexact) else float)


_NAMES: dict[str, Stand] = {
    **{name: f"builtins.{name}" for name in ("bool", "int", "float", "complex", "object", "str")},
    "long": "builtins.int",
    "unicode": "builtins.str",
    **dict.fromkeys(("Inf", "Infinity", "PINF", "infty"), "numpy.inf"),
    **dict.fromkeys(("NaN", "NAN"), "numpy.nan"),
    "alen": "builtins.len",
    "alltrue": "numpy.all",
    "asfarray": _asfarray,
    "asscalar": _asscalar,
    "bool8": "numpy.bool_",
    "cfloat": "numpy.complex128",
    "complex_": "numpy.complex128",
    "cumproduct": "numpy.cumprod",
    "float_": "numpy.float64",
    "in1d": _in1d,
    "int0": "numpy.intp",
    "longfloat": "numpy.longdouble",
    "mat": "numpy.asmatrix",
    "msort": _msort,
    "object0": "numpy.object_",
    "product": "numpy.prod",
    "rank": "numpy.ndim",
    "round_": "numpy.round",
    "row_stack": "numpy.vstack",
    "singlecomplex": "numpy.complex64",
    "sometrue": "numpy.any",
    "string_": "numpy.bytes_",
    "trapz": "numpy.trapezoid",
    "typeDict": "numpy.sctypeDict",
    "uint0": "numpy.uintp",
    "unicode_": "numpy.str_",
}


def _tostring(self: Any, order: Any = "C") -> bytes:
    say("array.tostring", "array.tobytes()")
    data: bytes = self.tobytes(order)
    return data


def _itemset(self: Any, *args: object) -> None:
    say("array.itemset", "array[i] = x")
    *index, value = args
    if not index:
        self.reshape(-1)[:] = [value]
    elif len(index) == 1 and not isinstance(index[0], tuple):
        self.flat[index[0]] = value
    else:
        self[tuple(index) if len(index) > 1 else index[0]] = value


def _ptp(self: Any, axis: Any = None, out: Any = None, **kw: Any) -> Any:
    import numpy as np

    say("array.ptp", "np.ptp(array)")
    return np.ptp(self, axis, out, **kw)


def _newbyteorder(self: Any, order: str = "S") -> Any:
    say("array.newbyteorder", "array.view(array.dtype.newbyteorder())")
    return self.view(self.dtype.newbyteorder(order))


_METHODS: dict[str, Callable[..., Any]] = {
    "tostring": _tostring,
    "itemset": _itemset,
    "ptp": _ptp,
    "newbyteorder": _newbyteorder,
}

PREVENTED = (
    *missing("numpy", _NAMES),
    rf"AttributeError: 'numpy\.\w+' object has no attribute '({'|'.join(_METHODS)})'",
    r"ValueError: The binary mode of fromstring is removed",
    r"(TypeError: threshold must be numeric|ValueError: threshold must be non-NAN)",
)


def install() -> None:
    give_names("numpy", _NAMES)
    watch("numpy", _patch)


def _patch(np: Any) -> None:
    np.fromstring = _fromstring(np, np.fromstring)
    np.set_printoptions = _set_printoptions(np.set_printoptions)
    for cls in (np.ndarray, np.generic):
        _give_methods(cls, {name: method for name, method in _METHODS.items() if not hasattr(cls, name)})


def _fromstring(np: Any, of_text: Callable[..., Any]) -> Callable[..., Any]:
    def fromstring(string: Any, dtype: Any = float, count: int = -1, sep: str = "", **kw: object) -> Any:
        if sep:
            return of_text(string, dtype, count, sep=sep, **kw)
        say("np.fromstring of bytes", "np.frombuffer(data, dtype), and .copy() to write into it")
        data = string.encode() if isinstance(string, str) else string
        return np.frombuffer(data, dtype, count, **kw).copy()

    return fromstring


def _set_printoptions(today: Callable[..., Any]) -> Callable[..., Any]:
    def set_printoptions(precision: Any = None, threshold: Any = None, *args: object, **kw: object) -> None:
        if isinstance(threshold, str) or threshold != threshold:
            say(f"np.set_printoptions(threshold={threshold!r})", "threshold=sys.maxsize")
            threshold = sys.maxsize
        today(precision, threshold, *args, **kw)

    return set_printoptions


def _give_methods(cls: type, methods: dict[str, Callable[..., Any]]) -> None:
    """Give methods to a class that is written in C, which setattr refuses.

    They go into its dict; then CPython is told, in the way that C code does it.
    """
    if sys.implementation.name == "cpython" and methods:
        import ctypes

        (attributes,) = gc.get_referents(cls.__dict__)
        attributes.update(methods)
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(cls))
