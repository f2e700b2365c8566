"""ConvolutionDepthwise reads its settings in its own way; its values are those of torch's convolution by channels."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom, make_net

IMAGES = Bottom((2, 3, 9, 8))


def depthwise(settings: str, engine: str, bottom: Bottom = IMAGES):
    return make_net(f'type: "ConvolutionDepthwise" convolution_param {{ {settings} }}', [bottom], engine=engine)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("kernel_size: 3 num_output: 7 group: 2 axis: 0", {}),
        ("kernel_size: 3 kernel_size: 2 stride: 2 stride: 1 pad: 1 pad: 0", {"stride": (2, 1), "padding": (1, 0)}),
        ("kernel_h: 3 kernel_w: 2 kernel_size: 5 stride: 3 stride_h: 1 stride_w: 2", {"stride": (1, 2)}),
        ("kernel_size: 3 dilation: 2 dilation: 1 pad_h: 2 pad_w: 1 bias_term: false",
         {"dilation": (2, 1), "padding": (2, 1)}),
    ],
)  # fmt: skip
def test_values(settings, expected, engine):
    torch = pytest.importorskip("torch")
    net = depthwise(settings, engine)
    net.forward()
    weight, *bias = (torch.tensor(blob.data) for blob in net.params["under_test"])
    assert weight.shape[:2] == (3, 1)
    x = torch.tensor(net.blobs["x0"].data)
    y = torch.nn.functional.conv2d(x, weight, *bias, groups=3, **expected)
    np.testing.assert_allclose(net.blobs["y0"].data, y.numpy(), atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "shape", "message"),
    [
        ("kernel_size: 3 pad_h: 1", (2, 3, 9, 8), "pad_h is given without pad_w"),
        ("kernel_w: 3 kernel_size: 3", (2, 3, 9, 8), "kernel_w is given without kernel_h"),
        ("kernel_size: 3 kernel_size: 3 kernel_size: 3", (2, 3, 9, 8), "kernel_size is given 3 times"),
        ("num_output: 3", (2, 3, 9, 8), "no kernel_size is given"),
        ("kernel_size: 3", (2, 3, 9), "the bottom has 3 axes"),
    ],
)
def test_errors(settings, shape, message):
    with pytest.raises(LayerError, match=message):
        depthwise(settings, "numpy", Bottom(shape))
