from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite.errors import LayerError

from .gradient import Bottom, check, labels
from .gradient import make_net as make_layer_net


@settings(deadline=None, max_examples=20)
@given(batch=st.integers(1, 5), behind=st.lists(st.integers(1, 3), max_size=4).map(tuple), picked=st.integers(0, 7))
def test_any_shape(batch, behind, picked, engine) -> None:
    net = make_layer_net('type: "BatchReindex"', [Bottom((batch, *behind)), labels(batch, picked)], engine=engine)
    check(net)
    net.forward()
    expected = net.blobs["x0"].data[net.blobs["x1"].data.astype(int)]
    assert net.blobs["y0"].shape == (picked, *behind)
    np.testing.assert_array_equal(net.blobs["y0"].data, expected)


def reindex(make_net, x: str, index: str):
    return make_net(f"""force_backward: true
        layer {{ name: "in" type: "Input" top: "x" top: "i"
                 input_param {{ shape {{ {x} }} shape {{ {index} }} }} }}
        layer {{ name: "pick" type: "BatchReindex" bottom: "x" bottom: "i" top: "y" }}""")


@pytest.mark.parametrize("bad", [3, -0.5, -1, np.nan])
def test_an_index_out_of_range_names_the_sample(make_net, bad) -> None:
    net = reindex(make_net, "dim: 3 dim: 2", "dim: 4")
    net.blobs["i"].data[...] = [0, 2.9, bad, 1]
    with pytest.raises(LayerError) as error:
        net.forward()
    assert f'layer "pick" (BatchReindex): index {bad:g} of sample 2 is none of the 3 samples, 0 to 2' in str(
        error.value
    )


def test_no_samples_to_pick_from(make_net) -> None:
    net = reindex(make_net, "dim: 0 dim: 2", "dim: 1")
    with pytest.raises(LayerError, match="index 0 of sample 0 is none of the samples: there are none"):
        net.forward()


def test_gradients_of_one_sample_add_up(make_net) -> None:
    net = reindex(make_net, "dim: 3 dim: 2", "dim: 4")
    net.blobs["i"].data[...] = [2, 2, 0, 2]
    net.forward()
    net.blobs["y"].diff[...] = np.arange(8).reshape(4, 2)
    net.backward()
    np.testing.assert_array_equal(net.blobs["x"].diff, [[4, 5], [0, 0], [8, 11]])


@pytest.mark.parametrize(
    ("x", "index", "what"),
    [("dim: 3", "dim: 2 dim: 1", r"the indices have the shape \(2, 1\)"), ("", "dim: 2", "first bottom is a scalar")],
)
def test_what_is_refused(make_net, x, index, what) -> None:
    with pytest.raises(LayerError, match=what):
        reindex(make_net, x, index)
