"""The interface of a Net that pycaffe's scripts use."""

import subprocess
import sys

import numpy as np
import pytest

import caffe_lite as caffe
from caffe_lite import TEST, TRAIN, Net
from caffe_lite.errors import NetError

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


def test_the_arguments_are_the_originals(tmp_path, net):
    file = str(tmp_path / "net.prototxt")
    saved = str(tmp_path / "net.caffemodel")
    net.save(saved)
    for given in (
        Net(file, TRAIN, 0, None, saved),
        Net(network_file=file, phase=TRAIN, level=0, stages=None, weights=saved),
        Net(file, saved, TRAIN),
    ):
        assert given.phase == TRAIN
        np.testing.assert_array_equal(given.params["fc"][0].data, net.params["fc"][0].data)
    assert [Net(file, saved).phase, Net(file).phase, Net(file, TRAIN, 1).phase] == [TEST, TEST, TRAIN]
    for args, named, what in (
        ((TEST, saved), {}, "not a number. Give weights by name: weights=file"),
        ((2,), {}, "phase 2 is neither"),
        ((TEST, 0, "deploy"), {}, "It is a list of names"),
        ((saved, TEST), {"weights": saved}, "it is caffe.TRAIN or caffe.TEST"),
    ):
        for wanted in (NetError, TypeError, RuntimeError):
            with pytest.raises(wanted, match=f"(?i){what}"):
                Net(file, *args, **named)


def test_the_third_argument_is_a_level(tmp_path):
    (tmp_path / "net.prototxt").write_text(RULES)
    assert Net(str(tmp_path / "net.prototxt"), TEST, 1).outputs == list("abf")
    assert Net(str(tmp_path / "net.prototxt"), TEST, 2, ["A", "B"]).outputs == list("abde")


def test_a_comma_in_the_path_of_weights(tmp_path, net):
    whole, part, other = (str(tmp_path / name) for name in ("weights, end-to-end.caffemodel", "weights", "other"))
    net.save(whole)
    fc = net.params["fc"][0].data.copy()
    net.params["fc"][0].data[...] = 7
    net.save(part)
    file = str(tmp_path / "net.prototxt")
    np.testing.assert_array_equal(Net(file, TEST, weights=whole).params["fc"][0].data, fc)
    net.copy_from(whole)
    np.testing.assert_array_equal(net.params["fc"][0].data, fc)
    net.params["fc"][0].data[...] = 8
    net.save(other)
    net.copy_from(f"{other}, {part}")
    assert (net.params["fc"][0].data == 7).all()
    with pytest.raises(RuntimeError, match="there is no such file"):
        net.copy_from(f"{part},{tmp_path / 'missing'}")


def test_phases_of_2014(tmp_path, net):
    file = str(tmp_path / "net.prototxt")
    net.set_phase_test()
    net.set_mode_cpu()
    with pytest.raises(NetError, match=r"the net is made for TEST. Make it for TRAIN: caffe.Net\(file, caffe.TRAIN\)"):
        net.set_phase_train()
    try:
        caffe.set_phase_train()
        assert Net(file).phase == TRAIN and Net(file, TEST).phase == TEST
    finally:
        caffe.set_phase_test()
    assert Net(file).phase == TEST


def test_attributes_of_a_subclass_never_meet_ours(net, tmp_path, engine):
    class Mine(Net):
        close = state = compile = "mine"

        def node(self):
            raise AssertionError

        run_forward = run_backward = forward_pass = backward_pass = recompute = share = node

    file = str(tmp_path / "net.prototxt")
    plain = Net(file, TEST, seed=1, engine=engine)
    names = {*vars(plain._caffe_graph), *(name for name in dir(plain._caffe_graph) if not name.startswith("__"))}
    assert {"nodes", "ops", "rng", "fusion", "phase", "name", "callbacks", "learnable_params"} <= names
    mine = Mine(file, TEST, seed=1, engine=engine)
    faces = {name for name in names if hasattr(Net, name)}
    for name in names - faces:
        setattr(mine, name, f"my {name}")
    assert (mine.name, mine.ops, mine.close) == ("my name", "my ops", "mine")
    data, top = np.arange(6).reshape(2, 3), np.ones((2, 2))
    for net in (plain, mine):
        net.before_forward(lambda index: None)
        net.share_with(plain)
        net.reshape()
        net.copy_from(_saved(net, tmp_path))
    np.testing.assert_array_equal(mine.forward(data=data)["out"], plain.forward(data=data)["out"])
    np.testing.assert_array_equal(mine.backward(out=top)["data"], plain.backward(out=top)["data"])
    np.testing.assert_array_equal(mine.forward_all(data=data)["out"], plain.forward_all(data=data)["out"])
    assert mine.inputs == ["data"] and mine.outputs == ["out"] and list(mine.params) == ["fc", "out"]
    assert [layer.type for layer in mine.layers] == [layer.type for layer in plain.layers]
    mine.clear_param_diffs()
    assert not mine.params["fc"][0].diff.any() and plain.params["fc"][0] is mine.params["fc"][0]


