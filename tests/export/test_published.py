"""Nets of ``configs`` and published models: exported to ONNX, imported from there and exported again, all agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caffe_lite
from caffe_lite import TEST
from caffe_lite.agreement.comparing import TOLERANCE, gap, inputs
from caffe_lite.agreement.onnx_running import OnnxRun
from caffe_lite.export import from_onnx, to_onnx
from caffe_lite.proto.caffe_pb2 import NetParameter
from caffe_lite.proto.prototxt import read_net

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(path.parent.name for path in ROOT.glob("configs/*/net.prototxt"))
MODELS = sorted(path.parent for path in ROOT.glob("../shared/corpus/models/*/weights.*"))
WIDEST = 256  # wider inner products become so wide: they differ in nothing but the time that they take
SIZES = {"fcn8s": 100, "vgg16": 64, "vdsr_adam": 64, "xilinx_enet": 128}  # of the images, for nets that take any size


def with_few_pixels(path: Path, name: str) -> NetParameter:
    """Read a net, and let it take two images at most, and small ones if it can."""
    net = NetParameter()
    net.CopyFrom(read_net(path).message)
    for layer in net.layer:
        for shape in layer.input_param.shape:
            if len(shape.dim) == 4 and name in SIZES:
                shape.dim[2:] = [SIZES[name]] * 2
            if len(layer.top) == 1:
                shape.dim[0] = min(shape.dim[0], 2)
    return net


def config(name: str) -> caffe_lite.Net:
    """Return a net as it is deployed, with random weights, and statistics that are not those of a new net."""
    net = with_few_pixels(ROOT / "configs" / name / "net.prototxt", name)
    for layer in net.layer:
        for param in (layer.inner_product_param, layer.convolution_param):
            if param.num_output > 4000:
                param.num_output = WIDEST
        sizes = layer.reshape_param.shape.dim
        sizes[:] = [WIDEST if size > 4000 else size for size in sizes]
    made = caffe_lite.Net(net, TEST, stages=["deploy"], engine="numpy", seed=0)
    rng = np.random.default_rng(0)
    for node in made.nodes:
        if node.layer.type in ("BatchNorm", "BN", "Scale"):
            for blob in made.params[node.name]:
                blob.data[...] = rng.uniform(0.5, 1.5, blob.data.shape)
    return made


def model(folder: Path) -> caffe_lite.Net:
    try:
        (weights,) = folder.glob("weights.*")
        net = with_few_pixels(folder / "deploy.prototxt", folder.name)
        return caffe_lite.Net(net, TEST, weights=weights, engine="numpy", seed=0)
    except caffe_lite.errors.CaffeError as error:
        pytest.skip(f"it needs files that are not there: {error}")


def check(net: caffe_lite.Net, folder: Path) -> None:
    """Compare a net with its ONNX model, and with the model of the net that is imported from that model.

    The exports compare them over zero and large inputs too. They allow for the rounding that a net itself enlarges; so
    does this.
    """
    export = to_onnx(net, folder / "net.onnx", batch=net.blobs[net.inputs[0]].data.shape[0])
    imported = from_onnx(folder / "net.onnx")
    to_onnx(imported.net, folder / "again.onnx")
    kind, fed = next(inputs(net, export.written.inputs))
    (compared,) = (one for one in export.comparisons if one.kind == kind)
    tolerance = max(TOLERANCE, 2 * compared.rounding)
    for name, values in fed.items():
        net.blobs[name].data[...] = values
    net.forward()
    for path in ("net.onnx", "again.onnx"):
        got = OnnxRun(folder / path)(fed)
        for name in export.written.outputs:
            assert gap(name, net.blobs[name].data.astype(float), got[name]).size < tolerance, path


@pytest.mark.parametrize("name", CONFIGS)
def test_a_net_of_configs(name, tmp_path) -> None:
    check(config(name), tmp_path)


@pytest.mark.parametrize("folder", MODELS, ids=[folder.name for folder in MODELS])
def test_a_published_model(folder, tmp_path) -> None:
    check(model(folder), tmp_path)
