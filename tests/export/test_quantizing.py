"""Nets in whole numbers of 8 bits: what the file computes, and that the loss shown is the loss there is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import caffe_lite
from caffe_lite import TEST, Net
from caffe_lite.cli import main

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx

from caffe_lite.agreement.onnx_running import OnnxRun
from caffe_lite.export.quantizing import batches, quantize

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
IMAGE = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }'
LABEL = 'layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } }'
NET = """
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
"""
SCORES = """
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


@pytest.fixture
def make(tmp_path):
    def make(text: str) -> Net:
        path = tmp_path / "net.prototxt"
        path.write_text(text, encoding="utf-8")
        net = Net(path, TEST, engine="numpy", seed=1)
        for blob, value in zip(net.params["norm"], (0.1, 2.0, 1.0), strict=True):
            blob.data[...] = value
        net.save(tmp_path / "net.caffemodel")
        return net

    return make


def random_batches(count: int = 4) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [
        {"x": rng.standard_normal((2, 3, 8, 8)), "label": rng.integers(0, 5, 2).astype(np.float32)}
        for _ in range(count)
    ]


@pytest.mark.parametrize("activations", ["int8", "uint8"])
def test_the_scores_are_those_of_the_file(make, tmp_path, activations):
    net, data = make(IMAGE + LABEL + NET + SCORES), random_batches()
    done = quantize(net, tmp_path / "out.onnx", data, data, activations)
    model = onnx.load(tmp_path / "out.onnx")
    count = Counter(node.op_type for node in model.graph.node)
    assert count["Conv"] == count["Gemm"] == 1 and count["QuantizeLinear"] > 1 and "BatchNormalization" not in count
    zeros = [onnx.numpy_helper.to_array(one) for one in model.graph.initializer if "zero_point" in one.name]
    assert {array.dtype.name for array in zeros} == {"int8", "int32"} | {activations}
    run, wanted, right = OnnxRun(tmp_path / "out.onnx"), [], []
    for batch in data:
        scores = run({"x": batch["x"]})["ip"]
        exponents = np.exp(scores - scores.max(1, keepdims=True))
        share = exponents / exponents.sum(1, keepdims=True)
        wanted.append(-np.log(share[np.arange(2), batch["label"].astype(int)]).mean())
        right.append((scores.argmax(1) == batch["label"]).mean())
    accuracy, loss = done.scores
    assert accuracy.is_accuracy and not loss.is_accuracy
    assert accuracy.after == pytest.approx(np.mean(right)) and loss.after == pytest.approx(np.mean(wanted), rel=1e-5)
    assert loss.before == pytest.approx(loss.after, rel=0.05) and loss.before != loss.after
    lost = 100 * (accuracy.before - accuracy.after)
    assert done.report()[0] == (
        f"accuracy: {accuracy.before:.4f}, in 8 bits {accuracy.after:.4f}: {lost:.2f} points lost"
    )
    assert {one.key: one.value for one in model.metadata_props}["caffe_lite.quantized"] == "\n".join(done.report())


def test_without_scores_the_outputs_are_compared(make, tmp_path):
    net, data = make(IMAGE + NET), [{"x": batch["x"]} for batch in random_batches()]
    (line,) = quantize(net, tmp_path / "out.onnx", data, data).differences
    run, largest = OnnxRun(tmp_path / "out.onnx"), []
    for batch in data:
        net.blobs["x"].data[...] = batch["x"]
        wanted = net.forward()["ip"]
        largest.append(np.abs(run(batch)["ip"] - wanted).max() / np.ptp(wanted))
    assert 0 < line.largest == pytest.approx(max(largest), rel=1e-3) and line.largest < 0.1
    assert line.items == 8 and 0 < line.same_best <= 8


def test_a_folder_of_images(make, tmp_path, capsys):
    cv2 = pytest.importorskip("cv2")
    make(IMAGE + NET)
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 255, (12, 10, 3), np.uint8))
    files = [str(tmp_path / name) for name in ("net.prototxt", "net.caffemodel", "out.onnx")]
    assert main(["quantize", *files, "--images", str(folder), "--mean", "128", "--scale", "0.01"]) == 0
    assert "ip: in 8 bits it differs by" in (said := capsys.readouterr().out) and "of 3" in said
    run = OnnxRun(tmp_path / "out.onnx")
    assert run({"x": np.zeros((1, 3, 8, 8))})["ip"].shape == (1, 5)


def test_a_net_without_data_needs_images(make, tmp_path, capsys):
    make(IMAGE + NET)
    files = [str(tmp_path / name) for name in ("net.prototxt", "net.caffemodel", "out.onnx")]
    assert main(["quantize", *files]) == 1
    assert "give --images FOLDER" in capsys.readouterr().err.replace("Give", "give")
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.slow
def test_lenet_loses_at_most_half_a_point(tmp_path, monkeypatch):
    monkeypatch.chdir(CONFIGS.parent)
    solver = caffe_lite.get_solver("configs/lenet/solver.prototxt", engine="numpy")
    solver.step(250)
    net = Net("configs/lenet/net.prototxt", TEST, engine="numpy")
    net.share_with(solver.net)
    accuracy, _ = quantize(net, tmp_path / "lenet.onnx", batches(net, 10), batches(net, 10)).scores
    assert accuracy.before > 0.75 and accuracy.before - accuracy.after <= 0.005
    solver.net.save(tmp_path / "lenet.caffemodel")
    assert (tmp_path / "lenet.onnx").stat().st_size < 0.3 * (tmp_path / "lenet.caffemodel").stat().st_size