def _saved(net, folder):
    net.save(folder / "saved.caffemodel")
    return folder / "saved.caffemodel"


def test_an_attribute_that_is_not_there(net):
    with pytest.raises(AttributeError, match="'Net' object has no attribute 'nose'"):
        net.nose  # noqa: B018

    class Early(Net):
        def __init__(self):
            self.nodes  # noqa: B018 - before the net is made

    with pytest.raises(AttributeError, match="'Early' object has no attribute 'nodes'"):
        Early()


def test_one_object_per_blob(net):
    assert net.blobs["fc"] is net.blobs["fc"] and net._blobs[1] is net.blobs["fc"]
    weight, bias = net.params["fc"]
    assert net.params["fc"][0] is weight and net.layer_dict["fc"].blobs[1] is bias
    assert bias in net.params["fc"] and net.params["fc"].index(bias) == 1 and net.blobs["fc"] not in net.params["fc"]
    assert type(net.params["fc"]) is caffe._caffe.BlobVec and type(weight) is caffe._caffe.Blob
    assert isinstance(net, caffe._caffe.Net) and isinstance(net.layers[1], caffe._caffe.Layer)


def test_a_blob_in_the_place_of_another_shares_its_storage(net, tmp_path, engine):
    file = str(tmp_path / "net.prototxt")
    net, other = (Net(file, TEST, seed=seed, engine=engine) for seed in (1, 2))
    data = np.arange(6).reshape(2, 3)
    before = net.forward(data=data)["out"].copy()
    net.params["fc"][0] = other.params["fc"][0]
    net.params["fc"][1:] = other.params["fc"][1:]
    net.params["out"][0] = other.params["out"][0]
    after = net.forward(data=data)["out"]
    assert abs(after - before).max() > 1e-3
    np.testing.assert_array_equal(after, other.forward(data=data)["out"])
    other.params["out"][0].data[...] = 0
    assert not net.forward(data=data)["out"].any()
    net.backward(out=np.ones((2, 2)))
    assert other.params["out"][0].diff.any()
    for value, what in (
        (net.params["fc"][1], r"a blob of shape \(4,\) cannot take the place of one of \(4, 3\)"),
        (np.zeros((4, 3)), "a ndarray is no blob"),
        (Net(file, TEST, engine=engine, dtype="float64").params["fc"][0], "float64 cpu is none of"),
    ):
        for wanted in (NetError, TypeError):
            with pytest.raises(wanted, match=what):
                net.params["fc"][0] = value
    with pytest.raises(IndexError):
        net.params["fc"][2] = net.params["fc"][0]


def test_blobs_are_appended_and_taken_out(net, tmp_path):
    blobs = net.layer_dict["act"].blobs
    assert not blobs and "act" not in net.params
    blobs.append(net.params["fc"][1])
    blobs.extend(net.params["out"])
    assert [blob.shape for blob in net.params["act"]] == [(4,), (2, 4)] and blobs[1] is net.params["out"][0]
    net.save(tmp_path / "net.caffemodel")
    message = caffe.proto.caffe_pb2.NetParameter.FromString((tmp_path / "net.caffemodel").read_bytes())
    assert [len(layer.blobs) for layer in message.layer] == [0, 2, 2, 1]
    del blobs[0]
    assert blobs.pop().shape == (2, 4) and not blobs
    own = caffe._caffe.BlobVec()
    own.add_blob(2, 2)
    own.append(net.blobs["fc"])
    assert [blob.shape for blob in own] == [(2, 2), (2, 4)]


