"""Floating-point operations, counted as OpenCV's layers count them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..proto.caffe_pb2 import LRNParameter, PoolingParameter
from .importer import Imported

Shapes = Sequence[tuple[int, ...]]

_PER_VALUE = {
    "AbsVal": 1,
    "BNLL": 5,
    "BatchNorm": 3,
    "ELU": 2,
    "Exp": 3,
    "HardSigmoid": 1,
    "HardSwish": 1,
    "Log": 1,
    "Mish": 3,
    "PReLU": 1,
    "ReLU": 1,
    "ReLU6": 2,
    "Reorg": 21,
    "Sigmoid": 3,
    "Softmax": 4,
    "Softplus": 1,
    "Swish": 3,
    "TanH": 1,
}


def flops(layer: Imported, bottoms: Shapes, tops: Shapes) -> int:
    """Return the operations of a layer; of types that OpenCV does not count, 0.

    Source: getFLOPS of the layers in OpenCV's modules/dnn/src/layers. A convolution's count does not know groups, and
    a deconvolution's takes the input's channels for the output's, as there.
    """
    count, made, p = prod(bottoms[0]), prod(tops[0]), layer.param
    if layer.type == "Eltwise":
        return made * len(bottoms)
    if layer.type == "InnerProduct":
        return 3 * made * _learned(layer)[-1]
    if layer.type in ("Convolution", "ConvolutionDepthwise"):
        return made * (2 * prod(_learned(layer)[2:]) * bottoms[0][1] + 1)
    if layer.type == "Deconvolution":
        weight = _learned(layer)
        return 2 * count * weight[0] * prod(weight[2:])
    if layer.type == "Pooling":
        window = _window(p.pooling_param, bottoms[0][2:])
        return made * (window + (p.pooling_param.pool == PoolingParameter.AVE))
    if layer.type in ("ROIPooling", "PSROIPooling"):
        return made
    if layer.type == "Scale":
        return 2 * sum(map(prod, bottoms))
    if layer.type == "Power":
        return count * (2 if p.power_param.power == 1 else 10)
    if layer.type == "LRN":
        return _normalised(p.lrn_param, bottoms[0])
    if layer.type == "MVN":
        return 6 * count + 3 * prod(bottoms[0][: 2 if p.mvn_param.normalize_variance else 1])
    if layer.type in ("PriorBox", "PriorBoxClustered"):
        priors = tops[0][2] // 4 // prod(bottoms[0][2:])
        return sum(prod(shape[2:]) for shape in bottoms) * priors * 4
    return _PER_VALUE.get(layer.type, 0) * count


def _learned(layer: Imported) -> tuple[int, ...]:
    """Return the shape of a layer's weights, of an inner product (num_output, size of an input)."""
    weight = next((blob.shape for blob in layer.blobs if blob is not None), ())
    if layer.type == "InnerProduct" and weight:
        count = layer.param.inner_product_param.num_output
        return count, prod(weight) // count
    return weight or (0,)


def _window(p: PoolingParameter, size: tuple[int, ...]) -> int:
    """Return the size of a window."""
    return prod(size) if p.global_pooling else (p.kernel_h or p.kernel_size) * (p.kernel_w or p.kernel_size)


def _normalised(p: LRNParameter, shape: tuple[int, ...]) -> int:
    size, channels, plane = p.local_size, shape[1], prod(shape[2:])
    if p.norm_region == LRNParameter.WITHIN_CHANNEL:
        return prod(shape) * (2 * size * size + 2)
    half = (size - 1) // 2
    count = shape[0] * (2 * min(half, channels) + 4 * channels) * plane
    return count + ((2 * channels - size) * plane if half < channels else 0)
