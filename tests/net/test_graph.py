"""Net: building, running, sharing, loading."""

import json

import numpy as np
import pytest

from caffe_lite import TEST, TRAIN, Net
from caffe_lite.errors import CaffeError, NetError, WeightsError
from caffe_lite.net.loading import load
from caffe_lite.net.random import set_random_seed
from caffe_lite.proto.caffe_pb2 import NetParameter
from caffe_lite.proto.parser import parse_text


def net_of(text, phase=TRAIN, **options):
    options.setdefault("seed", 1)
    return Net(parse_text(text, NetParameter, "net.prototxt"), phase, **options)


INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }\n'
GAUSSIAN = 'weight_filler { type: "gaussian" std: 1 } bias_filler { type: "gaussian" std: 1 }'
IP = f"inner_product_param {{ num_output: 3 {GAUSSIAN} }}"


def ip(name, bottom, extra="", top=None):
    return f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{top or name}" {IP} {extra} }}\n'


def euclidean(a, b, extra="", name="loss"):
    return f'layer {{ name: "{name}" type: "EuclideanLoss" bottom: "{a}" bottom: "{b}" top: "{name}" {extra} }}\n'


def relu(name, bottom, top):
    return f'layer {{ name: "{name}" type: "ReLU" bottom: "{bottom}" top: "{top}" }}\n'


def filled(net, **arrays):
    rng = np.random.default_rng(0)
    for name in net.inputs:
        net.blobs[name].data[...] = arrays.get(name, rng.normal(size=net.blobs[name].shape))
    return net


# -- building ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (INPUT + 'layer { name: "r" type: "Relu" bottom: "data" top: "r" }', "unknown layer type 'Relu'. Did you mean"),
        (INPUT + 'layer { name: "r" type: "ReLU" bottom: "nobody" top: "r" }', "unknown bottom blob 'nobody'"),
        (
            INPUT + relu("a", "data", "x") + relu("b", "data", "x"),
            "top blob 'x' is produced by two layers, also by 'a' at net.prototxt:2:1",
        ),
        (INPUT + 'layer { name: "r" type: "ReLU" bottom: "r" top: "r" }', "A layer cannot read its own top"),
        (
            INPUT + ip("f", "data", top="data").replace("num_output: 3", "num_output: 5"),
            "it runs in place on blob 'data'",
        ),
        (INPUT + 'layer { name: "r" type: "ReLU" bottom: "data" }', "0 tops, a ReLU layer takes 1"),
        (INPUT + 'layer { name: "r" type: "ReLU" top: "r" }', "0 bottoms, a ReLU layer takes 1"),
        (INPUT + ip("f", "data", "param {} param {} param {}"), "3 param entries for 2 learnable blobs"),
        (INPUT + ip("f", "data", "propagate_down: true propagate_down: true"), "propagate_down is given 2 times"),
        (INPUT + ip("f", "data", "loss_weight: 1 loss_weight: 2"), "loss_weight is given 2 times for 1 tops"),
        (INPUT + ip("f", "data").replace("gaussian", "gausian"), "unknown filler type 'gausian'. Use gaussian"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(text, message):
    with pytest.raises(CaffeError) as caught:
        net_of(text)
    assert message in str(caught.value)
    assert str(caught.value).startswith("net.prototxt:2:1, layer ") or "net.prototxt:3:1, layer " in str(caught.value)


def test_outputs_are_what_nobody_reads_sorted_by_name():
    net = net_of(INPUT + relu("b", "data", "z") + relu("c", "data", "a"))
    assert net.outputs == ["a", "z"]
    assert list(net.blobs) == ["data", "data_data_0_split_0", "data_data_0_split_1", "z", "a"]
    assert net.inputs == ["data"]


def test_losses_without_tops_count_and_are_no_outputs():
    def two_losses(first, second):
        loss = 'layer {{ name: "{0}" type: "EuclideanLoss" bottom: "{0}_ip" bottom: "data" {1} }}\n'
        layers = ip("a_ip", "data") + ip("b_ip", "data") + loss.format("a", first) + loss.format("b", second)
        return filled(net_of(INPUT + layers))

    unnamed, named = two_losses("", ""), two_losses('top: "a"', 'top: "b"')
    assert unnamed.outputs == []
    assert unnamed.blob_loss_weights["(automatic)"] == 1
    assert unnamed.forward() == {}
    assert float(unnamed.forward_pass()) == float(named.forward_pass()) > 0
    for net in (unnamed, named):
        net.backward()
    for layer in ("a_ip", "b_ip"):
        np.testing.assert_array_equal(unnamed.params[layer][0].diff, named.params[layer][0].diff)
        assert unnamed.params[layer][0].diff.any()


def test_a_top_may_be_called_as_those_without_a_name():
    net = net_of(INPUT + relu("r", "data", "(automatic)") + ip("f", "(automatic)"))
    assert net.outputs == ["f"]


def test_state_of_the_net_reaches_the_rules():
    text = INPUT + 'layer { name: "r" type: "ReLU" bottom: "data" top: "r" include { stage: "deploy" min_level: 2 } }'
    assert "r" not in net_of(text).blobs
    assert "r" not in net_of(text, stages=["deploy"]).blobs
    assert "r" in net_of(text, stages=["deploy"], level=2).blobs


def test_the_old_argument_order_of_pycaffe(tmp_path):
    (tmp_path / "net.prototxt").write_text(INPUT + ip("f", "data"))
    first = Net(tmp_path / "net.prototxt", TEST)
    first.save(tmp_path / "f.caffemodel")
    second = Net(str(tmp_path / "net.prototxt"), str(tmp_path / "f.caffemodel"), TEST)
    np.testing.assert_array_equal(first.params["f"][0].data, second.params["f"][0].data)


def test_the_same_seed_fills_the_same_weights():
    text = INPUT + ip("f", "data")
    weights = [net_of(text, seed=seed).params["f"][0].data for seed in (5, 5, 6)]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert (weights[0] != weights[2]).any()
    drawn = []
    for _ in range(2):
        set_random_seed(3)
        drawn.append([net_of(text, seed=None).params["f"][0].data for _ in range(2)])
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0][0] != drawn[0][1]).any()