def test_names(net):
    assert (net.inputs, net.outputs) == (["data"], ["out"])
    assert list(net.blobs) == ["data", "fc", "out"]
    assert list(net.params) == ["fc", "out"]
    assert list(net._layer_names) == ["in", "fc", "act", "out"]
    assert net.bottom_names["act"] == net.top_names["act"] == ["fc"]
    assert [layer.type for layer in net.layers] == ["Input", "InnerProduct", "ReLU", "InnerProduct"]
    assert np.shares_memory(net.layer_dict["fc"].blobs[0].data, net.params["fc"][0].data)
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
    for wanted in (NetError, KeyError, ValueError):
        with pytest.raises(wanted, match=r"the net has no layer 'conv9'. Its layers: in, fc, act, out"):
            net.forward(start="conv9")
        with pytest.raises(wanted, match=r"the net has no blob 'prob'. Its blobs: data, fc, out"):
            net.forward(blobs=["prob"])
    with pytest.raises(KeyError):
        net.blobs["prob"]
    with pytest.raises(ValueError, match="is of shape"):
        net.forward(data=np.ones((2, 4)))
    with pytest.raises(RuntimeError, match="there is no such file"):
        Net("nothing.prototxt", TEST)
    with pytest.raises(RuntimeError, match="there is no such file"):
        net.copy_from("nothing.caffemodel")
    with pytest.raises(RuntimeError, match="no MemoryData layer"):
        net.set_input_arrays(np.ones((1, 1, 1, 1)), np.ones(1))


def test_forward_all_takes_any_number_of_items(net):
    items = np.random.default_rng(0).normal(size=(5, 3)).astype("f")
    out = net.forward_all(blobs=["fc"], data=items)
    assert out["out"].shape == (5, 2) and out["fc"].shape == (5, 4)
    single = [net.forward(data=items[i : i + 2])["out"].copy() for i in range(0, 4, 2)]
    np.testing.assert_allclose(out["out"][:4], np.concatenate(single), rtol=1e-5)


def test_no_items_at_all(net):
    outs, diffs = net.forward_backward_all(data=np.zeros((0, 3)), out=np.zeros((0, 2)))
    assert outs["out"].shape == (0, 2) and diffs["data"].shape == (0, 3)
    assert net.forward_all(blobs=["fc"], data=[])["fc"].shape == (0, 4)
    assert net.forward_all(data=[])["out"].dtype == np.float32


def test_a_batch_of_nothing(net):
    net.blobs["data"].reshape(0, 3)
    assert net.forward(data=np.zeros((0, 3)))["out"].shape == (0, 2)
    assert net.backward(out=np.zeros((0, 2)))["data"].shape == (0, 3)
    assert not any(blob.diff.any() for blobs in net.params.values() for blob in blobs)
    assert net.forward_all(data=[])["out"].shape == (0, 2)
    with pytest.raises(NetError, match=r"the batch of 'data' holds nothing: its shape is \(0, 3\)"):
        net.forward_all(data=np.zeros((2, 3)))


def test_batches_fill_the_net(net):
    batches = list(net._batch({"data": np.arange(9).reshape(3, 3)}))
    assert [batch["data"].tolist() for batch in batches] == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [0, 0, 0]]]


def test_forward_backward_all_runs_on_what_the_blobs_hold(net):
    ones = np.ones((2, 2), "f")
    net.blobs["data"].data[...] = 1
    outs, diffs = net.forward_backward_all(out=ones)
    np.testing.assert_array_equal(outs["out"], net.forward()["out"])
    np.testing.assert_array_equal(diffs["data"], net.backward(out=ones)["data"])
    with pytest.raises(TypeError, match="no arrays are given"):
        net.forward_backward_all()


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


def test_layers_are_shaped_and_set_up_by_hand(net):
    layer = net.layers[1]
    weights = layer.blobs[0].data.copy()
    net.blobs["data"].reshape(5, 3)
    layer.reshape([net.blobs["data"]], [net.blobs["fc"]])
    assert net.blobs["fc"].shape == (5, 4)
    layer.setup([net.blobs["data"]], [net.blobs["fc"]])
    assert len(layer.blobs) == 2 and net.forward()["out"].shape == (5, 2)
    np.testing.assert_array_equal(layer.blobs[0].data, weights)
    assert (str(layer.phase), layer.phase) == ("TEST", TEST)


