"""Reading nets: readNetFromCaffe, and readNet for files of Caffe."""

from __future__ import annotations

import os
from typing import Any

from ..errors import ArgumentError
from ..logs.log import errors_only
from .errors import also_cv2_error
from .importer import File, import_net
from .net import Net

_ENDINGS = (".prototxt", ".caffemodel")


@also_cv2_error()
def readNetFromCaffe(
    prototxt: File | None = None,
    caffeModel: File | None = None,
    *,
    bufferProto: File | None = None,
    bufferModel: File | None = None,
) -> Net:
    """Read a net from a .prototxt, and its weights from a .caffemodel if one is given.

    Both are paths, or the contents of the files: bytes, a bytearray, or a NumPy array of uint8. The weights may also
    be an HDF5 file, which OpenCV does not read.
    """
    proto = bufferProto if prototxt is None else prototxt
    if proto is None:
        raise ArgumentError("no net is given", hint="as in readNetFromCaffe('net.prototxt', 'net.caffemodel')")
    with errors_only():
        return Net(import_net(proto, bufferModel if caffeModel is None else caffeModel))


@also_cv2_error()
def readNet(model: Any, config: Any = "", framework: Any = "") -> Net:
    """Read a net of Caffe: ``readNet(caffemodel, prototxt)`` in either order, or ``readNet("caffe", buffer, buffer)``.

    The buffers are those of the weights and of the prototxt, in this order.
    """
    config, framework = "" if config is None else config, "" if framework is None else framework
    if not is_of_caffe(model, config, framework):
        given = ", ".join(str(file)[:80] for file in (model, config, framework) if str(file))
        raise ArgumentError(
            f"these are no files of Caffe: {given}",
            hint="give a .prototxt and a .caffemodel; other formats are read by OpenCV itself",
        )
    if isinstance(config, str | os.PathLike):
        paths = os.fspath(model), os.fspath(config)
        swapped = paths[0].lower().endswith(".prototxt") or paths[1].lower().endswith(".caffemodel")
        return readNetFromCaffe(*(paths if swapped else paths[::-1]))
    return readNetFromCaffe(framework, config)


def is_of_caffe(model: Any = "", config: Any = "", framework: Any = "") -> bool:
    """Return whether these arguments, of ``readNet`` or of a model, stand for a net of Caffe."""
    if isinstance(model, Net):
        return True
    if not isinstance(model, str | os.PathLike):
        return False
    if not isinstance(config, str | os.PathLike | None):  # readNet(framework, buffer, buffer)
        return os.fspath(model).lower() == "caffe"
    named = isinstance(framework, str) and framework.lower() == "caffe"
    return named or any(os.fspath(path).lower().endswith(_ENDINGS) for path in (model, config or ""))
