"""Exporting a net to ONNX, verified."""

from __future__ import annotations

import os
import tempfile

from ..agreement.onnx_running import OnnxRun
from ..errors import ArgumentError
from ..onnx_graph import LAYERS
from ..proto.caffe_pb2 import NetParameter
from ..proto.prototxt import to_text
from ..pycaffe.net import Net
from .drafting import Draft, Export
from .onnx_file import OPSETS, is_large, model_of, save
from .preparing import ImageInput
from .writing import WrittenNet


def to_onnx(
    net: Net,
    path: str | os.PathLike[str],
    *,
    batch: int | str | None = None,
    opset: int = 17,
    fold: bool = True,
    images: ImageInput | None = None,
) -> Export:
    """Write a net that is in TEST, with its present weights, to an ONNX file; return what was written.

    Blobs keep their names. The tops of data layers are inputs; losses and accuracies are left out.

    Args:
        batch: "free" for any number of items, a number for exactly so many. By default, any number if every layer
            allows it, else the net's own.
        opset: the version of ONNX's operators, 13 to 21.
        fold: merge BatchNorm, Scale and Bias into the weights before them.
        images: let the graph take images, and prepare them for the net. By default, it takes what the net takes.

    The written graph is run over random, zero and large inputs, and compared with the net; if an output differs by more
    than 1e-4 of its spread, NetError names the first blob that does, and nothing is left behind.
    """
    if opset not in OPSETS:
        raise ArgumentError(f"opset is {opset}", hint=f"use {OPSETS[0]} to {OPSETS[-1]}")
    draft = Draft(net, batch, opset, fold, images)
    export = draft.verified(runner)
    notes = {"caffe_lite.verified": "\n".join(map(str, export.comparisons))}
    if draft.written.layers:
        notes[LAYERS] = to_text(NetParameter(layer=draft.written.layers))
    save(model_of(draft.written, net.name, notes), path)
    return export


def runner(written: WrittenNet, threads: int = 0) -> OnnxRun:
    """Return what runs a written net, on so many threads; 0 leaves the number to onnxruntime."""
    model = model_of(written, "net")
    if not is_large(model):
        return OnnxRun(model.SerializeToString(), threads)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = os.path.join(folder, "net.onnx")
        save(model, path)
        return OnnxRun(path, threads)