PATHS = """
force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 4 } } }
layer { name: "scale" type: "Power" bottom: "data" top: "scale" power_param { scale: 2 } }
layer { name: "relu" type: "ReLU" bottom: "scale" top: "relu" }
layer { name: "again" type: "Power" bottom: "relu" top: "again" power_param { scale: 3 } }
"""


@pytest.mark.parametrize("in_place", [False, True])
def test_backward_and_deconvolution_from_a_layer(tmp_path, engine, in_place):
    text = PATHS.replace('top: "relu"', 'top: "scale"').replace('bottom: "relu"', 'bottom: "scale"')
    (tmp_path / "net.prototxt").write_text(text if in_place else PATHS)
    net = Net(tmp_path / "net.prototxt", TEST, engine=engine)
    net.forward_simple(data=np.array([[1, 1, -1, -1]]))
    diff = np.array([[1, -1, 1, -1]])
    wanted = {"gradient": [6, -6, 0, 0], "Zeiler & Fergus": [6, 0, 6, 0], "Guided Backprop": [6, 0, 0, 0]}
    assert net.backward_from_layer("again", diff)["data"].tolist() == [wanted["gradient"]]
    assert net.deconv_from_layer("again", diff)["data"].tolist() == [wanted["Zeiler & Fergus"]]
    found = net.deconv_from_layer("again", diff, ["scale"], deconv_type="Guided Backprop")
    assert found["data"].tolist() == [wanted["Guided Backprop"]] and list(found) == ["data", "scale"]
    assert net.blobs["again"].diff.any()
    net.backward_from_layer("scale", diff, zero_higher=True)
    assert not net.blobs["again"].diff.any() and net.blobs["data"].diff.tolist() == [[2, -2, 2, -2]]
    assert net.backward_simple(again=diff)["data"].tolist() == [wanted["gradient"]]
    for call, what in (
        (lambda: net.backward_from_layer("again", diff[:, :2]), "start 'again' is of shape"),
        (lambda: net.backward_from_layer("nope", diff), "no layer 'nope'"),
        (lambda: net.deconv_from_layer("again", diff, deconv_type="other"), "Give one of 'Zeiler & Fergus'"),
    ):
        with pytest.raises(NetError, match=what):
            call()
    assert "deconv_from_layer" in dir(caffe.classifier.Classifier)


def test_the_names_of_the_original_with_an_underscore(net):
    assert [blob.shape for blob in net._blobs] == [blob.shape for blob in net.blobs.values()]
    assert (net._inputs, net._outputs, net._blob_loss_weights) == ([0], [2], [0, 0, 0])
    assert (net._bottom_ids(2), net._top_ids(3)) == ([1], [2])
    whole = net.forward()["out"].copy()
    net.blobs["out"].data[...] = 0
    assert net._forward(0, 3) == 0
    np.testing.assert_array_equal(net.blobs["out"].data, whole)
    net.blobs["out"].diff[...] = 1
    net._backward(3, 0)
    assert net.blobs["data"].diff.any()


@pytest.mark.parametrize("compile", [False, True])
def test_callbacks_see_every_layer(tmp_path, engine, compile):
    if compile and engine != "torch":
        pytest.skip("only torch compiles")
    (tmp_path / "net.prototxt").write_text("force_backward: true" + NET)
    net = Net(tmp_path / "net.prototxt", TEST, engine=engine, compile=compile)
    seen = []
    net.before_forward(lambda i: seen.append(("<f", i)))
    net.after_forward(lambda i: seen.append(("f>", i)))
    net.before_backward(lambda i: seen.append(("<b", i)))
    net.after_backward(lambda i: seen.append(("b>", i)))
    net.forward()
    assert seen == [(moment, i) for i in range(4) for moment in ("<f", "f>")]
    seen.clear()
    net.forward(start="act", end="out")
    assert [i for _, i in seen] == [2, 2, 3, 3]
    seen.clear()
    net.backward()
    assert seen == [(moment, i) for i in (3, 2, 1, 0) for moment in ("<b", "b>")]


