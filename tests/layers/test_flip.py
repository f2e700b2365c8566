import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net


@pytest.mark.parametrize(
    ("param", "axes"),
    [("", [3]), ("flip_height: true", [2, 3]), ("flip_width: false flip_height: true", [2]), ("flip_width: false", [])],
)
def test_rows_and_columns_are_reversed(engine, param, axes) -> None:
    net = make_layer_net(f'type: "Flip" flip_param {{ {param} }}', [Bottom((2, 3, 4, 5))], engine=engine)
    net.forward()
    np.testing.assert_array_equal(net.blobs["y0"].data, np.flip(net.blobs["x0"].data, axes))


def test_rows_of_numbers_are_refused(engine) -> None:
    with pytest.raises(LayerError, match=r"the bottom's shape \(2, 3\) has 2 axes. Flip needs 4"):
        make_layer_net('type: "Flip"', [Bottom((2, 3))], engine=engine)
