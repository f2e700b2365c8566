import numpy as np
import pytest

from caffe_lite.errors import LayerError


def cut(make_net, param, tops):
    names = " ".join(f'top: "y{i}"' for i in range(tops))
    return make_net(f"""
        force_backward: true
        layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ dim: 2 dim: 6 }} }} }}
        layer {{ name: "slice" type: "Slice" bottom: "x" {names} slice_param {{ {param} }} }}""")


def test_slice_dim_is_the_former_name_of_axis(make_net):
    net = cut(make_net, "slice_dim: 0", 2)
    net.blobs["x"].data[1] = 5
    net.forward()
    np.testing.assert_array_equal(net.blobs["y1"].data, np.full((1, 6), 5))


def test_a_top_without_gradient_counts_as_zeros(make_net):
    net = cut(make_net, "slice_point: 2", 2)
    net.forward()
    net.blobs["y1"].diff[...] = 3
    net.backward()
    np.testing.assert_array_equal(net.blobs["x"].diff[0], [0, 0, 3, 3, 3, 3])


@pytest.mark.parametrize(
    ("param", "tops", "what"),
    [
        ("axis: 1 slice_dim: 1", 2, "both axis and slice_dim are given"),
        ("axis: -3", 2, "axis -3 is out of range for a bottom with 2 axes. Use -2 to 1"),
        ("", 4, "4 tops cannot share the 6 of axis 1 equally. Give slice_point"),
        ("slice_point: 1", 3, "1 slice_points for 3 tops. Give 2, where each top but the first begins"),
        ("slice_point: 4 slice_point: 2", 3, "the slice points [4, 2] leave a top nothing of axis 1, which has 6"),
        ("slice_point: 0", 2, "the slice points [0] leave a top nothing"),
        ("slice_point: 6", 2, "the slice points [6] leave a top nothing of axis 1, which has 6. Let them rise, from 1"),
    ],
)
def test_what_is_refused(make_net, param, tops, what):
    with pytest.raises(LayerError) as error:
        cut(make_net, param, tops)
    assert what in str(error.value)