# -- which blobs get a gradient ------------------------------------------------------------------------------------


def needs(net):
    return {node.name: node.need_backward for node in net.nodes}


def test_no_gradient_is_computed_that_nobody_wants():
    text = INPUT + ip("f", "data") + relu("side", "f", "side") + ip("g", "f") + euclidean("g", "data")
    net = net_of(text)
    assert needs(net) == {
        "data": False, "data_data_0_split": False, "f": True, "f_f_0_split": True, "side": False,
        "g": True, "loss": True,
    }  # fmt: skip
    assert net.node("f").bottom_need_backward == [False]
    assert net.node("loss").bottom_need_backward == [True, False]


def test_frozen_layers_at_the_bottom_get_no_gradient():
    frozen = "param { lr_mult: 0 } param { lr_mult: 0 }"
    net = filled(net_of(INPUT + ip("f", "data", frozen) + ip("g", "f") + euclidean("g", "data")))
    assert needs(net)["f"] is False
    net.forward_pass()
    net.backward_pass()
    assert not net.params["f"][0].blob.has_diff
    assert net.params["g"][0].blob.has_diff


def test_propagate_down_false_stops_the_gradient():
    net = net_of(INPUT + ip("f", "data") + ip("g", "f", "propagate_down: false") + euclidean("g", "data"))
    assert needs(net)["f"] is False
    assert net.node("g").bottom_need_backward == [False]


def test_force_backward_reaches_the_inputs_but_no_labels():
    text = (
        "force_backward: true "
        + INPUT
        + 'layer { name: "l" type: "Input" top: "l" input_param { shape { dim: 2 } } }\n'
    )
    text += ip("f", "data") + 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "f" bottom: "l" top: "loss" }'
    net = filled(net_of(text), l=[0, 2])
    net.forward_pass()
    net.backward_pass()
    assert np.abs(net.blobs["data"].diff).sum() > 0
    assert net.node("loss").bottom_need_backward == [True, False]


def numeric_gradient(net, blob, eps=1e-5):
    gradient = np.zeros_like(blob)
    for index in np.ndindex(blob.shape):
        kept = blob[index]
        losses = []
        for step in (eps, -eps):
            blob[index] = kept + step
            losses.append(float(net.forward_pass()))
        blob[index] = kept
        gradient[index] = (losses[0] - losses[1]) / (2 * eps)
    return gradient


