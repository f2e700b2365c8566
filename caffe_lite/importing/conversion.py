"""From an ONNX model to a net in the target's layers, or to all the reasons against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import NetError
from ..files.paths import StrPath
from ..proto.caffe_pb2 import NetParameter
from . import operators  # noqa: F401  (fills the table of spellings)
from .graph import read_graph, read_model
from .idioms import recognise
from .inference import infer
from .layers import restore
from .merging import merge
from .targets import TARGETS
from .writer import Writer


@dataclass(frozen=True)
class Converted:
    """A net, with its weights as blobs of its layers, and the names that the model and the net share.

    ``blobs`` names the blob that holds each tensor.
    """

    net: NetParameter
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    blobs: Mapping[str, str]


def convert(model: StrPath | Any, target: str, shapes: Mapping[str, Sequence[int]] | None = None) -> Converted:
    """Write a model, from a file or as onnx's ModelProto, as a net for the target "bvlc", "ssd" or "all".

    ``shapes`` gives the sizes of inputs that the model leaves open. Raise a NetError that names every node for which
    the target has no layers.
    """
    if target not in TARGETS:
        raise NetError(f"there is no target {target!r}", hint=f"the targets are {', '.join(TARGETS)}")
    read = read_model(model)
    graph = read_graph(read, shapes)
    restore(graph, read, TARGETS[target])
    infer(graph)
    recognise(graph)
    merge(graph)
    writer = Writer(graph, TARGETS[target])
    problems = writer.write()
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        nodes = "1 node" if len(problems) == 1 else f"{len(problems)} nodes"
        raise NetError(
            f"{nodes} cannot be written in layers of {TARGETS[target].title}, and nothing was written:\n{listed}",
            hint=_advice(target, [problem.others for problem in problems]),
        )
    return Converted(writer.net(), tuple(graph.inputs), tuple(graph.outputs), writer.computed())


def _advice(target: str, able: Sequence[Sequence[str]]) -> str:
    for other in TARGETS:
        if other != target and all(other in others for others in able):
            return f"With --target {other}, all of them can be written"
    return "Change the model there, or cut it before these nodes"
