from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite.errors import LayerError

from .gradient import check, labels
from .gradient import make_net as make_layer_net

PARAM = "embed_param { input_dim: 5 num_output: 2 }"


@settings(deadline=None, max_examples=20)
@given(
    shape=st.lists(st.integers(0, 3), max_size=4).map(tuple),
    input_dim=st.integers(1, 6),
    num_output=st.integers(1, 3),
    bias=st.booleans(),
)
def test_indices_of_any_shape(shape, input_dim, num_output, bias, engine) -> None:
    param = f"input_dim: {input_dim} num_output: {num_output} bias_term: {str(bias).lower()}"
    net = make_layer_net(f'type: "Embed" embed_param {{ {param} }}', [labels(input_dim, *shape)], engine=engine)
    check(net)
    net.forward()
    weight, *biases = [blob.data for blob in net.params["under_test"]]
    assert weight.shape == (input_dim, num_output)
    expected = weight[net.blobs["x0"].data.astype(int)] + (biases[0] if bias else 0)
    assert net.blobs["y0"].shape == (*shape, num_output)
    np.testing.assert_array_equal(net.blobs["y0"].data, expected)


def embed(make_net, shape: str = "dim: 2 dim: 3", param: str = PARAM):
    return make_net(f"""force_backward: true
        layer {{ name: "in" type: "Input" top: "i" input_param {{ shape {{ {shape} }} }} }}
        layer {{ name: "words" type: "Embed" bottom: "i" top: "y" {param} }}""")


def test_fillers(make_net) -> None:
    fillers = 'weight_filler { type: "constant" value: 3 } bias_filler { type: "constant" value: -1 }'
    net = embed(make_net, param=f"embed_param {{ input_dim: 5 num_output: 2 {fillers} }}")
    net.forward()
    np.testing.assert_array_equal(net.blobs["y"].data, np.full((2, 3, 2), 2))


def test_numbers_are_truncated(make_net) -> None:
    net = embed(make_net)
    net.params["words"][0].data[...] = np.arange(10).reshape(5, 2)
    net.forward(i=np.array([[0, 0.9, 4.5], [1, 2, 3]]))
    np.testing.assert_array_equal(net.blobs["y"].data[..., 0], [[0, 0, 8], [2, 4, 6]])


def test_gradients_of_several_passes_add_up(make_net) -> None:
    net = embed(make_net)
    for _ in range(2):
        net.forward(i=np.array([[0, 3, 3], [0, 3, 2]]))
        net.blobs["y"].diff[...] = 1
        net.backward()
    np.testing.assert_array_equal(net.params["words"][0].diff[:, 0], [4, 0, 2, 6, 0])
    np.testing.assert_array_equal(net.params["words"][1].diff, [12, 12])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (5, "index 5 of sample 1, position (2,), is none of the 5 rows of the weights, 0 to 4 (1 of 6 indices"),
        (-1, "index -1 of sample 1, position (2,), is none of the 5 rows"),
        (np.nan, "index nan of sample 1"),
        (2.0**70, "index 1.18059162e+21 of sample 1"),
    ],
)
def test_an_index_out_of_range_names_the_sample(make_net, bad, message) -> None:
    net = embed(make_net)
    with pytest.raises(LayerError) as error:
        net.forward(i=np.array([[0, 1, 2], [3, 4, bad]]))
    assert message in str(error.value)
    assert 'net.prototxt:3:9, layer "words" (Embed): ' in str(error.value)
    assert str(error.value).endswith("Indices count from 0: correct them, or raise input_dim.")


@pytest.mark.parametrize(
    ("param", "what"),
    [("input_dim: 5", "num_output is 0"), ("num_output: 2", "input_dim is 0")],
)
def test_sizes_must_be_given(make_net, param, what) -> None:
    with pytest.raises(LayerError, match=what):
        embed(make_net, param=f"embed_param {{ {param} }}")


def test_indices_get_no_gradient(make_net) -> None:
    net = make_net(f"""
        layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ dim: 2 }} }} }}
        layer {{ name: "scale" type: "Scale" bottom: "x" top: "i"
                 scale_param {{ axis: 0 num_axes: 0 filler {{ value: 1 }} }} }}
        layer {{ name: "words" type: "Embed" bottom: "i" top: "y" loss_weight: 1 {PARAM} }}""")
    net.forward()
    with pytest.raises(LayerError, match="a gradient is asked for indices, and there is none"):
        net.backward()
