from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net


@pytest.mark.parametrize(
    ("axes", "index"),
    [([], np.s_[::-1]), ([2], np.s_[..., ::-1]), ([-1, 1], np.s_[:, ::-1, ::-1]), ([1, 1, -2], np.s_[:, ::-1])],
)
def test_axes(axes, index, engine) -> None:
    param = " ".join(f"axis: {axis}" for axis in axes)
    net = make_layer_net(f'type: "Reverse" reverse_param {{ {param} }}', [Bottom((2, 3, 4))], engine=engine)
    net.forward()
    np.testing.assert_array_equal(net.blobs["y0"].data, net.blobs["x0"].data[index])


def test_an_axis_that_is_not_there(engine) -> None:
    with pytest.raises(LayerError, match="axis 3 is out of range"):
        make_layer_net('type: "Reverse" reverse_param { axis: 3 }', [Bottom((2, 3, 4))], engine=engine)
