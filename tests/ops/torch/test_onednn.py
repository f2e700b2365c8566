"""Convolutions that oneDNN gets wrong are computed without it."""

from __future__ import annotations

import pytest

from caffe_lite import TEST, Net
from caffe_lite.ops import get_ops
from caffe_lite.proto.caffe_pb2 import NetParameter
from caffe_lite.proto.parser import parse_text
from tests.ops.kernels import close, threads

torch = pytest.importorskip("torch")

# Images and filters, stride, pad, dilation.
ONE_CHANNEL_ONE_WINDOW_WIDE = [
    ((9, 1, 7, 1), (32, 1, 5, 5), (1, 4), (2, 2), (1, 1)),
    ((2, 1, 3, 2), (4, 1, 2, 5), (1, 4), (0, 2), (1, 1)),
    ((3, 1, 12, 7), (8, 1, 5, 5), (1, 3), (2, 0), (1, 1)),
    ((2, 1, 12, 4), (3, 1, 4, 5), (1, 2), (0, 1), (3, 1)),
]
WINDOWS_BEFORE_A_VOLUME = [
    ((3, 24, 5, 3, 5), (8, 24, 7, 5, 5), (2, 4, 3), (3, 1, 2), (1, 1, 1)),
    ((2, 2, 3, 3, 3), (32, 2, 5, 3, 3), (2, 1, 1), (3, 0, 1), (1, 1, 1)),
    ((2, 16, 8, 3, 1), (8, 16, 6, 1, 1), (4, 1, 1), (5, 0, 0), (1, 1, 1)),
    ((3, 16, 6, 3, 3), (16, 16, 7, 3, 2), (3, 1, 3), (4, 1, 0), (1, 1, 1)),
]
# It writes beside the gradient of the weights; whether a test notices depends on what is there.
PIXELS_OF_THREE_CHANNELS = [
    ((12, 3, 8, 9), (1, 3, 1, 1), (4, 1), (0, 0), (1, 1)),
    ((2, 3, 8, 9), (16, 3, 1, 1), (2, 1), (0, 0), (1, 1)),
]
CASES = [*ONE_CHANNEL_ONE_WINDOW_WIDE, *WINDOWS_BEFORE_A_VOLUME, *PIXELS_OF_THREE_CHANNELS]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_it_leaves_unwritten(case, count):
    """Check tops and gradients of the convolution, and of the deconvolution that is its transpose."""
    x_shape, weight_shape, *windows = case
    single, double = get_ops("torch"), get_ops("torch", "float64")
    make = torch.Generator().manual_seed(0)
    x, weight = torch.randn(x_shape, generator=make), torch.randn(weight_shape, generator=make)

    def run(ops, x, weight, dy=None):
        y = ops.convolution(x, weight, None, *windows, 1)
        dy = torch.randn(y.shape, generator=make) if dy is None else dy
        back = ops.deconvolution(dy.to(y.dtype), weight, None, *windows, 1)
        dx = torch.ones_like(back)
        need = (True, True, True)
        return dy, [
            *(y, *ops.convolution_backward(dy.to(y.dtype), x, weight, *windows, 1, need)),
            *(back, *ops.deconvolution_backward(dx, dy.to(y.dtype), weight, *windows, 1, need)),
        ]

    for _ in range(3):  # the values that happen to be in memory may be right
        with threads(count):
            freed = torch.full((20_000,), 1e20)
            del freed
            dy, mine = run(single, x, weight)
        _, exact = run(double, x.double(), weight.double(), dy)
        for a, b in zip(mine, exact, strict=True):
            close(a, b)


@pytest.mark.parametrize("case", ONE_CHANNEL_ONE_WINDOW_WIDE, ids=str)
def test_folded_weights(case):
    """From its second pass on, a TEST net keeps weights in oneDNN's format."""
    x_shape, (outs, _, *kernel), stride, pad, dilation = case
    sizes = {"kernel_size": kernel, "stride": stride, "pad": pad, "dilation": dilation}
    fields = " ".join(f"{name}: {n}" for name, each in sizes.items() for n in each)
    text = f"""
    layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ {" ".join(f"dim: {n}" for n in x_shape)} }} }} }}
    layer {{ name: "y" type: "Convolution" bottom: "x" top: "y"
            convolution_param {{ num_output: {outs} {fields} weight_filler {{ type: "xavier" }} }} }}
    """
    make = torch.Generator().manual_seed(0)
    x = torch.randn(x_shape, generator=make).numpy()
    tops = []
    for engine in ("torch", "numpy"):
        net = Net(parse_text(text, NetParameter, "net.prototxt"), TEST, engine=engine, seed=3)
        for _ in range(3):
            top = net.forward(x=x)["y"].copy()
        tops.append(torch.from_numpy(top))
    close(*tops)
