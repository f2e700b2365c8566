"""LRCN: a net for images, an LSTM after it, a score for every frame of a video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe_lite import TEST, TRAIN, Net
from caffe_lite.inspection.costs import multiply_adds
from caffe_lite.proto.caffe_pb2 import NetParameter
from caffe_lite.proto.prototxt import read_net

FOLDER = Path(__file__).parents[2] / "configs" / "lrcn"
LEARNED = 44_570_341
CLIPS = 8


def config(shrunk: int = 1) -> NetParameter:
    """Return the net with noise instead of databases; fewer maps and smaller frames if shrunk, else weights of zero."""
    param = read_net(FOLDER / "net.prototxt").message
    for layer in param.layer:
        if layer.type == "Convolution" and shrunk > 1:
            layer.convolution_param.num_output //= shrunk
        if shrunk == 1:
            layer.convolution_param.ClearField("weight_filler")
            layer.inner_product_param.ClearField("weight_filler")
        if layer.type == "Input" and shrunk > 1:
            layer.input_param.shape[0].dim[2:] = [67, 67]
        if layer.type == "Data":
            assert layer.data_param.batch_size == 16 * CLIPS
            layer.type = "DummyData"
            layer.dummy_data_param.shape.add(dim=[16 * CLIPS, 3, 67, 67])
            layer.dummy_data_param.shape.add(dim=[16 * CLIPS])
            layer.dummy_data_param.data_filler.add(type="gaussian", std=30)
            layer.dummy_data_param.data_filler.add(type="constant", value=100)
    return param


def test_deploy() -> None:
    net = Net(config(), TEST, stages=["deploy"])
    assert net.inputs == ["data", "cont"] and net.outputs == ["prob"]
    assert net.blobs["prob"].shape == (16, 1, 101)
    assert sum(param.blob.count for param in net.learnable_params) == LEARNED
    for file in ("net.prototxt", "README.md"):
        assert f"{LEARNED:,}" in (FOLDER / file).read_text(encoding="utf-8")
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"{sum(blob.count for blob in net.params['lstm1']):,} in the LSTM" in readme
    assert f"{sum(map(multiply_adds, net.nodes)) // 16:,} per frame" in readme


def test_the_gradient_reaches_every_parameter(engine: str) -> None:
    net = Net(config(shrunk=16), TRAIN, engine=engine, seed=1)
    assert net.outputs == ["loss"]
    net.forward()
    net.backward()
    assert net.blobs["loss"].data == pytest.approx(np.log(101), rel=0.2)
    np.testing.assert_array_equal(net.blobs["cont"].data, np.repeat([[0.0]] + [[1.0]] * 15, CLIPS, 1))
    assert net.blobs["steps"].shape == (16, CLIPS, 4096)
    for param in net.learnable_params:
        diff = param.blob.ops.host_view(param.blob.diff)
        assert np.isfinite(diff).all() and diff.any(), (param.owner.name, param.index)


def test_training_and_testing_have_the_parameters_of_deploy() -> None:
    nets = [Net(config(shrunk=16), *state) for state in ((TRAIN,), (TEST,), (TEST, 0, ["deploy"]))]
    shapes = [{name: [blob.shape for blob in blobs] for name, blobs in net.params.items()} for net in nets]
    fc6 = [shape.pop("fc6") for shape in shapes]
    assert shapes[0] == shapes[1] == shapes[2]
    assert fc6[0] == fc6[1]
    assert set(nets[1].outputs) == {"accuracy", "loss"}


def test_clips_do_not_see_each_other(engine: str) -> None:
    """The result for frame t of a clip depends on the frames of this clip up to t, and on no others."""
    net = Net(config(shrunk=16), TEST, engine=engine, seed=1)
    net.forward()
    before = net.blobs["fc8-final"].data.copy()
    clip, t = 3, 5
    net.blobs["data"].data[t * CLIPS + clip] += 50
    net.forward(start="conv1")
    changed = np.abs(net.blobs["fc8-final"].data - before).max(2) > 0
    assert changed[t:, clip].all()
    changed[t:, clip] = False
    assert not changed.any()


def test_a_video_goes_on_from_call_to_call(engine: str) -> None:
    net = Net(config(shrunk=16), TEST, stages=["deploy"], engine=engine, seed=1)
    video = np.random.default_rng(0).normal(0, 60, (32, 3, 67, 67))

    def scores(frames: np.ndarray, first: int) -> np.ndarray:
        net.blobs["data"].data[...] = frames
        net.blobs["cont"].data[...] = 1
        net.blobs["cont"].data[0] = first
        return net.forward(["fc8-final"])["fc8-final"].copy()

    scores(video[:16], 0)
    going_on, anew = scores(video[16:], 1), scores(video[16:], 0)
    assert np.abs(going_on[0] - anew[0]).max() > 0
    scores(video[:16], 0)
    np.testing.assert_allclose(scores(video[16:], 1), going_on, rtol=1e-5, atol=1e-7)
