from __future__ import annotations

import numpy as np
import pytest

from caffe_lite import TEST, io
from caffe_lite.errors import ArgumentError, DataError, NetError
from caffe_lite.export import ImageInput, Preparation, to_onnx

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

NET = """
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 2 dim: 3 dim: 6 dim: 8 }} }} {transform} }}
layer {{
  name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param {{ num_output: 4 kernel_size: 3 weight_filler {{ type: "gaussian" std: 0.1 }} }}
}}
"""
MEAN = Preparation(mean=(104, 117, 123), scale=0.017)


@pytest.fixture
def engine() -> str:
    """Graphs are the same on every engine."""
    return "numpy"


def exported(make_net, tmp_path, images: ImageInput, transform: str = ""):
    """Return a net, and the model to which it was exported."""
    net = make_net(NET.format(transform=f"transform_param {{ {transform} }}" if transform else ""), TEST, seed=0)
    to_onnx(net, tmp_path / "net.onnx", images=images)
    onnx.checker.check_model(onnx.load(tmp_path / "net.onnx"), full_check=True)
    return net, onnxruntime.InferenceSession(tmp_path / "net.onnx")


def check(net, session, images: np.ndarray, data: np.ndarray) -> None:
    """Assert that the model computes from images what the net computes from prepared ones."""
    (name,) = [one.name for one in session.get_inputs()]
    assert name == "image"
    net.blobs["data"].reshape(*data.shape)
    wanted = net.forward(data=data)["conv"]
    np.testing.assert_allclose(session.run(None, {name: images.astype(np.float32)})[0], wanted, rtol=1e-4, atol=1e-4)


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)


def test_as_the_transformer_of_pycaffe_does(make_net, tmp_path) -> None:
    given = ImageInput(Preparation(mean=(104, 117, 123), scale=0.5), rgb=True, channels_last=True)
    net, session = exported(make_net, tmp_path, given)
    transformer = io.Transformer({"data": (3, 3, 6, 8)})
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_channel_swap("data", (2, 1, 0))
    transformer.set_mean("data", np.array([104, 117, 123]))
    transformer.set_input_scale("data", 0.5)
    images = pixels(3, 6, 8, 3)
    check(net, session, images, np.array([transformer.preprocess("data", image) for image in images]))


def test_what_transform_param_says(make_net, tmp_path) -> None:
    net, session = exported(make_net, tmp_path, ImageInput(), "mean_value: 100 scale: 0.25 mirror: true crop_size: 6")
    images = pixels(2, 3, 6, 8)
    check(net, session, images, (images - 100) * 0.25)


def test_options_take_precedence(make_net, tmp_path) -> None:
    net, session = exported(make_net, tmp_path, ImageInput(MEAN), "mean_value: 100 scale: 0.25")
    images = pixels(2, 3, 6, 8)
    check(net, session, images, (images - np.array([104, 117, 123])[:, None, None]) * 0.017)


def test_a_mean_image_is_cropped_with_the_images(make_net, tmp_path) -> None:
    mean = pixels(3, 9, 11) / 2
    (tmp_path / "mean.binaryproto").write_bytes(io.array_to_blobproto(mean[None]).SerializeToString())
    path = (tmp_path / "mean.binaryproto").as_posix()
    net, session = exported(make_net, tmp_path, ImageInput(), f'mean_file: "{path}"')
    assert session.get_inputs()[0].shape == ["N", 3, 9, 11]
    images = pixels(2, 3, 9, 11)
    check(net, session, images, (images - mean)[:, :, 1:7, 1:9])


@pytest.mark.parametrize("size", [(4, 5), (13, 16), (6, 8), (6, 20)])
def test_images_of_any_size(make_net, tmp_path, size) -> None:
    cv2 = pytest.importorskip("cv2")
    net, session = exported(make_net, tmp_path, ImageInput(MEAN, size="free", channels_last=True))
    assert session.get_inputs()[0].shape == ["N", "height", "width", 3]
    images = pixels(3, *size, 3)
    resized = np.array([cv2.resize(image, (8, 6)) for image in images])
    check(net, session, images, ((resized - [104, 117, 123]) * 0.017).transpose(0, 3, 1, 2))


def test_resized_and_cropped(make_net, tmp_path) -> None:
    cv2 = pytest.importorskip("cv2")
    given = ImageInput(Preparation(size=(8, 8), rgb=True), size=(20, 15))
    net, session = exported(make_net, tmp_path, given)
    assert session.get_inputs()[0].shape == ["N", 3, 20, 15]
    images = pixels(1, 3, 20, 15)
    resized = cv2.resize(images[0].transpose(1, 2, 0), (8, 8)).transpose(2, 0, 1)
    check(net, session, images, resized[None, ::-1, 1:7])


def test_the_size_of_resize_param(make_net, tmp_path) -> None:
    transform = "resize_param { height: 6 width: 9 interp_mode: AREA }"
    _, session = exported(make_net, tmp_path, ImageInput(), transform)
    assert session.get_inputs()[0].shape == ["N", 3, 6, 9]
    with pytest.raises(NetError, match="resize_param has WARP and AREA"):
        exported(make_net, tmp_path, ImageInput(size="free"), transform)


def test_nothing_to_do(make_net, tmp_path) -> None:
    net, session = exported(make_net, tmp_path, ImageInput())
    images = pixels(2, 3, 6, 8)
    check(net, session, images, images)


def test_what_does_not_fit(make_net, tmp_path) -> None:
    with pytest.raises(DataError, match="mean_value is given 2 times, the image has 3 channels"):
        exported(make_net, tmp_path, ImageInput(Preparation(mean=(1, 2))))
    with pytest.raises(ArgumentError, match="images of 5 x 8 are smaller than the net's input, 6 x 8"):
        exported(make_net, tmp_path, ImageInput(Preparation(size=(5, 8))))
    net = make_net(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }'
        """
        layer { name: "y" type: "ReLU" bottom: "x" top: "y" }""",
        TEST,
    )
    with pytest.raises(NetError, match=r"the net takes x \(2,\)\. Preparation needs one input of images"):
        to_onnx(net, tmp_path / "net.onnx", images=ImageInput())


def test_a_preparation_that_differs_leaves_no_file(make_net, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("caffe_lite.export.preparing.Preparing._mean", lambda self: None)
    with pytest.raises(NetError, match="The first blob to differ is 'conv'"):
        exported(make_net, tmp_path, ImageInput(MEAN))
    assert not list(tmp_path.glob("net.onnx*"))