@pytest.mark.parametrize(
    "text",
    [
        ip("f", "data") + ip("g", "f") + relu("r", "f", "r") + euclidean("g", "r"),
        ip("f", "data") + relu("r", "f", "f") + ip("g", "f") + euclidean("g", "data"),
        ip("f", "data") + 'layer { name: "t" type: "TanH" bottom: "f" top: "f" }\n' + relu("r", "f", "f")
        + ip("g", "f") + euclidean("g", "f"),
        ip("f", "data") + 'layer { name: "s" type: "Scale" bottom: "f" top: "f" scale_param { filler { value: 3 } } }\n'
        + 'layer { name: "t" type: "Sigmoid" bottom: "f" top: "f" }\n' + euclidean("f", "data"),
        ip("f", "data") + euclidean("f", "data", "loss_weight: 0.5") + ip("g", "f") + euclidean("g", "data", name="l2"),
        ip("f", "data", 'param { name: "w" }') + ip("g", "f", 'param { name: "w" }') + euclidean("g", "data"),
    ],
    ids=["two readers", "in place", "chain in place", "scale in place", "two losses", "shared weights"],
)  # fmt: skip
def test_gradients_of_whole_nets(text):
    net = filled(net_of("force_backward: true " + INPUT + text, dtype="float64"))
    net.forward_pass()
    net.clear_param_diffs()
    net.backward_pass()
    got = {"data": net.blobs["data"].diff.copy(), "f": net.params["f"][0].diff.copy()}
    np.testing.assert_allclose(got["data"], numeric_gradient(net, net.blobs["data"].data), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(got["f"], numeric_gradient(net, net.params["f"][0].data), rtol=1e-6, atol=1e-8)


# -- parameters ----------------------------------------------------------------------------------------------------


def test_shared_parameters_are_one_blob_listed_once():
    shared = 'param { name: "w" lr_mult: 2 } param { name: "b" }'
    net = net_of(
        INPUT + ip("f", "data", shared) + ip("g", "f", 'param { name: "w" } param { name: "b" decay_mult: 0 }')
    )
    assert [(p.name, p.lr_mult, p.decay_mult) for p in net.learnable_params] == [("w", 2, 1), ("b", 1, 0)]
    net.params["f"][0].data[...] = 7
    assert (net.params["g"][0].data == 7).all()


def test_permissive_sharing_keeps_each_layers_shape():
    wide = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 6 } } }\n'
    small = wide.replace("data", "small").replace("dim: 6", "dim: 3")

    def text(mode):
        spec = f'param {{ name: "w" share_mode: {mode} }}'
        second = ip("g", "small", spec).replace("num_output: 3", "num_output: 4")
        return wide + small + ip("f", "data", spec).replace("num_output: 3", "num_output: 2") + second

    net = net_of(text("PERMISSIVE"))
    net.params["f"][0].data[...] = np.arange(12).reshape(2, 6)
    np.testing.assert_array_equal(net.params["g"][0].data, np.arange(12).reshape(4, 3))
    with pytest.raises(NetError, match=r"layer \"g\".*its shape is \(4, 3\), the owner's \(2, 6\).*PERMISSIVE"):
        net_of(text("STRICT"))


def test_shared_parameters_with_different_multipliers_are_refused():
    with pytest.raises(NetError, match="shared param 'w' has lr_mult 3 here and 2 in layer 'f'"):
        net_of(
            INPUT + ip("f", "data", 'param { name: "w" lr_mult: 2 }') + ip("g", "f", 'param { name: "w" lr_mult: 3 }')
        )


@pytest.mark.parametrize("ending", [".caffemodel", ".caffemodel.h5"])
def test_saved_weights_load_by_layer_name(tmp_path, ending):
    pytest.importorskip("h5py")
    first = net_of(INPUT + ip("f", "data") + ip("g", "f"))
    path = tmp_path / f"w{ending}"
    (first.save_hdf5 if ending.endswith("h5") else first.save)(path)
    second = net_of(INPUT + ip("f", "data") + ip("other", "f"), seed=2)
    before = second.params["other"][0].data.copy()
    second.copy_from(path)
    np.testing.assert_array_equal(second.params["f"][0].data, first.params["f"][0].data)
    np.testing.assert_array_equal(second.params["other"][0].data, before)


