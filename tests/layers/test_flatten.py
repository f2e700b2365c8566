import numpy as np
import pytest

from caffe_lite.errors import LayerError


def flatten(make_net, param, top="y"):
    return make_net(f"""
        layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ dim: 2 dim: 3 dim: 4 dim: 5 }} }} }}
        layer {{ name: "flat" type: "Flatten" bottom: "x" top: "{top}" flatten_param {{ {param} }} }}""")


@pytest.mark.parametrize(
    ("param", "shape"),
    [
        ("", (2, 60)),
        ("axis: 0", (120,)),
        ("axis: 2", (2, 3, 20)),
        ("end_axis: 2", (2, 12, 5)),
        ("axis: -3 end_axis: -2", (2, 12, 5)),
        ("axis: 2 end_axis: 1", (2, 3, 1, 4, 5)),
    ],
)
def test_shapes(make_net, param, shape):
    net = flatten(make_net, param)
    net.blobs["x"].data[...] = np.arange(120).reshape(2, 3, 4, 5)
    net.forward()
    np.testing.assert_array_equal(net.blobs["y"].data, np.arange(120).reshape(shape))


def test_axes_in_the_wrong_order_are_refused(make_net):
    with pytest.raises(LayerError, match="end_axis 0 comes before axis 3 in a bottom with 4 axes"):
        flatten(make_net, "axis: 3 end_axis: 0")


def test_running_in_place_is_refused(make_net):
    with pytest.raises(LayerError, match=r"Flatten cannot run in place\. Give its top another name"):
        flatten(make_net, "", top="x")
