"""Convolutions of float32 tensors that oneDNN, which torch has on CPUs, gets wrong (seen in torch 2.13): what it leaves
unwritten is whatever lay in memory, and some end the process. Others than these must compute them."""

from __future__ import annotations

from ..windows import Ints, convolved, extent


def misses_results(x_shape: Ints, weight_shape: Ints, stride: Ints, pad: Ints, dilation: Ints) -> bool:
    """Whether it leaves out results of this convolution: images with one channel that are one window wide, beside
    which a further one would start."""
    if len(x_shape) != 4 or x_shape[1] != 1 or stride[1] == 1:
        return False
    return convolved(x_shape[3], weight_shape[3], stride[1], pad[1], dilation[1]) <= 1


def misses_weights(size: Ints, kernel: Ints, stride: Ints, pad: Ints, dilation: Ints) -> bool:
    """Whether it loses its way in the gradient in the weights: several windows start in the padding before a volume
    that is hardly deeper than a window."""
    if len(size) != 3:
        return False
    return pad[0] > stride[0] > 1 and size[0] < extent(kernel[0], dilation[0]) + stride[0] - 1
