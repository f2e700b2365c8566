from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

NET = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "w" type: "Parameter" top: "w" parameter_param { shape { dim: 2 dim: 3 } } MORE }
layer { name: "loss" type: "EuclideanLoss" bottom: "w" bottom: "x" top: "loss" }
"""


def test_it_begins_as_zeros_and_the_top_is_the_blob(make_net) -> None:
    net = make_net(NET.replace("MORE", ""))
    net.forward()
    assert net.params["w"][0].shape == net.blobs["w"].shape == (2, 3)
    assert not net.blobs["w"].data.any()
    net.params["w"][0].data[...] = 2
    net.forward()
    assert (net.blobs["w"].data == 2).all()


def test_a_filler_gives_its_first_values(make_net) -> None:
    net = make_net(NET.replace("MORE", "").replace("dim: 3 } }  }", "dim: 3 } filler { value: 3 } } }"))
    assert (net.params["w"][0].data == 3).all()


def test_gradients_of_several_passes_add_up(make_net) -> None:
    net = make_net(NET.replace("MORE", ""))
    for passes in (1, 2):
        net.forward(x=np.full((2, 3), -4))
        net.backward()
        np.testing.assert_array_equal(net.params["w"][0].diff, np.full((2, 3), 2 * passes))
    net.clear_param_diffs()
    net.forward()
    net.backward()
    np.testing.assert_array_equal(net.params["w"][0].diff, np.full((2, 3), 2))


def test_one_that_is_not_learned(make_net) -> None:
    net = make_net(NET.replace("MORE", "param { lr_mult: 0 }"))
    net.forward(x=np.ones((2, 3)))
    net.backward()
    assert not net.params["w"][0].diff.any()


def test_what_is_written_into_the_diff_of_the_top_is_the_blobs(make_net) -> None:
    net = make_net('layer { name: "w" type: "Parameter" top: "w" parameter_param { shape { dim: 2 } } }')
    net.forward()
    net.blobs["w"].diff[...] = [1, 2]
    net.backward()
    np.testing.assert_array_equal(net.params["w"][0].diff, [1, 2])


@pytest.mark.parametrize("mode", ["STRICT", "PERMISSIVE"])
@pytest.mark.parametrize("both", [True, False])
def test_two_layers_may_share_it(make_net, mode, both) -> None:
    named = f'param {{ name: "both" share_mode: {mode} }}'
    shape = "dim: 2 dim: 3" if mode == "STRICT" else "dim: 6"
    net = make_net(
        NET.replace("MORE", named)
        + f"""
        layer {{ name: "in2" type: "Input" top: "x2" input_param {{ shape {{ {shape} }} }} }}
        layer {{ name: "w2" type: "Parameter" top: "w2" parameter_param {{ shape {{ {shape} }} }} {named} }}
        layer {{ name: "loss2" type: "EuclideanLoss" bottom: "w2" bottom: "x2" top: "loss2"
                 propagate_down: {str(both).lower()} propagate_down: false }}"""
    )
    for passes in (1, 2):
        net.forward(x=np.full((2, 3), -4), x2=np.full(net.blobs["x2"].shape, 3))
        net.backward()
        second = 0 if not both else -1.5 if mode == "STRICT" else -0.5
        np.testing.assert_array_equal(net.params["w"][0].diff, np.full((2, 3), passes * (2 + second)))


def test_a_scalar(make_net) -> None:
    net = make_net('layer { name: "w" type: "Parameter" top: "w" loss_weight: 2 }')
    net.params["w"][0].data[...] = 5
    assert net.forward()["w"] == 5
    net.backward()
    assert net.params["w"][0].diff == 2


def test_a_negative_size(make_net) -> None:
    with pytest.raises(LayerError, match=r"the shape \[2, -1\] has a negative dimension"):
        make_net('layer { name: "w" type: "Parameter" top: "w" parameter_param { shape { dim: 2 dim: -1 } } }')
