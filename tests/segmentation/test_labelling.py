"""Labeller: which blob has the scores of pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from caffe_lite import TEST, Net
from caffe_lite.errors import NetError
from caffe_lite.media.preparation import Preparation
from caffe_lite.segmentation.labelling import Labeller

pytest.importorskip("cv2")

MakeNet = Callable[..., Net]
NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 4 dim: 6 } } }
layer { name: "half" type: "Pooling" bottom: "data" top: "half" pooling_param { kernel_size: 2 stride: 2 } }
"""
ONE = """
layer {
  name: "s" type: "Convolution" bottom: "half" top: "s" convolution_param { num_output: 1 kernel_size: 1 }
}
"""


@pytest.mark.parametrize(("blob", "as_it_is"), [(None, False), ("half", False), ("data", True)])
def test_the_label_is_that_of_the_nearest_score(make_net: MakeNet, blob: str | None, as_it_is: bool) -> None:
    best = np.random.default_rng(0).integers(0, 3, (4, 6) if as_it_is else (2, 3))
    image = (np.eye(3)[best] * 255).astype(np.uint8)
    if not as_it_is:
        image = image.repeat(4, 0).repeat(4, 1)
    labels = Labeller(make_net(NET, TEST), Preparation(), blob, as_it_is)(image)
    np.testing.assert_array_equal(labels, best if as_it_is else best.repeat(4, 0).repeat(4, 1))


@pytest.mark.parametrize(
    ("more", "blob", "message"),
    [
        ('layer { name: "s" type: "Split" bottom: "half" top: "s" top: "t" }', None, "t (1, 3, 2, 3): which are the"),
        ('layer { name: "s" type: "Silence" bottom: "half" }', None, "the net puts out nothing: which are the scores"),
        ('layer { name: "s" type: "Flatten" bottom: "half" top: "s" }', None, "the net puts out s (1, 18): which are"),
        ('layer { name: "s" type: "Flatten" bottom: "half" top: "s" }', "s", "s (1, 18) does not hold scores of"),
        ("", "nowhere", "the net has no blob nowhere. Give --blob the name of its scores"),
        (
            ONE,
            None,
            "s (1, 1, 2, 3) does not hold scores of the classes of pixels. Give a net that puts out (N, C, H, W)",
        ),
    ],
)
def test_nets_that_score_no_pixels(make_net: MakeNet, more: str, blob: str | None, message: str) -> None:
    with pytest.raises(NetError) as caught:
        Labeller(make_net(NET + more, TEST), Preparation(), blob)
    assert message in str(caught.value)


def test_padded_images_are_refused(make_net: MakeNet) -> None:
    resize = "resize_param { resize_mode: FIT_LARGE_SIZE_AND_PAD height: 4 width: 6 }"
    net = make_net(NET.replace('top: "data"', f'top: "data" transform_param {{ {resize} }}', 1), TEST)
    with pytest.raises(NetError, match=r"pads images. Give --size"):
        Labeller(net, Preparation())
    assert Labeller(net, Preparation(size=(4, 6)))(np.zeros((8, 8, 3), np.uint8)).shape == (8, 8)
