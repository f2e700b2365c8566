"""The torch engine's memory order: arrays passed to ATen and oneDNN have the strides of a fresh array."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from caffe_lite.ops import get_ops
from tests.ops.kernels import agree, close, gradients, net_of, threads

torch = pytest.importorskip("torch")
channels_last = pytest.importorskip("caffe_lite.ops.torch.channels_last").channels_last

SHAPES = [
    *itertools.product((1, 2), (1, 3), (1, 4), (1, 5)),
    (),
    (3,),
    (1, 1),
    (1, 2, 1),
    (2, 1, 3, 1, 2),
    (0, 3, 2, 2),
]


LAYERS = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 16 dim: 17 dim: 6 } } }
layer { name: "lrn" type: "LRN" bottom: "x" top: "lrn" }
layer { name: "conv" type: "Convolution" bottom: "lrn" top: "conv"
        convolution_param { num_output: 16 group: 2 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "Reduction" bottom: "conv" top: "loss" reduction_param { operation: SUMSQ } loss_weight: 1 }
"""


def fresh(shape: tuple[int, ...]) -> torch.Tensor:
    order = torch.channels_last if len(shape) == 4 else torch.contiguous_format
    return torch.arange(float(np.prod(shape))).reshape(shape).contiguous(memory_format=order).clone(memory_format=order)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_strides_are_those_of_a_fresh_array(shape):
    """This holds for any strides of axes with one element; only an array in another order is copied."""
    wanted = torch.empty(shape, memory_format=torch.channels_last if len(shape) == 4 else torch.contiguous_format)
    values = fresh(shape)
    odd = values.as_strided(shape, [7 if n == 1 else stride for n, stride in zip(shape, values.stride(), strict=True)])
    assert torch.equal(channels_last(odd), values)
    assert channels_last(odd).stride() == wanted.stride()
    assert channels_last(odd).data_ptr() == values.data_ptr()
    backwards = tuple(range(len(shape)))[::-1]
    turned = values.permute(backwards).contiguous().permute(backwards)
    assert torch.equal(channels_last(turned), values)
    assert channels_last(turned).stride() == wanted.stride()


@pytest.mark.parametrize("count", [1, 2])
def test_gradients_of_a_batch_of_one(count):
    """LRN of one image returns a stride of 16 from image to image, which oneDNN's grouped gradient misreads on one
    thread."""
    with threads(count):
        single = gradients(net_of(LAYERS, "torch"))
    double = gradients(net_of(LAYERS, "numpy", dtype="float64"))
    agree(single, double)


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("shape", [(1, 16, 17, 6), (1, 16, 1, 6), (2, 16, 1, 1), (1, 16, 5), (1, 16, 2, 3, 1)], ids=str)
def test_convolutions_of_any_strides(shape, group):
    """Images, gradients and weights may come with any stride of their axes of one element."""
    make = torch.Generator().manual_seed(0)
    x, dy = (torch.randn(shape, generator=make) for _ in range(2))
    weight = torch.randn(16, 16 // group, *[1] * (len(shape) - 2), generator=make)
    axes = len(shape) - 2
    windows = [1] * axes, [0] * axes, [1] * axes, group
    exact = get_ops("torch", "float64")
    wanted = exact.convolution_backward(*(t.double() for t in (dy, x, weight)), *windows, (True, True, True))
    y = exact.convolution(x.double(), weight.double(), None, *windows)

    def odd(values: torch.Tensor) -> torch.Tensor:
        values = channels_last(values)
        strides = [16 if n == 1 else stride for n, stride in zip(values.shape, values.stride(), strict=True)]
        return values.as_strided(values.shape, strides)

    ops = get_ops("torch")
    for count in (1, 2):
        with threads(count):
            close(ops.convolution(odd(x), odd(weight), None, *windows), y)
            got = ops.convolution_backward(odd(dy), odd(x), odd(weight), *windows, (True, True, True))
            for mine, theirs in zip(got, wanted, strict=True):
                close(mine, theirs)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 3, 1, 1), (2, 1, 4, 5), (0, 3, 2, 2)], ids=str)
def test_softmax_over_channels_keeps_the_order_of_images(shape):
    x = torch.randn(shape).contiguous(memory_format=torch.channels_last)
    y = get_ops("torch").softmax(x, 1)
    torch.testing.assert_close(y, torch.softmax(x.contiguous(), 1))
    assert y.is_contiguous(memory_format=torch.channels_last)
