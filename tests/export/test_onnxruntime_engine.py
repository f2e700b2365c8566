"""The onnxruntime engine: its graphs give what the layers compute, whatever happens to the net between passes."""

from __future__ import annotations

import logging
import os

import numpy as np
import pytest

from caffe_lite import TEST, TRAIN, Net
from caffe_lite.errors import CaffeError, EngineError, MissingExtra

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 6 dim: 6 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "norm" }
layer { name: "scale" type: "Scale" bottom: "norm" top: "norm" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "norm" top: "norm" }
layer { name: "pool" type: "Pooling" bottom: "norm" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
force_backward: true
"""
STATISTICS = "include { phase: TEST }"


def both(tmp_path, text: str = NET, **options) -> tuple[Net, Net]:
    """Return a net on the NumPy engine and one with the same weights on the onnxruntime engine."""
    path = tmp_path / "net.prototxt"
    path.write_text(text, encoding="utf-8")
    nets = [Net(path, TEST, engine=engine, seed=1, **options) for engine in ("numpy", "onnxruntime")]
    for net in nets:
        for name, blobs in net.params.items():
            if name == "norm":
                for blob, value in zip(blobs, (0.1, 2.0, 1.0), strict=True):
                    blob.data[...] = value
    return nets[0], nets[1]


def fill(nets: tuple[Net, Net], seed: int, name: str = "x") -> None:
    for net in nets:
        net.blobs[name].data[...] = np.random.default_rng(seed).standard_normal(net.blobs[name].shape)


def run(nets: tuple[Net, Net], seed: int, **options) -> bool:
    """Run both nets over the same data and compare all that they return; return whether onnxruntime ran."""
    fill(nets, seed)
    wanted, got = (net.forward(**options) for net in nets)
    assert wanted.keys() == got.keys()
    for name in wanted:
        np.testing.assert_allclose(got[name], wanted[name], rtol=1e-4, atol=1e-5)
    return nets[1]._program.ran is not None


def same(nets: tuple[Net, Net], name: str, part: str = "data") -> None:
    wanted, got = (getattr(net.blobs[name], part) for net in nets)
    assert np.abs(wanted).max() > 0
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def settled(nets: tuple[Net, Net]) -> None:
    for seed in range(10, 20):
        if run(nets, seed):
            return
    pytest.fail("onnxruntime never ran")


def test_the_second_pass_runs_as_a_graph(tmp_path, caplog):
    nets = both(tmp_path)
    with caplog.at_level(logging.INFO, "caffe_lite"):
        assert [run(nets, seed) for seed in range(3)] == [False, True, True]
    assert [record.getMessage() for record in caplog.records] == [
        "onnxruntime runs 6 of the 7 layers of net '' from now on"
    ]
    assert nets[1].ops.describe().startswith("onnxruntime ")
    assert isinstance(nets[1].blobs["ip"].data, np.ndarray)


def test_blobs_inside_are_those_of_the_pass_even_after_their_bottom_was_overwritten(tmp_path):
    nets = both(tmp_path)
    settled(nets)
    before = nets[0].blobs["conv"].data.copy()
    nets[1].blobs["x"].data[...] = 7
    nets[1].params["conv"][0].data[...] *= 2
    np.testing.assert_array_equal(nets[1].blobs["conv"].data, before)
    assert (nets[1].blobs["x"].data == 7).all()
    nets[1].params["conv"][0].data[...] /= 2
    assert run(nets, 3), "the weights are the same as before"
    same(nets, "conv")


def test_a_blob_that_was_read_is_given_from_then_on(tmp_path):
    nets = both(tmp_path)
    settled(nets)
    program = nets[1]._program
    assert set(program.dropped) == {"conv", "norm", "pool"}
    same(nets, "pool")
    settled(nets)
    assert set(program.dropped) == {"conv", "norm"}
    same(nets, "pool")
    assert program.ran is not None, "no layer has run for it"


def test_blobs_asked_for_and_blobs_held(tmp_path):
    nets = both(tmp_path)
    settled(nets)
    held = [net.blobs["conv"].data for net in nets]
    run(nets, 3)
    assert run(nets, 4, blobs=["pool"])
    np.testing.assert_allclose(held[1], held[0], rtol=1e-4, atol=1e-5)


def test_an_input_that_the_user_holds(tmp_path):
    nets = both(tmp_path)
    held = [net.blobs["x"].data for net in nets]
    for seed in range(4):
        for array in held:
            array[...] = np.random.default_rng(seed).standard_normal(array.shape)
        wanted, got = (net.forward()["ip"] for net in nets)
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
        held[1][...] = 9
        same(nets, "norm")


@pytest.mark.parametrize("holds", [False, True])
def test_weights_that_change(tmp_path, holds):
    nets = both(tmp_path)
    held = [net.params["ip"][0].data for net in nets] if holds else []
    settled(nets)
    if holds:
        for weight in held:
            weight[0] = 3
    else:
        for net in nets:
            net.params["ip"][0].data[0] = 3
    assert not run(nets, 1)
    assert run(nets, 2)
    for one in nets:
        one.params["ip"][0].data.sum()
    assert run(nets, 3), "a look at the weights changes nothing"


def test_weights_that_are_loaded_or_shared(tmp_path):
    nets = both(tmp_path)
    settled(nets)
    other = Net(tmp_path / "net.prototxt", TEST, engine="onnxruntime", seed=2)
    other.save(tmp_path / "other.caffemodel")
    for net in nets:
        net.copy_from(tmp_path / "other.caffemodel")
    settled(nets)
    trained = [Net(tmp_path / "net.prototxt", TRAIN, engine=engine, seed=3) for engine in ("numpy", "onnxruntime")]
    for net, source in zip(nets, trained, strict=True):
        net.share_with(source)
    settled(nets)
    for source in trained:
        source.params["conv"][1].data[...] += 1
    settled(nets)
    third = Net(tmp_path / "net.prototxt", TEST, engine="onnxruntime", seed=3)
    third.share_with(trained[1])
    pair = nets[0], third
    settled(pair)
    assert run(nets, 5) and run(pair, 6) and run(nets, 7), "nets that share weights do not disturb each other"


def test_a_blob_put_in_the_place_of_a_weight(tmp_path):
    nets = both(tmp_path)
    settled(nets)
    for net in nets:
        net.params["ip"][0] = Net(tmp_path / "net.prototxt", TEST, engine=net.ops, seed=5).params["ip"][0]
    settled(nets)


def test_another_batch(tmp_path):
    nets = both(tmp_path)
    settled(nets)
    for size in (1, 5, 0):
        for net in nets:
            net.blobs["x"].reshape(size, 3, 6, 6)
        run(nets, 1)
        assert run(nets, 2) == bool(size)
        assert nets[1].blobs["conv"].shape == (size, 4, 4, 4)


def test_parts_of_the_net_and_backward(tmp_path):
    nets = both(tmp_path)
    settled(nets)
    run(nets, 1)
    for net in nets:
        net.blobs["pool"].data[...] *= 2
        net.forward(start="ip")
    same(nets, "ip")
    assert run(nets, 2)
    for net in nets:
        net.blobs["x"].data[...] *= 2  # what Backward reads, as without a graph
        net.blobs["ip"].diff[...] = 1
        net.backward()
    same(nets, "x", "diff")
    np.testing.assert_allclose(nets[1].params["conv"][0].diff, nets[0].params["conv"][0].diff, rtol=1e-4, atol=1e-5)
    assert run(nets, 3)
    for net in nets:
        net.forward(end="norm")
    same(nets, "conv")
    same(nets, "ip")


def test_callbacks_see_every_layer(tmp_path):
    nets = both(tmp_path)
    settled(nets)
    seen = []
    nets[1].after_forward(seen.append)
    run(nets, 1)
    assert seen == list(range(len(nets[1].nodes)))
    same(nets, "conv")


LOSSES = (
    NET
    + """
layer { name: "label" type: "DummyData" top: "label" dummy_data_param {
  shape { dim: 2 } data_filler { type: "constant" value: 3 } } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" loss_weight: 2 }
layer { name: "penalty" type: "Reduction" bottom: "norm" top: "penalty" loss_weight: 0.5 }
"""
)


def test_losses(tmp_path):
    nets = both(tmp_path, LOSSES)
    for seed in range(4):
        run(nets, seed)
        wanted, got = (net.ops.number(net.forward_pass()) for net in nets)
        assert got == pytest.approx(wanted, rel=1e-4) and wanted > 0
    for net in nets:
        net.blobs["label"].data[...] = 4
    run(nets, 1)
    assert {node.name for node in nets[1]._program.parts.left_out} >= {"accuracy", "loss"}


MIXED = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "in place" type: "Power" bottom: "x" top: "x" power_param { shift: 1 } }
layer { name: "first" type: "Python" bottom: "x" top: "first" python_param { module: "twice_layer" layer: "Twice" } }
layer { name: "ip" type: "InnerProduct" bottom: "first" top: "ip"
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "last" type: "Python" bottom: "ip" top: "last" python_param { module: "twice_layer" layer: "Twice" } }
layer { name: "y" type: "Power" bottom: "last" top: "y" power_param { shift: 1 } }
layer { name: "z" type: "Sigmoid" bottom: "ip" top: "z" }
"""
TWICE = """
import caffe_lite as caffe

class Twice(caffe.Layer):
    def setup(self, bottom, top): pass
    def reshape(self, bottom, top): top[0].reshape(*bottom[0].shape)
    def forward(self, bottom, top): top[0].data[...] = 2 * bottom[0].data
    def backward(self, top, propagate_down, bottom): pass
"""


def test_layers_without_a_form_in_onnx(tmp_path, monkeypatch, caplog):
    (tmp_path / "twice_layer.py").write_text(TWICE)
    monkeypatch.syspath_prepend(tmp_path)
    nets = both(tmp_path, MIXED)
    with caplog.at_level(logging.INFO, "caffe_lite"):
        settled(nets)
    parts = nets[1]._program.parts
    assert [node.name for node in parts.kept if node.layer.type != "Split"] == ["ip", "z"]
    text = 'layer "last" (Python): class twice_layer.Twice cannot be written in ONNX, so NumPy computes this layer'
    assert text in caplog.text
    same(nets, "last")


def test_statistics_of_the_batch_and_states_stay_with_numpy(tmp_path):
    nets = both(
        tmp_path,
        NET.replace(
            'top: "norm" }\nlayer { name: "scale"',
            'top: "norm" batch_norm_param { use_global_stats: false } }\nlayer { name: "scale"',
        ),
    )
    settled(nets)
    assert [node.name for node in nets[1]._program.parts.kept] == ["conv"]
    for one, two in zip(nets[0].params["norm"], nets[1].params["norm"], strict=True):
        np.testing.assert_allclose(one.data, two.data, rtol=1e-4)


INDICES = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 3 } } }
layer { name: "embed" type: "Embed" bottom: "x" top: "embed"
  embed_param { input_dim: 4 num_output: 2 weight_filler { type: "gaussian" } } }
