"""DepthwiseConvolution takes the settings and the weights of Convolution, and computes the same."""

from __future__ import annotations

import numpy as np
import pytest

from .gradient import Bottom, make_net


@pytest.mark.parametrize(
    "settings",
    ["num_output: 4 group: 4 kernel_size: 3 stride: 2 pad: 1", "num_output: 6 group: 2 kernel_h: 1 kernel_w: 3"],
)
def test_it_is_a_convolution(settings, engine):
    tops = []
    for type in ("DepthwiseConvolution", "Convolution"):
        layer = f'type: "{type}" convolution_param {{ {settings} weight_filler {{ type: "msra" }} }}'
        net = make_net(layer, [Bottom((2, 4, 7, 6)), Bottom((2, 4, 7, 6))], 2, engine=engine)
        net.forward()
        tops.append([net.blobs[name].data.copy() for name in ("y0", "y1")])
    np.testing.assert_array_equal(*tops)