@pytest.mark.parametrize("ending", [".caffemodel", ".caffemodel.h5"])
def test_shared_parameters_go_through_a_file(tmp_path, ending):
    pytest.importorskip("h5py")
    text = (
        INPUT
        + ip("f", "data", 'param { name: "w" } param { name: "b" }')
        + ip("g", "f", 'param {} param { name: "b" }')
    )
    first, second = net_of(text), net_of(text, seed=2)
    path = tmp_path / f"w{ending}"
    (first.save_hdf5 if ending.endswith("h5") else first.save)(path)
    second.copy_from(path)
    for name in ("f", "g"):
        for mine, theirs in zip(second.params[name], first.params[name], strict=True):
            np.testing.assert_array_equal(mine.data, theirs.data)


def test_loading_writes_into_the_arrays_that_a_user_holds(tmp_path):
    first, second = net_of(INPUT + ip("f", "data")), net_of(INPUT + ip("f", "data"), seed=2)
    first.save(tmp_path / "w.caffemodel")
    held = second.params["f"][0].data
    second.copy_from(tmp_path / "w.caffemodel")
    np.testing.assert_array_equal(held, first.params["f"][0].data)


def test_a_shape_mismatch_shows_both_shapes_and_changes_nothing(tmp_path):
    first = net_of(INPUT + ip("a", "data") + ip("f", "data"))
    first.save(tmp_path / "w.caffemodel")
    second = net_of(INPUT + ip("a", "data") + ip("f", "data").replace("num_output: 3", "num_output: 4"), seed=2)
    before = second.params["a"][0].data.copy()
    with pytest.raises(WeightsError) as caught:
        second.copy_from(tmp_path / "w.caffemodel")
    assert 'net.prototxt:3:1, layer "f" (InnerProduct)' in str(caught.value)
    assert "its shape is 3 3 (9), the net's is 4 3 (12)" in str(caught.value)
    np.testing.assert_array_equal(second.params["a"][0].data, before)


def test_shapes_that_differ_in_leading_ones_load():
    from caffe_lite.net.weights import LayerWeights

    net = net_of(INPUT + ip("f", "data"))
    weight, bias = np.arange(9, dtype="f").reshape(1, 1, 3, 3), np.arange(3, dtype="f").reshape(1, 1, 1, 3)
    load(net, [("old.caffemodel", [LayerWeights("f", "InnerProduct", [weight, bias], [])])])
    np.testing.assert_array_equal(net.params["f"][0].data, weight[0, 0])
    np.testing.assert_array_equal(net.params["f"][1].data, bias[0, 0, 0])


def test_another_number_of_blobs_is_refused(tmp_path):
    net_of(INPUT + ip("f", "data").replace("num_output", "bias_term: false num_output")).save(tmp_path / "w.caffemodel")
    with pytest.raises(WeightsError, match="holds 1 blobs for this layer, the net has 2"):
        net_of(INPUT + ip("f", "data")).copy_from(tmp_path / "w.caffemodel")


def test_sharing_weights_with_a_test_net():
    train, test = net_of(INPUT + ip("f", "data")), net_of(INPUT + ip("f", "data") + ip("g", "f"), TEST, seed=2)
    test.share_with(train)
    train.params["f"][0].data[...] = 4
    assert (test.params["f"][0].data == 4).all()
    assert test.learnable_params[0].blob is train.learnable_params[0].blob
    with pytest.raises(NetError, match=r"cannot share param 0: its shape is \(4, 3\), in the other net \(3, 3\)"):
        net_of(INPUT + ip("f", "data").replace("num_output: 3", "num_output: 4")).share_with(train)


TEST_ONLY = "include { phase: TEST }"
TRAIN_ONLY = "include { phase: TRAIN }"
W = 'param { name: "w" } param { name: "b" }'


