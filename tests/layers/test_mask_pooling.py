from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom, make_net


def test_values(engine: str) -> None:
    net = make_net('type: "MaskPooling"', [Bottom((2, 3, 4, 5)), Bottom((2, 1, 4, 5))], engine=engine)
    net.forward()
    x, mask, y = (net.blobs[name].data for name in ("x0", "x1", "y0"))
    for index in np.ndindex(2, 3, 4, 5):
        assert y[index] == x[index] * mask[index[0], 0, index[2], index[3]]


@pytest.mark.parametrize("mask", [(2, 3, 4, 5), (2, 1, 4, 4), (1, 1, 4, 5), (2, 4, 5)])
def test_masks_of_another_shape(engine: str, mask: tuple[int, ...]) -> None:
    with pytest.raises(LayerError) as error:
        make_net('type: "MaskPooling"', [Bottom((2, 3, 4, 5)), Bottom(mask)], engine=engine)
    assert f"the masks have the shape {mask}" in str(error.value)
