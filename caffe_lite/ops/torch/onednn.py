"""Convolutions of float32 tensors that oneDNN, which torch uses on CPUs, gets wrong (seen in torch 2.13).

The results that it leaves unwritten are whatever was in memory, and some convolutions end the process. Other kernels
must compute them.
"""

from __future__ import annotations

from ..windows import Ints, convolved, extent


def misses_results(x_shape: Ints, weight_shape: Ints, stride: Ints, pad: Ints, dilation: Ints) -> bool:
    """Return whether oneDNN leaves out results of this convolution.

    It does for images with one channel that are one window wide, if the stride is larger than 1.
    """
    if len(x_shape) != 4 or x_shape[1] != 1 or stride[1] == 1:
        return False
    return convolved(x_shape[3], weight_shape[3], stride[1], pad[1], dilation[1]) <= 1


_FEW_CHANNELS = 8


def misses_weights(x_shape: Ints, kernel: Ints, stride: Ints, pad: Ints, dilation: Ints) -> bool:
    """Return whether oneDNN computes a wrong gradient of the weights, or writes beside it.

    It does if several windows start in the padding before a volume that is hardly deeper than a window; and for filters
    of one pixel that leave out rows but no columns of images with three channels. All small numbers of channels are
    treated as three.
    """
    size = x_shape[2:]
    if len(size) == 2:
        return tuple(kernel) == (1, 1) and stride[0] > stride[1] == 1 and x_shape[1] < _FEW_CHANNELS
    if len(size) != 3:
        return False
    return pad[0] > stride[0] > 1 and size[0] < extent(kernel[0], dilation[0]) + stride[0] - 1
