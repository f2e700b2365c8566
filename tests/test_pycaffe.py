"""The face of a Net that pycaffe's scripts know."""

import subprocess
import sys

import numpy as np
import pytest

import caffe_lite as caffe
from caffe_lite.errors import NetError
from caffe_lite.net import TEST, TRAIN, Net

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
    """A user's layer as scripts have them: derived from caffe.Layer, in a module on the path."""
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
    from caffe_lite.pycaffe import AdamSolver, Net, SGDSolver

    assert (Net, SGDSolver, AdamSolver) == (caffe.Net, caffe.SGDSolver, caffe.AdamSolver)
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