@pytest.mark.parametrize("compiled", [False, True], ids=["plain", "compiled"])
@pytest.mark.parametrize(
    "layers",
    [
        ip("A", "data", W) + ip("B", "data", W + TEST_ONLY),
        ip("B", "data", W + TEST_ONLY) + ip("A", "data", W),
        ip("A", "data", W + TRAIN_ONLY) + ip("B", "data", W + TEST_ONLY) + ip("C", "data", W + TEST_ONLY),
        ip("A", "data", W + TRAIN_ONLY) + ip("B", "data", W),
        ip("A", "data") + ip("C", "data", W + TRAIN_ONLY) + ip("B", "data", W + TEST_ONLY),
        ip("A", "data", W.replace("w", "v")) + ip("B", "data", W.replace("w", "v") + TEST_ONLY),
        ip("A", "data", 'param { name: "w" }' + TRAIN_ONLY) + ip("A", "data", W + TEST_ONLY)
        + ip("B", "data", W + TEST_ONLY),
    ],
    ids=["test alone", "test's owner", "train's owner", "train's owner alone", "two", "other name", "named in test"],
)  # fmt: skip
def test_a_test_net_shares_parameters_by_their_names_too(layers, compiled, engine):
    if compiled and engine != "torch":
        pytest.skip("torch compiles")
    train = net_of(INPUT + layers, engine=engine)
    test = net_of(INPUT + layers, TEST, seed=2, engine=engine, compile=compiled)
    weights = train.params["C" if "C" in train.params else "A"]
    filled(train)
    for _ in range(2):
        test.share_with(train)
        for blob in weights:
            blob.data[...] += 1
        test.blobs["data"].data[...] = x = train.blobs["data"].data
        wanted = x @ weights[0].data.T + weights[1].data
        got = test.forward()
        assert "B" in got
        for name in set(got) - {"A", "data"}:
            np.testing.assert_allclose(got[name], wanted, rtol=1e-5, atol=1e-6)
    assert all(param.blob is param.owner.layer.blobs[param.index] for param in test.learnable_params)


def test_the_layer_s_name_comes_before_the_parameter_s_as_in_the_original():
    train = net_of(INPUT + ip("A", "data", W) + ip("B", "data"))
    test = net_of(INPUT + ip("A", "data", W) + ip("B", "data", W), TEST, seed=2)
    test.share_with(train)
    assert (test.params["B"][0].data == train.params["B"][0].data).all()
    assert (test.params["A"][0].data == train.params["A"][0].data).all()


def test_sharing_by_a_parameter_s_name_keeps_shapes_and_refuses_others():
    wide = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 6 } } }\n'
    small = wide.replace("data", "small").replace("dim: 6", "dim: 3")

    def text(mode, outputs=4):
        spec = f'param {{ name: "w" share_mode: {mode} }}'
        second = ip("g", "small", spec + TEST_ONLY).replace("num_output: 3", f"num_output: {outputs}")
        return wide + small + ip("f", "data", spec + TRAIN_ONLY).replace("num_output: 3", "num_output: 2") + second

    train, test = (net_of(text("PERMISSIVE"), phase) for phase in (TRAIN, TEST))
    test.share_with(train)
    train.params["f"][0].data[...] = np.arange(12).reshape(2, 6)
    np.testing.assert_array_equal(test.params["g"][0].data, np.arange(12).reshape(4, 3))
    for mode, outputs, what in (
        ("STRICT", 4, r"its shape is \(4, 3\), the owner's \(2, 6\)"),
        ("PERMISSIVE", 5, r"its shape \(5, 3\) counts 15, the owner's \(2, 6\) counts 12"),
    ):
        test = net_of(text(mode, outputs), TEST)
        before = test.params["g"][0].data.copy()
        with pytest.raises(NetError, match=rf"net.prototxt:4:1.*\"g\".*layer 'f' of the other net: {what}"):
            test.share_with(train)
        assert (test.params["g"][0].data == before).all()


def test_two_layers_of_one_name_are_refused_where_both_learn():
    text = INPUT + ip("f", "data", top="a") + ip("f", "a", top="b")
    with pytest.raises(
        NetError, match=r"net.prototxt:3:1, layer \"f\".*also the one \(InnerProduct\) at net.prototxt:2:1"
    ):
        net_of(text)
    net_of(INPUT + ip("f", "data", TRAIN_ONLY) + ip("f", "data", TEST_ONLY))