layer { name: "y" type: "Power" bottom: "embed" top: "y" power_param { scale: 2 } }
"""


def test_indices_are_checked(tmp_path):
    _, net = both(tmp_path, INDICES)
    for _ in range(3):
        net.forward(x=np.array([0, 1, 3]))
    assert net._program.ran is not None
    with pytest.raises(CaffeError, match=r'layer "embed".*index -1 of sample 1'):
        net.forward(x=np.array([0, -1, 3]))


def test_training_and_double_precision_are_numpys(tmp_path, caplog):
    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    with caplog.at_level(logging.INFO, "caffe_lite"):
        net = Net(path, TRAIN, engine="onnxruntime")
        assert "NumPy computes this net: onnxruntime does not run nets for TRAIN" in caplog.text
        assert Net(path, TEST, engine="onnxruntime", dtype="float64")._program is None
    assert net._program is None and not net.compile
    net.forward_backward_pass()


def test_what_onnxruntime_refuses_is_numpys(tmp_path, monkeypatch, caplog):
    nets = both(tmp_path)
    settled(nets)

    def fails(arrays):
        raise RuntimeError("no\nmore")

    monkeypatch.setattr(nets[1]._program, "session", nets[1]._program.session._replace(run=fails))
    assert not run(nets, 1) and not run(nets, 2)
    assert "because onnxruntime fails: no" in caplog.text
    same(nets, "conv")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_makes_its_own_graph(tmp_path, monkeypatch):
    nets = both(tmp_path)
    settled(nets)
    first = nets[1]._program.session
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert run(nets, 1)
    assert nets[1]._program.session is not first


def test_its_own_export_is_compared_with_the_layers(tmp_path, monkeypatch):
    from caffe_lite.export import to_onnx
    from caffe_lite.export.onnx_pass import OnnxPass

    nets = both(tmp_path)
    settled(nets)
    monkeypatch.setattr(OnnxPass, "_run_graph", lambda self: pytest.fail("not by the layers"))
    to_onnx(nets[1], tmp_path / "net.onnx")


def test_a_missing_package_and_a_gpu(monkeypatch):
    from caffe_lite import ops
    from caffe_lite.export import onnxruntime_engine

    with pytest.raises(EngineError, match="does not compute on GPUs"):
        onnxruntime_engine.OnnxRuntimeOps("float32", "cuda:0")
    monkeypatch.setattr(onnxruntime_engine, "is_installed", lambda name: False)
    with pytest.raises(MissingExtra, match=r"pip install 'caffe-lite\[onnx\]'"):
        ops.get_ops("onnxruntime")
    monkeypatch.setattr(ops, "is_installed", lambda name: name != "onnxruntime")
    with pytest.raises(MissingExtra, match=r"pip install 'caffe-lite\[onnx\]'"):
        ops.get_ops("onnxruntime")