LOSS = """
layer { name: "data" type: "DummyData" top: "data" top: "label"
        dummy_data_param { shape { dim: 5 dim: 3 } shape { dim: 5 dim: 1 }
                           data_filler { type: "gaussian" std: 1 } data_filler { type: "constant" } } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
        inner_product_param { num_output: 4 weight_filler { type: "gaussian" std: 0.1 } bias_filler { value: -3 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""


@pytest.fixture
def loss_file(tmp_path):
    (tmp_path / "loss.prototxt").write_text(LOSS)
    return str(tmp_path / "loss.prototxt")


def test_arrays_outlive_their_net(loss_file, engine):
    net = Net(loss_file, TRAIN, engine=engine)
    net.forward()
    net.backward()
    params = [param for blobs in net.params.values() for param in blobs]
    blobs = list(net.blobs.values())
    arrays = [array for blob in (*params, *blobs) for array in (blob.data, blob.diff)]
    before = [array.copy() for array in arrays]
    del net
    for array, value in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, value)
    assert all(np.isfinite(blob.data).all() and np.isfinite(blob.diff).all() for blob in (*params, *blobs))


def test_a_net_with_data_has_no_inputs_and_a_loss(loss_file):
    net = Net(loss_file, TRAIN)
    assert (net.inputs, net.outputs) == ([], ["loss"])
    assert net.blob_loss_weights["loss"] == 1
    assert net.forward()["loss"].shape == ()
    assert list(net.layer_dict) == list(net._layer_names) == list(net.top_names)
    assert [layer.type for layer in net.layer_dict.values()] == [layer.type for layer in net.layers]


def test_param_diffs_add_up_until_they_are_cleared(loss_file):
    net = Net(loss_file, TRAIN)
    net.forward()
    net.backward()
    once = net.params["fc"][0].diff.copy()
    net.backward()
    np.testing.assert_allclose(net.params["fc"][0].diff, 2 * once, rtol=1e-5)
    net.clear_param_diffs()
    assert not any(param.diff.any() for param in net.params["fc"]) and once.any()


@pytest.mark.parametrize("hdf5", [False, True])
def test_what_is_saved_is_read_again(loss_file, tmp_path, hdf5):
    if hdf5:
        pytest.importorskip("h5py")
    net = Net(loss_file, TRAIN)
    path = str(tmp_path / ("net.caffemodel.h5" if hdf5 else "net.caffemodel"))
    (net.save_hdf5 if hdf5 else net.save)(path)
    others = [Net(loss_file, TRAIN, weights=path), Net(loss_file, path, TRAIN), Net(loss_file, TRAIN)]
    (others[2].load_hdf5 if hdf5 else others[2].copy_from)(path)
    for other in others:
        for name, params in net.params.items():
            for mine, theirs in zip(params, other.params[name], strict=True):
                np.testing.assert_array_equal(mine.data, theirs.data)


def test_a_net_from_a_message(loss_file):
    message = caffe.proto.caffe_pb2.NetParameter()
    from google.protobuf import text_format

    text_format.Parse(LOSS, message)
    before = message.SerializeToString()
    assert list(Net(message, TRAIN).blobs) == list(Net(loss_file, TRAIN).blobs)
    assert message.SerializeToString() == before


RULES = """
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 } } }
layer { name: "always" type: "ReLU" bottom: "data" top: "a" }
layer { name: "from1" type: "ReLU" bottom: "data" top: "b" include { min_level: 1 } }
layer { name: "to0" type: "ReLU" bottom: "data" top: "c" include { max_level: 0 } }
layer { name: "both" type: "ReLU" bottom: "data" top: "d" include { stage: "A" stage: "B" } }
layer { name: "either" type: "ReLU" bottom: "data" top: "e" include { stage: "A" } include { stage: "B" } }
layer { name: "without" type: "ReLU" bottom: "data" top: "f" include { not_stage: "A" phase: TEST } }
"""


@pytest.mark.parametrize(
    ("options", "outputs"),
    [
        ({}, "acf"),
        ({"level": 0}, "acf"),
        ({"level": 1}, "abf"),
        ({"stages": ["A"]}, "ace"),
        ({"stages": ["B"]}, "acef"),
        ({"stages": ["A", "B"], "level": 2}, "abde"),
        ({"phase": TRAIN}, "ac"),
    ],
)
def test_levels_and_stages(tmp_path, options, outputs):
    (tmp_path / "net.prototxt").write_text(RULES)
    assert Net(tmp_path / "net.prototxt", **options).outputs == list(outputs)


def test_a_python_layer_of_a_script(tmp_path, monkeypatch):
    """A user's layer as in scripts: derived from caffe.Layer, in a module on the path."""
    (tmp_path / "layer_of_a_script.py").write_text(
        "import caffe_lite as caffe\n"
        "class Counting(caffe.Layer):\n"
        "    def setup(self, bottom, top):\n"
        "        self.blobs.add_blob(1)\n"
        "        self.blobs[0].data[0] = 0\n"
        "    def reshape(self, bottom, top):\n"
        "        top[0].reshape(10)\n"
        "    def forward(self, bottom, top):\n"
        "        top[0].data[...] = float(self.param_str) + self.phase\n"
        "    def backward(self, top, propagate_down, bottom):\n"
        "        self.blobs[0].diff[0] = 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    net_file = tmp_path / "net.prototxt"
    net_file.write_text(
        'force_backward: true layer { name: "one" type: "Python" top: "top" python_param '
        '{ module: "layer_of_a_script" layer: "Counting" param_str: "4.5" share_in_parallel: true } }'
    )
    for phase in (TRAIN, TEST):
        net = Net(net_file, phase)
        assert net.forward()["top"].tolist() == [4.5 + phase] * 10
        blob = net.params["one"][0]
        assert blob.data.tolist() == [0]
        net.backward()
        assert blob.diff.tolist() == [1]
        net.save(tmp_path / "net.caffemodel")
        blob.data[0] = 3
        Net(net_file, phase).share_with(net)
        net.copy_from(tmp_path / "net.caffemodel")
        assert blob.data.tolist() == [0] and type(net.layer_dict["one"]).__name__ == "Counting"


SOLVER = """
train_net: "loss.prototxt" test_net: "loss.prototxt" test_iter: 2 test_interval: 10 base_lr: 0.1 momentum: 0.9
random_seed: 1 lr_policy: "inv" gamma: 0.0001 power: 0.75 max_iter: 30 snapshot_prefix: "model"
"""


@pytest.fixture
def solver(loss_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    solver = caffe.SGDSolver("solver.prototxt")
    yield solver
    solver.close()


def test_a_solver_trains_what_the_layer_has(solver):
    """A blob that a script has assigned is trained; one that two layers share is updated once."""
    other = Net("loss.prototxt", TRAIN, seed=5)
    blobs, mine = solver.net.params["fc"], other.params["fc"][0]
    old = blobs[0]
    blobs[0] = mine
    before, kept = mine.data.copy(), old.data.copy()
    solver.step(1)
    assert abs(mine.data - before).max() > 0
    np.testing.assert_array_equal(old.data, kept)
    np.testing.assert_array_equal(solver.net.params["fc"][0].data, other.params["fc"][0].data)


TWO = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 } } }
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a"
        inner_product_param { num_output: 2 bias_term: false weight_filler { type: "constant" value: 1 } } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b"
        inner_product_param { num_output: 2 bias_term: false weight_filler { type: "constant" value: 1 } } }