@pytest.mark.parametrize("ending", [".caffemodel", ".caffemodel.h5"])
def test_a_layer_may_have_the_name_of_one_that_learns(tmp_path, ending):
    """The original trains such a net, but its weights are neither loaded nor shared."""
    pytest.importorskip("h5py")
    text = INPUT + relu("f", "data", "r") + ip("f", "r") + relu("f", "f", "s")
    train, test = net_of(text), net_of(text, TEST, seed=2)
    train.save(tmp_path / "w.caffemodel")
    train.save_hdf5(tmp_path / "w.caffemodel.h5")
    other = net_of(text, TEST, seed=3)
    assert other.copy_from(tmp_path / f"w{ending}").loaded == ["f"]
    test.share_with(train)
    for net in (test, other):
        np.testing.assert_array_equal(net.nodes[2].layer.blobs[0].data, train.nodes[2].layer.blobs[0].data)


def test_two_layers_of_one_name_in_a_weights_file_are_refused(tmp_path):
    net_of(INPUT + ip("f", "data") + ip("g", "f")).save(tmp_path / "w.caffemodel")
    path = tmp_path / "w.caffemodel"
    path.write_bytes(path.read_bytes().replace(b"\x0a\x01g", b"\x0a\x01f"))
    net = net_of(INPUT + ip("f", "data"))
    before = net.params["f"][0].data.copy()
    with pytest.raises(WeightsError, match="holds 2 layers of this name"):
        net.copy_from(path)
    assert (net.params["f"][0].data == before).all()
    assert net_of(INPUT + ip("other", "data")).copy_from(path).ignored == ["f", "f"]


def test_layers_of_one_name_keep_states_of_their_own():
    """Many nets have two sources of data that are both called data."""
    text = "".join(
        f'layer {{ name: "data" type: "MemoryData" top: "{name}" top: "l{name}"'
        f" memory_data_param {{ batch_size: {size} channels: 1 height: 1 width: 1 }} }}\n"
        for name, size in (("a", 1), ("b", 2))
    )

    def made():
        net = net_of(text)
        for node in net.nodes:
            rows = 4 * len(node.top[0].data)
            node.layer.set_input_arrays(np.arange(rows, dtype="f").reshape(-1, 1, 1, 1), np.arange(rows, dtype="f"))
        return net

    net, again = made(), made()
    net.forward()
    state = json.loads(json.dumps(net.state()))
    wanted = {name: values.copy() for name, values in net.forward().items()}
    again.restore_state(state)
    got = again.forward()
    assert {name: values.ravel().tolist() for name, values in got.items()} == {
        "a": [1], "la": [1], "b": [2, 3], "lb": [2, 3]
    }  # fmt: skip
    assert all((got[name] == wanted[name]).all() for name in wanted)
    state["layers"] = {"data": state["layers"][0][-1]}  # the older form
    again.restore_state(state)
    assert again.forward()["a"].ravel().tolist() == [1]


@pytest.mark.parametrize("field", ["lr_mult", "decay_mult"])
def test_multipliers_that_are_no_numbers_are_refused(field):
    with pytest.raises(NetError, match=rf"net.prototxt:2:1, layer \"f\" .*: {field} of param 1 is nan"):
        net_of(INPUT + ip("f", "data", f"param {{}} param {{ {field}: nan }}"))
    with pytest.raises(NetError, match="loss_weight is inf"):
        net_of(INPUT + ip("f", "data", "loss_weight: inf"))


# -- running -------------------------------------------------------------------------------------------------------


def test_the_loss_is_the_weighted_sum():
    net = filled(net_of(INPUT + ip("f", "data") + euclidean("f", "data", "loss_weight: 0.25") + relu("r", "f", "r")))
    assert float(net.forward_pass()) == pytest.approx(0.25 * float(net.blobs["loss"].data))


def test_gradients_accumulate_until_cleared():
    net = filled(net_of(INPUT + ip("f", "data") + euclidean("f", "data")))
    for _ in range(2):
        net.forward_pass()
        net.backward_pass()
    twice = net.params["f"][0].diff.copy()
    net.clear_param_diffs()
    assert (net.params["f"][0].diff == 0).all()
    net.backward_pass()
    np.testing.assert_allclose(net.params["f"][0].diff * 2, twice, rtol=1e-6)


