"""Importing nets from ONNX and PyTorch, verified."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..agreement.comparing import TOLERANCE, Comparison, compare
from ..agreement.onnx_running import DoubleRun, OnnxRun, onnx
from ..errors import CaffeError, MissingExtra, NetError, first_line
from ..files.paths import StrPath
from ..importing.conversion import Converted, convert
from ..net.weights import encoded, write_message
from ..ops.windows import by
from ..plugins import is_installed
from ..proto.caffe_pb2 import TEST, NetParameter
from ..proto.prototxt import to_text, write_text
from ..pycaffe.net import Net
from .folding import fold as folded
from .folding import without_weights


@dataclass
class Import:
    """An imported net with its weights as blobs of its layers, and how well it agrees with the model.

    ``precision`` is that in which they were compared: "single" or, where rounding alone makes a difference, "double".
    """

    message: NetParameter
    net: Net
    outputs: Sequence[str]
    comparisons: Sequence[Comparison] = ()
    precision: str = "single"

    def save(self, prototxt: StrPath, caffemodel: StrPath) -> None:
        """Write the net and its weights."""
        write_text(prototxt, without_weights(self.message))
        write_message(caffemodel, self.message)

    def report(self) -> Iterator[str]:
        """Yield lines about the net: its ends, its layers, and how it agrees with the model."""
        for end, names in (("input", self.net.inputs), ("output", self.outputs)):
            for name in names:
                yield f"{end} {name}: {by(self.net.blobs[name].data.shape)}"
        types = sorted(Counter(layer.type for layer in self.message.layer).items())
        yield f"{len(self.message.layer)} layers: {', '.join(f'{count} {name}' for name, count in types)}"
        if self.precision == "double":
            yield "compared in double precision: in single precision, rounding makes a difference in this net"
        yield from map(str, self.comparisons)


def from_onnx(
    model: StrPath | Any,
    *,
    target: str = "all",
    fold: bool = False,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Import:
    """Make a net of an ONNX model, in TEST and with its weights.

    Args:
        model: the path of a file, or onnx's ModelProto.
        target: which layers the net may have: "bvlc" (those of BVLC's Caffe 1.0), "ssd" (SSD's besides) or "all".
        fold: merge BatchNorm and Scale into the weights before them.
        shapes: the sizes of inputs that the model leaves open, by name. A first size that is open is 1.

    The net is written to files, read back, and run over random, zero and large inputs. NetError is raised if an output
    differs from the model's by more than 1e-4 of its spread, or if the target has no layers for some nodes, all of
    which it names.
    """
    converted = convert(model, target, shapes)
    message = converted.net
    net = _read_back(message)
    if fold:
        message = folded(net).net
        net = _read_back(message)
    imported = Import(message, net, converted.outputs)
    _verified(imported, converted, model)
    return imported


def from_torch(module: Any, example: Any, *, target: str = "all", fold: bool = False) -> Import:
    """Make a net of a PyTorch module, by way of ONNX; see from_onnx.

    Args:
        module: a torch.nn.Module; it is exported as it is in evaluation.
        example: a tensor to call it with, or a tuple of them. Their sizes become those of the net's inputs.
    """
    try:
        import torch
    except ImportError:
        raise MissingExtra("torch", "torch", "import modules of PyTorch") from None

    newer = is_installed("onnxscript")
    training = module.training
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about what torch itself does
        path = os.path.join(folder, "module.onnx")
        arguments = example if isinstance(example, tuple) else (example,)
        options: dict[str, Any] = {"verbose": False} if newer else {}
        module.eval()
        try:
            torch.onnx.export(module, arguments, path, dynamo=newer, **options)
        except Exception as error:  # torch does not say which exceptions it raises
            raise CaffeError(f"PyTorch cannot export this module to ONNX: {first_line(error)}") from error
        finally:
            module.train(training)
        return from_onnx(path, target=target, fold=fold)


def _read_back(message: NetParameter, dtype: str = "float32") -> Net:
    """Write a net with its weights to files, and read them."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        prototxt, caffemodel = (Path(folder, f"net.{kind}") for kind in ("prototxt", "caffemodel"))
        prototxt.write_bytes(to_text(without_weights(message)).encode())
        caffemodel.write_bytes(encoded(message, caffemodel))
        return Net(prototxt, TEST, weights=caffemodel, engine="numpy", dtype=dtype, seed=0, compile=False)


def _verified(imported: Import, converted: Converted, model: Any) -> None:
    """Compare a net with its model.

    If they differ, compare them in double precision: some nets enlarge the rounding of single precision so much that no
    two programs agree. If they still differ, name the first blob that does.
    """
    is_message = isinstance(model, onnx().ModelProto)
    run = OnnxRun(model.SerializeToString() if is_message else os.fspath(model))
    try:
        imported.comparisons = compare(imported.net, converted.inputs, converted.outputs, run)
        if all(one.gap.size <= TOLERANCE for one in imported.comparisons):
            return
    except NetError as error:
        differs: NetError | None = error
    else:
        differs = None
    blobs = {tensor: blob for tensor, blob in converted.blobs.items() if blob in imported.net.blobs}
    try:
        doubled = DoubleRun(model if is_message else onnx().load(os.fspath(model)), blobs)
        imported.comparisons = compare(
            _read_back(imported.message, "float64"), converted.inputs, converted.outputs, doubled
        )
        imported.precision = "double"
    except CaffeError:
        raise
    except Exception:  # the reference implementation cannot run every model
        if differs is not None:
            raise differs from None