layer { name: "loss" type: "Reduction" bottom: "b" top: "loss" loss_weight: 1 }
"""


def test_weights_tied_by_hand(tmp_path, engine):
    (tmp_path / "net.prototxt").write_text(TWO)
    (tmp_path / "solver.prototxt").write_text(
        f'net: "{(tmp_path / "net.prototxt").as_posix()}" base_lr: 0.5 lr_policy: "fixed"'
    )
    solver = caffe.SGDSolver(str(tmp_path / "solver.prototxt"), engine=engine)
    params = solver.net.params
    params["b"][0] = params["a"][0]
    solver.net.blobs["data"].data[...] = [[1, 2]]
    solver.step(1)
    # loss = 1 W W x with W of ones: the gradients are (W 1) x^T = 2 x^T in each row, and 1 (W x)^T = (3, 3).
    expected = np.ones((2, 2)) - 0.5 * (np.array([[2, 4], [2, 4]]) + 3)
    np.testing.assert_allclose(params["a"][0].data, expected)
    assert params["b"][0] is params["a"][0]
    solver.close()


@pytest.mark.slow
@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_a_compiled_net_sees_another_blob(tmp_path, phase):
    pytest.importorskip("torch")
    (tmp_path / "net.prototxt").write_text(TWO)
    net, other = (Net(tmp_path / "net.prototxt", phase, engine="torch", compile=compile) for compile in (True, False))
    data = np.array([[1, 2]])
    for given in (net, other):
        given.blobs["data"].data[...] = data
    run = (lambda net: net.forward_backward_pass()) if phase == TRAIN else (lambda net: net.forward_pass())
    assert [float(run(net)) for _ in range(3)] == [12, 12, 12]
    other.params["a"][0].data[...] = 2
    net.params["a"][0] = other.params["a"][0]
    assert float(run(net)) == 24
    if phase == TRAIN:
        np.testing.assert_allclose(other.params["a"][0].diff, [[2, 4], [2, 4]])


def test_iterations_can_be_counted_anew(solver):
    solver.step(1)
    solver.set_iter(100)
    assert solver.iter == 100 and solver.lr == pytest.approx(0.1 * (1 + 0.0001 * 100) ** -0.75)


def test_solving(solver):
    assert solver.iter == 0
    solver.solve()
    assert solver.iter == 30
    assert solver.net.forward()["loss"] < np.log(4)
    assert caffe.get_solver("solver.prototxt").type == "SGD"


def test_an_update_by_hand(solver):
    solver.net.forward()
    before = solver.net.params["fc"][0].data.copy()
    solver.net.params["fc"][0].diff[...] = 1
    solver.apply_update()
    np.testing.assert_allclose(solver.net.params["fc"][0].data, before - 0.1, rtol=1e-5, atol=1e-6)


def test_the_nets_outlive_their_solver(solver, monkeypatch):
    nets = [solver.net, *solver.test_nets]
    del solver
    for net in nets:
        assert all(np.isfinite(param.data).all() for params in net.params.values() for param in params)
        net.forward()


def test_snapshots_and_callbacks_of_a_solver(solver, tmp_path):
    calls = []
    solver.add_callback(lambda: calls.append("start"), lambda: calls.append("gradient"))
    solver.step(2)
    assert calls == ["start", "gradient"] * 2
    solver.snapshot()
    for kind in ("caffemodel", "solverstate"):
        assert (tmp_path / f"model_iter_2.{kind}").stat().st_size
    again = caffe.SGDSolver("solver.prototxt")
    again.restore("model_iter_2.solverstate")
    assert again.iter == 2
    np.testing.assert_array_equal(again.net.params["fc"][0].data, solver.net.params["fc"][0].data)
    again.close()


def test_every_name_is_there():
    for name in caffe.__all__:
        assert getattr(caffe, name) is not None
    assert (
        set(caffe.__all__) <= set(dir(caffe))
        and caffe.coord_map.crop
        and caffe.classifier
        and caffe.detector
        and caffe.draw
    )
    assert {"Convolution", "Python"} <= set(caffe.layer_type_list())
    with pytest.raises(AttributeError, match="has no attribute 'nets'"):
        caffe.nets  # noqa: B018


def test_nets_and_solvers_are_in_its_module_too():
    from caffe_lite.pycaffe import NCCL, AdamSolver, Net, SGDSolver, Timer

    assert (Net, SGDSolver, AdamSolver) == (caffe.Net, caffe.SGDSolver, caffe.AdamSolver)
    assert (NCCL, Timer) == (caffe.NCCL, caffe.Timer)
    for name in caffe._caffe.__all__:
        assert getattr(caffe._caffe, name) is not None
    assert caffe._caffe.Layer is caffe.Layer and issubclass(caffe.SGDSolver, caffe._caffe.Solver)
    with pytest.raises(ImportError, match="cannot import name 'Nets'"):
        from caffe_lite.pycaffe import Nets  # noqa: F401


def test_the_start_imports_nothing_heavy():
    heavy = (
        "torch",
        "h5py",
        "lmdb",
        "plyvel",
        "cv2",
        "scipy",
        "skimage",
        "matplotlib",
        "tqdm",
        "subprocess",
        "caffe_lite.layers",
    )
    code = (
        "import sys, numpy; before = set(sys.modules); import caffe_lite; "
        f"print([name for name in {heavy} if name in sys.modules and name not in before])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
