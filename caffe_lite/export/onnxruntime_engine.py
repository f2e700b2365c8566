"""The onnxruntime engine: NumPy's arithmetic, and whole passes of nets for TEST as graphs in ONNX."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import numpy as np

from ..errors import EngineError, MissingExtra
from ..logs.log import logger
from ..net.graph import Graph
from ..ops.base import Program
from ..ops.numpy.engine import NumpyOps, threads
from ..plugins import is_installed
from ..proto.caffe_pb2 import TEST
from .onnx_pass import Check, OnnxPass


class OnnxRuntimeOps(NumpyOps):
    """NumPy's operations; ``checks`` collects what layers inspect while it is a list."""

    name = "onnxruntime"

    def __init__(self, dtype: str = "float32", device: str = "cpu") -> None:
        if device != "cpu":
            raise EngineError(
                "the onnxruntime engine does not compute on GPUs",
                hint='choose torch, or the CPU: set_mode_cpu(), device="cpu"',
            )
        if not is_installed("onnx"):
            raise MissingExtra("onnx", "onnx", "run the onnxruntime engine")
        super().__init__(dtype)
        self.checks: list[tuple[np.ndarray, Check]] | None = None

    def describe(self) -> str:
        return f"{self.name} {version('onnxruntime')}, on {threads()} threads"

    def inspect(self, x: np.ndarray, check: Callable[[np.ndarray], None]) -> None:
        if self.checks is not None:
            self.checks.append((x, check))
        super().inspect(x, check)

    def program(self, net: Graph) -> Program | None:
        if net.phase == TEST and self.dtype_name == "float32":
            return OnnxPass(net, self, threads())
        kind = "nets for TRAIN" if net.phase != TEST else self.dtype_name
        logger.info("NumPy computes this net: onnxruntime does not run %s here", kind)
        return None
