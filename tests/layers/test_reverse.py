from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net


@pytest.mark.parametrize(
    ("axes", "index"),
    [([0], np.s_[::-1]), ([-1, 1], np.s_[:, ::-1, ::-1]), ([1, 1, -2], np.s_[:, ::-1])],
)
def test_axes(axes, index, engine) -> None:
    param = " ".join(f"axis: {axis}" for axis in axes)
    net = make_layer_net(f'type: "Reverse" reverse_param {{ {param} }}', [Bottom((2, 3, 4))], engine=engine)
    net.forward()
    np.testing.assert_array_equal(net.blobs["y0"].data, net.blobs["x0"].data[index])


@pytest.mark.parametrize(("param", "what"), [("", "no axis is given"), ("axis: 3", "axis 3 is out of range")])
def test_what_is_refused(param, what, engine) -> None:
    with pytest.raises(LayerError, match=what):
        make_layer_net(f'type: "Reverse" reverse_param {{ {param} }}', [Bottom((2, 3, 4))], engine=engine)
