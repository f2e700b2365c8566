"""Quantizing: a net in whole numbers of 8 bits, as a model in ONNX, and what that costs in accuracy."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..agreement.comparing import Arrays, gap
from ..agreement.onnx_running import OnnxRun, onnx
from ..errors import MissingExtra, NetError
from ..net.wiring import Node
from ..plugins import is_installed
from ..pycaffe.net import Net
from .onnx_export import to_onnx
from .onnx_file import save
from .writing import WrittenNet, parted

# What is computed in 8 bits: products, and what passes their results on. Others, such as Softmax, stay in float32.
_QUANTIZED = (
    *("Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Mul", "Relu", "Clip", "LeakyRelu", "PRelu"),
    *("MaxPool", "AveragePool", "GlobalAveragePool", "Concat", "Split", "Slice", "Pad", "Resize"),
    *("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze"),
)


@dataclass
class Score:
    """The mean of a score, such as an accuracy, that a layer computes: of the net, and of its quantized form."""

    name: str
    is_accuracy: bool
    before: float
    after: float

    def __str__(self) -> str:
        text = f"{self.name}: {self.before:.4f}, in 8 bits {self.after:.4f}"
        return f"{text}: {100 * (self.before - self.after):.2f} points lost" if self.is_accuracy else text


@dataclass
class Difference:
    """How far an output of the quantized form is from that of the net, over all batches, in parts of its spread.

    ``same_best`` counts the items whose largest value is at the same place, of ``items``.
    """

    name: str
    largest: float = 0.0
    same_best: int = 0
    items: int = 0

    def add(self, wanted: np.ndarray, got: np.ndarray) -> None:
        self.largest = max(self.largest, gap(self.name, wanted, got).size)
        if wanted.ndim > 1 and wanted.shape == got.shape and wanted[0].size > 1:
            best = (np.argmax(values.reshape(len(values), -1), 1) for values in (wanted, got))
            self.same_best += int(np.equal(*best).sum())
            self.items += len(wanted)

    def __str__(self) -> str:
        text = f"{self.name}: in 8 bits it differs by {self.largest:.2g} of its spread at most"
        return f"{text}; the largest value is the same for {self.same_best} of {self.items}" if self.items else text


@dataclass
class Quantization:
    """How a quantized net compares with the net: its scores, or its outputs if the net computes no scores."""

    scores: list[Score] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)

    def report(self) -> list[str]:
        return [str(line) for line in self.scores or self.differences]


def quantize(
    net: Net,
    path: str | os.PathLike[str],
    calibration: Iterable[Arrays],
    trials: Iterable[Arrays],
    activations: str = "int8",
) -> Quantization:
    """Write a net that is in TEST to a file of ONNX whose products are of whole numbers of 8 bits; return the loss.

    Weights become int8, with a scale for each output of a layer. The ranges of the blobs are those that the batches for
    ``calibration`` have. The net and the file are then compared over the ``trials``.

    Args:
        calibration, trials: batches, as values for the tops of all data layers by name.
        activations: the type of the blobs, "int8" or "uint8".
    """
    if not is_installed("onnxruntime"):
        raise MissingExtra("onnxruntime", "onnx", "quantize nets")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        plain, small = Path(folder, "float.onnx"), Path(folder, "small.onnx")
        written = to_onnx(net, plain).written
        _quantize(plain, small, _Reader(calibration, written.inputs), activations)
        model = onnx().load(small)
        _leave_outputs(model.graph)
        onnx().save(model, small)
        comparison = _compared(net, written, OnnxRun(small), trials)
    notes = {"caffe_lite.quantized": "\n".join(comparison.report())}
    onnx().helper.set_model_props(model, notes)
    save(model, path)
    return comparison


def batches(net: Net, count: int) -> Iterator[dict[str, np.ndarray]]:
    """Yield so many batches of the net's data layers."""
    places = [place for place, node in enumerate(net.nodes) if node in parted(net.nodes).sources]
    if net.inputs or not places:
        raise NetError(
            "the net has no data of its own" if not net.inputs else f"the net's data is put into {net.inputs}",
            hint="give --images FOLDER, or the net with the data layers for TEST",
        )
    for _ in range(count):
        for place in places:
            net._caffe_graph.run_forward(place, place)
        yield {name: np.array(net.blobs[name].data) for place in places for name in net.nodes[place].top_names}


class _Reader:
    """Hands batches to onnxruntime, one by one."""

    def __init__(self, calibration: Iterable[Arrays], names: Sequence[str]) -> None:
        self.batches = ({name: np.ascontiguousarray(one[name], np.float32) for name in names} for one in calibration)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.batches, None)


def _quantize(plain: Path, small: Path, reader: _Reader, activations: str) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = plain.with_name("prepared.onnx")
    quant_pre_process(plain, prepared, skip_symbolic_shape=True)
    quantize_static(
        prepared,
        small,
        reader,
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=list(_QUANTIZED),
        per_channel=True,
        activation_type=QuantType.QInt8 if activations == "int8" else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def _leave_outputs(graph: Any) -> None:
    """Leave the outputs of a graph as they are computed: in 8 bits, many of its largest values would be equal."""
    maker = {name: node for node in graph.node for name in node.output}
    for output in graph.output:
        back = maker[output.name]
        to = maker.get(back.input[0]) if back.op_type == "DequantizeLinear" else None
        readers = [node for node in graph.node if to is not None and to.output[0] in node.input]
        if to is None or to.op_type != "QuantizeLinear" or readers != [back] or to.input[0] not in maker:
            continue
        source = maker[to.input[0]]
        for node in graph.node:
            for index, name in enumerate(node.input):
                if name == to.input[0] and node is not to:
                    node.input[index] = output.name
        source.output[list(source.output).index(to.input[0])] = output.name
        graph.node.remove(to)
        graph.node.remove(back)


def _compared(net: Net, written: WrittenNet, small: OnnxRun, trials: Iterable[Arrays]) -> Quantization:
    sources, _, late = parted(net.nodes)
    types = {name: node.layer.type for node in late for name in node.top_names}
    names = [name for name in net.outputs if name in types and net.blobs[name].count == 1]
    values: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    differences = {name: Difference(name) for name in written.outputs}
    for batch in trials:
        _run(net, batch, [node for node in net.nodes if node not in sources])
        before = {name: net.blobs[name].data.item() for name in names}
        got = small(batch)
        for name, difference in differences.items():
            difference.add(np.array(net.blobs[name].data), got[name])
        _finish(net, late, got)
        for name in names:
            values[name].append((before[name], net.blobs[name].data.item()))
    means = {name: np.mean(pairs, 0) for name, pairs in values.items()}
    scores = [Score(name, "Accuracy" in types[name], *map(float, pair)) for name, pair in means.items()]
    return Quantization(scores, list(differences.values()))


def _finish(net: Net, late: Sequence[Node], outputs: Arrays) -> None:
    """Put these outputs of a graph into the net, and run the layers that are not in the graph."""
    known = set(outputs)
    nodes = []
    for node in net.nodes:
        if node in late or (node.layer.type == "Split" and known.issuperset(node.bottom_names)):
            known |= set(node.top_names)
            nodes.append(node)
    _run(net, outputs, nodes)


def _run(net: Net, values: Arrays, nodes: Sequence[Node]) -> None:
    """Put values into blobs, and run some layers."""
    for name, array in values.items():
        net.blobs[name].data[...] = array
    for place, node in enumerate(net.nodes):
        if node in nodes:
            net._caffe_graph.run_forward(place, place)