def test_an_error_while_running_names_layer_and_place():
    text = INPUT + 'layer { name: "l" type: "Input" top: "l" input_param { shape { dim: 2 } } }\n'
    text += 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "data" bottom: "l" top: "loss" }'
    net = filled(net_of(text), l=[0, 9])
    with pytest.raises(CaffeError, match=r'net.prototxt:3:1, layer "loss" \(SoftmaxWithLoss\): label 9'):
        net.forward_pass()


def test_reshaping_an_input_reshapes_the_net():
    net = net_of(INPUT + ip("f", "data"))
    net.blobs["data"].reshape(5, 3)
    net.reshape()
    assert net.blobs["f"].shape == (5, 3)
    filled(net).forward()
    net.blobs["data"].reshape(1, 3)
    assert filled(net).forward()["f"].shape == (1, 3)
    net.blobs["data"].reshape(1, 4)
    with pytest.raises(CaffeError, match=r'layer "f" \(InnerProduct\)'):
        net.forward()


def test_debug_info_logs_every_blob(caplog):
    with caplog.at_level("INFO", "caffe_lite"):
        net = filled(
            net_of("debug_info: true " + INPUT + ip("f", "data", 'param { name: "w" }') + euclidean("f", "data"))
        )
        caplog.clear()
        net.forward_pass()
        net.backward_pass()
    log = "\n".join(caplog.messages)
    mean = np.abs(net.blobs["f"].data).mean()
    assert f"    [Forward] Layer f, top blob f data: {mean:g}" in log
    assert "    [Forward] Layer f, param blob w data: " in log
    assert "    [Forward] Layer f, param blob 1 data: " in log
    assert "    [Backward] Layer loss, bottom blob f diff: " in log
    assert "    [Backward] Layer f, param blob 0 diff: " in log
    assert "    [Backward] All net params (data, diff): L1 norm = (" in log


def test_the_state_goes_through_json_and_continues_the_random_numbers():
    import json

    text = INPUT + 'layer { name: "d" type: "Dropout" bottom: "data" top: "d" }'
    net = filled(net_of(text))
    state = json.loads(json.dumps(net.state()))
    first = [net.forward()["d"].copy() for _ in range(3)]
    net.restore_state(state)
    again = [net.forward()["d"].copy() for _ in range(3)]
    np.testing.assert_array_equal(first, again)


def test_a_net_in_float64():
    net = filled(net_of(INPUT + ip("f", "data") + euclidean("f", "data"), dtype="float64"))
    net.forward()
    net.backward()
    assert {blob.data.dtype for blob in net.blobs.values()} == {np.dtype("float64")}
    assert net.params["f"][0].diff.dtype == np.float64


# -- backward through layers that have not run forward -------------------------------------------------------------

DEEP = (
    "force_backward: true\n"
    + INPUT
    + INPUT.replace('"data"', '"target"')
    + ip("a", "data")
    + 'layer { name: "drop" type: "Dropout" bottom: "a" top: "drop" }\n'
    + 'layer { name: "norm" type: "BatchNorm" bottom: "drop" top: "norm" }\n'
    + 'layer { name: "s" type: "Sigmoid" bottom: "norm" top: "s" }\n'
    + 'layer { name: "drop2" type: "Dropout" bottom: "s" top: "drop2" }\n'
    + ip("b", "drop2")
    + euclidean("b", "target")
)


def copy_of_blobs(net, of):
    for name, blob in net.blobs.items():
        blob.data[...] = of.blobs[name].data
        blob.diff[...] = of.blobs[name].diff
    return net


def gradients_of(net):
    blobs = {f"{name} {i}": blob for name, blobs in net.params.items() for i, blob in enumerate(blobs)}
    return {name: blob.diff.copy() for name, blob in (blobs | dict(net.blobs)).items()}


@pytest.mark.parametrize("end", [None, "a", "drop", "norm", "s", "drop2", "b", "loss"])
def test_backward_before_the_rest_of_the_forward_pass(end, engine):
    """Layers after ``end`` use the values in the blobs, and draw the same numbers as a forward pass would have."""
    ran = filled(net_of(DEEP, engine=engine))
    ran.forward()
    net = copy_of_blobs(net_of(DEEP, engine=engine), ran)
    if end:
        net.forward(end=end)
    drawn, statistics = net.state(), [blob.data.tolist() for blob in net.params["norm"]]
    ran.backward()
    net.backward()
    wanted = gradients_of(ran)
    assert np.any(wanted["data"]) and np.any(wanted["a 0"])
    for name, gradient in gradients_of(net).items():
        np.testing.assert_array_equal(gradient, wanted[name], err_msg=name)
    assert net.state() == drawn
    assert [blob.data.tolist() for blob in net.params["norm"]] == statistics


