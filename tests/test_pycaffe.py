"""The face of a Net that pycaffe's scripts know."""

import numpy as np
import pytest

from caffe_lite.errors import NetError
from caffe_lite.net import TEST, Net

NET = """
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
        inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "act" type: "ReLU" bottom: "fc" top: "fc" }
layer { name: "out" type: "InnerProduct" bottom: "fc" top: "out"
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } bias_term: false } }
"""


@pytest.fixture
def net(tmp_path):
    (tmp_path / "net.prototxt").write_text("force_backward: true" + NET)
    net = Net(str(tmp_path / "net.prototxt"), TEST, seed=1)
    net.blobs["data"].data[...] = np.arange(6).reshape(2, 3)
    return net


def test_names(net):
    assert (net.inputs, net.outputs) == (["data"], ["out"])
    assert list(net.blobs) == ["data", "fc", "out"]
    assert list(net.params) == ["fc", "out"]
    assert list(net._layer_names) == ["in", "fc", "act", "out"]
    assert net.bottom_names["act"] == net.top_names["act"] == ["fc"]
    assert [layer.type for layer in net.layers] == ["Input", "InnerProduct", "ReLU", "InnerProduct"]
    assert net.layer_dict["fc"].blobs[0].data is net.params["fc"][0].data
    assert len(net.params["fc"]) == 2 and len(net.params["out"]) == 1
    assert net.blob_loss_weights["out"] == 0


def test_the_shapes_of_a_blob(net):
    blob = net.blobs["data"]
    assert (blob.shape, blob.count, blob.num, blob.channels, blob.height, blob.width) == ((2, 3), 6, 2, 3, 1, 1)
    assert repr(blob) == "<Blob 2 x 3>"


def test_forward_gives_the_outputs_and_what_is_asked_for(net):
    out = net.forward(blobs=["fc"])
    assert sorted(out) == ["fc", "out"]
    np.testing.assert_allclose(out["out"], out["fc"] @ net.params["out"][0].data.T, rtol=1e-6)


def test_forward_fills_inputs_from_keywords(net):
    ones = net.forward(data=np.ones((2, 3)))["out"]
    np.testing.assert_array_equal(net.blobs["data"].data, 1)
    assert ones.shape == (2, 2)
    with pytest.raises(NetError, match=r"input arguments \['dada'\] do not match the net's inputs \['data'\]"):
        net.forward(dada=np.ones((2, 3)))
    with pytest.raises(NetError, match=r"input 'data' is of shape \(5, 3\), the blob of \(2, 3\)"):
        net.forward(data=np.ones((5, 3)))


def test_forward_in_parts_equals_forward(net):
    whole = net.forward()["out"].copy()
    part = net.forward(end="act")
    assert list(part) == ["fc"]
    np.testing.assert_array_equal(net.forward(start="out")["out"], whole)
    net.blobs["fc"].data[...] = 0
    np.testing.assert_array_equal(net.forward(start="out")["out"], 0)


def test_backward_in_parts_equals_backward(net):
    net.forward()
    whole = net.backward(out=np.ones((2, 2)))["data"].copy()
    assert list(net.backward(end="act")) == ["fc"]
    np.testing.assert_array_equal(net.backward(start="act", diffs=["fc"])["data"].shape, whole.shape)
    net.forward()
    net.backward(end="out", out=np.ones((2, 2)))
    np.testing.assert_array_equal(net.backward(start="act")["data"], whole)


def test_unknown_names_are_refused_with_the_known_ones(net):
    with pytest.raises(NetError, match=r"the net has no layer 'conv9'. Its layers: in, fc, act, out"):
        net.forward(start="conv9")
    with pytest.raises(NetError, match=r"the net has no blob 'prob'. Its blobs: data, fc, out"):
        net.forward(blobs=["prob"])


def test_forward_all_takes_any_number_of_items(net):
    items = np.random.default_rng(0).normal(size=(5, 3)).astype("f")
    out = net.forward_all(blobs=["fc"], data=items)
    assert out["out"].shape == (5, 2) and out["fc"].shape == (5, 4)
    single = [net.forward(data=items[i : i + 2])["out"].copy() for i in range(0, 4, 2)]
    np.testing.assert_allclose(out["out"][:4], np.concatenate(single), rtol=1e-5)


def test_forward_backward_all_pairs_outputs_and_gradients(net):
    items = np.random.default_rng(0).normal(size=(3, 3)).astype("f")
    outs, diffs = net.forward_backward_all(data=items, out=np.ones((3, 2), "f"))
    assert outs["out"].shape == (3, 2) and diffs["data"].shape == (3, 3)


def test_data_can_be_assigned_and_written_into(net):
    net.blobs["data"].data = 3
    assert (net.blobs["data"].data == 3).all()
    held = net.params["fc"][0].data
    held[...] = 0
    assert (net.forward()["out"] == 0).all()
    net.params["fc"][1].data[:2] = 1
    assert (net.forward(blobs=["fc"])["fc"] == [1, 1, 0, 0]).all()


def test_a_slice_of_the_parameters(net):
    assert [blob.shape for blob in net.params["fc"]] == [(4, 3), (4,)]
    assert [blob.shape for blob in net.params["fc"][:1]] == [(4, 3)]
