import numpy as np
import pytest

from caffe_lite.errors import LayerError


def concat(make_net, param, *shapes):
    text = "force_backward: true\n"
    for i, shape in enumerate(shapes):
        dims = " ".join(f"dim: {n}" for n in shape)
        text += f'layer {{ name: "x{i}" type: "Input" top: "x{i}" input_param {{ shape {{ {dims} }} }} }}\n'
    bottoms = " ".join(f'bottom: "x{i}"' for i in range(len(shapes)))
    return make_net(text + f'layer {{ name: "concat" type: "Concat" {bottoms} top: "y" concat_param {{ {param} }} }}')


def test_concat_dim_is_the_former_name_of_axis(make_net):
    net = concat(make_net, "concat_dim: 0", (2, 3), (1, 3))
    net.blobs["x0"].data[...], net.blobs["x1"].data[...] = 1, 2
    net.forward()
    np.testing.assert_array_equal(net.blobs["y"].data[:, 0], [1, 1, 2])


def test_one_bottom_is_passed_on(make_net):
    net = concat(make_net, "", (2, 3))
    net.forward()
    assert np.shares_memory(net.blobs["y"].data, net.blobs["x0"].data)


@pytest.mark.parametrize(
    ("param", "shapes", "what"),
    [
        ("axis: 1 concat_dim: 1", [(2, 3), (2, 3)], "both axis and concat_dim are given"),
        ("axis: 2", [(2, 3), (2, 3)], "axis 2 is out of range for a bottom with 2 axes"),
        ("concat_dim: 4", [(2, 3), (2, 3)], "concat_dim 4 is out of range"),
        ("", [(2, 3), (3, 3)], "the bottoms (2, 3), (3, 3) differ elsewhere than along axis 1"),
        ("", [(2, 3), (2, 3, 1)], "the bottoms (2, 3), (2, 3, 1) differ elsewhere than along axis 1"),
    ],
)
def test_what_is_refused(make_net, param, shapes, what):
    with pytest.raises(LayerError) as error:
        concat(make_net, param, *shapes)
    assert what in str(error.value)
