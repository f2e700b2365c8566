"""What a net costs: parameters, values in its blobs, multiply-adds; and how such numbers are written."""

from __future__ import annotations

from dataclasses import dataclass

from .layers.recurrent import RecurrentLayer
from .outline import Outline, shape_of
from .unknown import Shape, Size, UnknownSize
from .wiring import Node

WITH_WEIGHTS = ("Convolution", "Deconvolution", "InnerProduct", "LSTM", "RNN")


@dataclass
class Totals:
    """Of a whole net: parameters, shared ones once; values in its blobs; multiply-adds of a forward pass."""

    parameters: Size
    values: Size
    multiply_adds: Size


def totals(net: Outline) -> Totals:
    shared = {id(param.blob): param.blob.count for param in net.params}
    unshared = {id(blob): blob.count for node in net.nodes for blob in node.layer.blobs if shape_of(blob) is None}
    blobs = {id(blob): blob.count for node in net.nodes for blob in node.top}
    return Totals(
        sum((shared | unshared).values()), sum(blobs.values()), sum(multiply_adds(node) for node in net.nodes)
    )


def multiply_adds(node: Node) -> Size:
    """What a layer's matrix products cost in one forward pass; what is done once per element is not counted."""
    if node.layer.type in WITH_WEIGHTS and not node.layer.blobs:  # it could not be set up
        return UnknownSize()
    if node.layer.blobs and any(shape_of(blob) is None for blob in (*node.bottom, *node.top, *node.layer.blobs)):
        return UnknownSize()
    param, blobs = node.layer.param, node.layer.blobs
    if node.layer.type == "Deconvolution":
        # Every weight is used once for each input pixel.
        return sum(blob.count for blob in node.bottom) // blobs[0].shape[0] * blobs[0].count
    if isinstance(node.layer, RecurrentLayer):
        # Every weight is used once for each step and stream; those of a static input once for each stream.
        steps, streams = node.bottom[1].shape
        sizes = [blob.count for blob in blobs if blob.num_axes > 1]
        static = sizes.pop(1) if node.layer.has_static else 0
        return streams * (steps * sum(sizes) + static)
    outputs = {
        "Convolution": param.convolution_param.num_output,
        "InnerProduct": param.inner_product_param.num_output,
    }.get(node.layer.type)
    if outputs is None:
        return 0
    # Every weight is used once for each output pixel.
    return sum(blob.count for blob in node.top) // outputs * blobs[0].count


def shape_text(shape: Shape | None) -> str:
    return "?" if shape is None else " x ".join(map(str, shape)) or "scalar"


def memory(count: Size) -> str:
    """What so many float32 take."""
    if isinstance(count, UnknownSize):
        return "?"
    value = 4.0 * count
    for unit in ("bytes", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.4g} {unit}"
        value /= 1024
    return f"{value:.4g} GiB"
