import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net


@pytest.mark.parametrize(
    ("shape", "paddings", "value"),
    [((2, 3, 4, 5), [0, 1, 2, 0, 1, 1, 0, 3], 0), ((3,), [2, 1], -1.5), ((2, 3), [0, 0, 0, 0], 7)],
)
def test_each_axis_grows(engine, shape, paddings, value) -> None:
    layer = f'type: "Pad" pad_param {{ paddings: {paddings} constant_values: {value} }}'
    net = make_layer_net(layer, [Bottom(shape)], engine=engine)
    net.forward()
    widths = np.reshape(paddings, (-1, 2))
    np.testing.assert_array_equal(net.blobs["y0"].data, np.pad(net.blobs["x0"].data, widths, constant_values=value))


def test_paddings_must_be_two_for_each_axis(engine) -> None:
    with pytest.raises(LayerError, match="2 paddings for the 2 axes of the bottom"):
        make_layer_net('type: "Pad" pad_param { paddings: [1, 2] }', [Bottom((2, 3))], engine=engine)
