from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom, check, make_net
from .test_roi_align import interpolated


@pytest.mark.parametrize("size", [(5, 7), (3, 2), (9, 20), (1, 1), (16, 1)])
def test_values(engine: str, size: tuple[int, int]) -> None:
    text = f'type: "MaskResize" mask_resize_param {{ output_height: {size[0]} output_width: {size[1]} }}'
    net = make_net(text, [Bottom((2, 3, 5, 7))], engine=engine)
    check(net)
    net.forward()
    x = net.blobs["x0"].data
    for n, i, j in np.ndindex(2, *size):
        wanted = interpolated(x[n], i * 5 / size[0], j * 7 / size[1])
        np.testing.assert_allclose(net.blobs["y0"].data[n, :, i, j], wanted, atol=1e-12)


@pytest.mark.parametrize(
    ("param", "shape", "message"),
    [
        ("output_height: 2", (1, 1, 3, 3), "output_height is 2, output_width is 0"),
        ("output_height: 2 output_width: 2", (3, 3), "the bottom's shape (3, 3) has 2 axes"),
        ("output_height: 2 output_width: 2", (1, 1, 0, 3), "has no pixels"),
    ],
)
def test_what_makes_no_sense(engine: str, param: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(LayerError) as error:
        make_net(f'type: "MaskResize" mask_resize_param {{ {param} }}', [Bottom(shape)], engine=engine)
    assert message in str(error.value)