def test_backward_before_the_first_part_of_the_forward_pass(engine):
    text = DEEP.replace("Dropout", "TanH")
    ran = filled(net_of(text, engine=engine))
    ran.forward()
    net = copy_of_blobs(net_of(text, engine=engine), ran)
    net.forward(start="s")
    for one in (ran, net):
        one.backward(start="loss", end="s")
        one.backward(start="norm")
    wanted = gradients_of(ran)
    for name, gradient in gradients_of(net).items():
        np.testing.assert_array_equal(gradient, wanted[name], err_msg=name)


def test_backward_over_other_values_in_the_blobs(engine):
    """The gradient of a single layer follows from the values a user has written to its bottom and its top's diff."""
    net = net_of(DEEP, engine=engine)
    x, dy = np.random.default_rng(0).normal(size=(2, 2, 3)).astype("f")
    net.blobs["norm"].data[...] = x
    net.blobs["s"].data[...] = 9
    net.blobs["s"].diff[...] = dy
    gradient = net.backward(start="s", end="s")["norm"]
    y = 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(gradient, dy * y * (1 - y), rtol=1e-5)
    assert (net.blobs["s"].data == 9).all()
    np.testing.assert_array_equal(net.blobs["s"].diff, dy)


def test_backward_after_an_input_was_reshaped(engine):
    net, other = (filled(net_of(DEEP.replace("Dropout", "TanH"), engine=engine)) for _ in range(2))
    net.forward()
    net.backward()
    for one in (net, other):
        for name in one.inputs:
            one.blobs[name].reshape(5, 3)
        one.clear_param_diffs()
        filled(one)
    other.reshape()
    assert net.backward()["data"].shape == net.blobs["b"].shape == (5, 3)
    other.backward()
    wanted = gradients_of(other)
    for name, gradient in gradients_of(net).items():
        np.testing.assert_array_equal(gradient, wanted[name], err_msg=name)


def test_backward_runs_nothing_forward_that_does_more_than_compute(tmp_path, monkeypatch, engine):
    (tmp_path / "calls_noted.py").write_text(
        "class Noted:\n"
        "    def setup(self, bottom, top): self.calls = []\n"
        "    def reshape(self, bottom, top): top[0].reshape(*bottom[0].shape)\n"
        "    def forward(self, bottom, top): self.calls.append('forward')\n"
        "    def backward(self, top, propagate_down, bottom):\n"
        "        self.calls.append('backward')\n"
        "        bottom[0].diff[...] = 2 * top[0].diff\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    text = f"""force_backward: true
        layer {{ name: "m" type: "MemoryData" top: "x" top: "label"
                 memory_data_param {{ batch_size: 2 channels: 1 height: 1 width: 3 }} }}
        layer {{ name: "p" type: "Python" bottom: "x" top: "p"
                 python_param {{ module: "calls_noted" layer: "Noted" }} }}
        layer {{ name: "s" type: "Sigmoid" bottom: "p" top: "s" }}
        layer {{ name: "out" type: "HDF5Output" bottom: "x" bottom: "label"
                 hdf5_output_param {{ file_name: {str(tmp_path / "out.h5")!r} }} }}"""
    pytest.importorskip("h5py")
    net = net_of(text, engine=engine)
    net.blobs["s"].diff[...] = 4
    net.backward()
    assert (net.blobs["p"].diff == 1).all() and (net.blobs["x"].diff == 2).all()
    assert net.layer_dict["p"].calls == ["backward"] and not (tmp_path / "out.h5").exists()


def test_an_error_in_what_lacks_forward_names_layer_and_place():
    text = INPUT + 'layer { name: "l" type: "Input" top: "l" input_param { shape { dim: 2 } } }\n' + ip("f", "data")
    text += 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "f" bottom: "l" top: "loss" }'
    net = filled(net_of(text), l=[0, 9])
    with pytest.raises(CaffeError, match=r'net.prototxt:4:1, layer "loss" \(SoftmaxWithLoss\): label 9'):
        net.backward()
