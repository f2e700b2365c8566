from __future__ import annotations

import numpy as np
import pytest

import caffe_lite
from caffe_lite.cli import main

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 2 dim: 6 dim: 6 } } }
layer {
  name: "conv" type: "Convolution" bottom: "x" top: "conv"
  convolution_param { num_output: 3 kernel_size: 3 weight_filler { type: "xavier" } }
}
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 3 stride: 2 } }
"""
NOT_IN_ONNX = """
layer { name: "a" type: "Python" bottom: "pool" top: "a" python_param { module: "double" layer: "Double" } }
layer { name: "b" type: "Python" bottom: "a" top: "b" python_param { module: "double" layer: "Double" } }
"""
DOUBLE = """
import caffe


class Double(caffe.Layer):
    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = 2 * bottom[0].data
"""


def save(folder, text: str = NET) -> caffe_lite.Net:
    (folder / "deploy.prototxt").write_text(text)
    net = caffe_lite.Net(folder / "deploy.prototxt", caffe_lite.TEST)
    rng = np.random.default_rng(0)
    for blob in net.params["bn"]:
        blob.data[...] = rng.uniform(0.5, 2, blob.data.shape)
    net.save(str(folder / "w.caffemodel"))
    return net


@pytest.mark.parametrize("options", [[], ["--no-fold", "--opset", "13"], ["--batch", "3"]])
def test_a_model_that_onnxruntime_runs(caffe, folder, options):
    import onnx
    import onnxruntime

    net = save(folder)
    result = caffe("export", "deploy.prototxt", "w.caffemodel", "out.onnx", *options)
    assert result.returncode == 0, result.stderr
    size = "3" if "--batch" in options else "N"
    assert result.stdout.startswith(f"input x: {size} x 2 x 6 x 6\noutput pool: {size} x 3 x 2 x 2\nrandom inputs: ")
    net.blobs["x"].reshape(3, 2, 6, 6)
    x = np.random.default_rng(1).standard_normal((3, 2, 6, 6)).astype(np.float32)
    model = onnx.load(folder / "out.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert ("BatchNormalization" in [node.op_type for node in model.graph.node]) == ("--no-fold" in options)
    (got,) = onnxruntime.InferenceSession(folder / "out.onnx").run(["pool"], {"x": x})
    np.testing.assert_allclose(got, net.forward(x=x)["pool"], atol=1e-5)


def test_a_model_that_takes_images(caffe, folder):
    import onnxruntime

    net = save(folder)
    options = ["--preprocess", "--mean", "100,120", "--scale=0.02", "--resize=free", "--layout", "nhwc"]
    result = caffe("export", "deploy.prototxt", "w.caffemodel", "out.onnx", *options)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("input image: N x height x width x 2\noutput pool: N x 3 x 2 x 2\nrandom inputs: ")
    images = np.random.default_rng(1).integers(0, 256, (2, 6, 6, 2)).astype(np.float32)
    (got,) = onnxruntime.InferenceSession(folder / "out.onnx").run(["pool"], {"image": images})
    x = ((images - [100, 120]) * 0.02).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(got, net.forward(x=x)["pool"], atol=1e-5)


def test_a_net_with_data_and_losses(caffe, folder):
    assert caffe("train", "solver.prototxt").returncode == 0
    result = caffe("export", "net.prototxt", "stripes_iter_20.caffemodel", "out.onnx")
    assert result.returncode == 0, result.stderr
    assert "input data: N x " in result.stdout
    assert "output ip2: N x 3\n" in result.stdout
    assert "left out, because they only train or report: accuracy, loss\n" in result.stdout
    assert "label" not in result.stdout


def test_all_that_onnx_cannot_say_is_told_at_once(caffe, folder):
    (folder / "double.py").write_text(DOUBLE)
    save(folder)
    (folder / "deploy.prototxt").write_text(NET + NOT_IN_ONNX)
    result = caffe("export", "deploy.prototxt", "w.caffemodel", "out.onnx")
    assert result.returncode == 1
    assert "2 layers cannot be written in ONNX:" in result.stderr
    for line, name in ((11, "a"), (12, "b")):
        assert f'deploy.prototxt:{line}:1, layer "{name}"' in result.stderr
    assert not (folder / "out.onnx").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["out.tflite"], "'out.tflite' does not end in"),
        (["out.onnx", "--batch", "0"], "'0' is neither a number of at least 1 nor free"),
        (["out.onnx", "--opset", "12"], "opset is 12. Use 13 to 21"),
        (["out.onnx", "--image-order=RGB"], "--image-order says how images are prepared, and none are. Give --prepr"),
        (["out.onnx", "--preprocess", "--resize", "big"], "'big' is not two sizes, as in 300,300"),
    ],
)
def test_arguments_that_make_no_sense(caffe, folder, options, message):
    save(folder)
    result = caffe("export", "deploy.prototxt", "w.caffemodel", *options)
    assert result.returncode
    assert message in result.stderr


@pytest.mark.parametrize("form", ["py", "npz", "safetensors"])
def test_a_module_of_pytorch(tmp_path, capsys, form):
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    save(tmp_path)
    arguments = ["export", *(str(tmp_path / name) for name in ("deploy.prototxt", "w.caffemodel", f"out.{form}"))]
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("input x: N x 2 x 6 x 6\noutput pool: N x 3 x 2 x 2\nrandom inputs: ")
    forms = {"py": ["out.py", "out.safetensors"]}.get(form, [f"out.{form}"])
    assert sorted(path.name for path in tmp_path.glob("out*")) == forms
    assert main([*arguments, "--opset", "13"]) == 1
    assert "--opset is for OUT.onnx" in capsys.readouterr().err
    if form != "py":
        assert main([*arguments, "--preprocess"]) == 1
        assert "--preprocess is for OUT.onnx and OUT.py" in capsys.readouterr().err
