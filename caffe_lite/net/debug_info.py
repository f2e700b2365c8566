"""The log lines of ``debug_info``: the mean absolute value of every blob and parameter, after each layer's pass."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..logs.log import logger
from .wiring import Node, Param


def log_forward(node: Node) -> None:
    for name, blob in zip(node.top_names, node.top, strict=True):
        logger.info("    [Forward] Layer %s, top blob %s data: %g", node.name, name, _mean_size(blob, "data"))
    specs = node.param.param
    for i, blob in enumerate(node.layer.blobs):
        name = (specs[i].name if i < len(specs) else "") or str(i)
        logger.info("    [Forward] Layer %s, param blob %s data: %g", node.name, name, _mean_size(blob, "data"))


def log_backward(node: Node) -> None:
    for name, blob, needed in zip(node.bottom_names, node.bottom, node.bottom_need_backward, strict=True):
        if needed:
            logger.info("    [Backward] Layer %s, bottom blob %s diff: %g", node.name, name, _mean_size(blob, "diff"))
    for i, (blob, needed) in enumerate(zip(node.layer.blobs, node.layer.param_propagate_down, strict=True)):
        if needed:
            logger.info("    [Backward] Layer %s, param blob %d diff: %g", node.name, i, _mean_size(blob, "diff"))


def log_params(params: Sequence[Param]) -> None:
    """Log the norms of all parameters together, after a backward pass."""
    blobs = [param.blob for param in params]
    l1 = [sum(_sum_of_sizes(blob, part) for blob in blobs) for part in ("data", "diff")]
    l2 = [sum(_sum_of_squares(blob, part) for blob in blobs) ** 0.5 for part in ("data", "diff")]
    logger.info("    [Backward] All net params (data, diff): L1 norm = (%g, %g); L2 norm = (%g, %g)", *l1, *l2)


def _mean_size(blob: Blob, part: str) -> float:
    return _sum_of_sizes(blob, part) / max(1, blob.count)


def _sum_of_sizes(blob: Blob, part: str) -> float:
    return blob.ops.number(blob.ops.sum(blob.ops.abs(getattr(blob, part))))


def _sum_of_squares(blob: Blob, part: str) -> float:
    return blob.ops.number(blob.ops.sum_of_squares(getattr(blob, part)))
