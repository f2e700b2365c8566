"""Classifier and Detector, against the results of their nets for inputs made by hand."""

from __future__ import annotations

import numpy as np
import pytest

import caffe_lite as caffe
from caffe_lite import io
from caffe_lite.errors import DataError, EngineError, NetError

NET = """
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 5 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
        inner_product_param { num_output: 6 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
RANDOM = np.random.default_rng(0)
MEAN = np.array([10.0, 20, 30])


@pytest.fixture
def files(tmp_path):
    (tmp_path / "net.prototxt").write_text(NET)
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST, seed=3)
    net.save(tmp_path / "net.caffemodel")
    return str(tmp_path / "net.prototxt"), str(tmp_path / "net.caffemodel")


def prepared(image):
    return image[:, :, ::-1].transpose(2, 0, 1) * 255 - MEAN[:, None, None]


def scores(files, crops):
    net = caffe.Net(files[0], caffe.TEST, weights=files[1])
    return net.forward_all(data=np.array([prepared(crop) for crop in crops], np.float32))["prob"]


SETTINGS = {"mean": MEAN, "raw_scale": 255, "channel_swap": (2, 1, 0)}


def test_the_center(files):
    images = [RANDOM.random((12, 14, 3)), RANDOM.random((9, 9, 3))]
    classifier = caffe.Classifier(*files, image_dims=(10, 11), **SETTINGS)
    found = classifier.predict(images, oversample=False)
    crops = [io.resize_image(image, (10, 11))[1:9, 1:9] for image in images]
    np.testing.assert_allclose(found, scores(files, crops), rtol=1e-4)


def test_the_mean_of_ten_crops(files):
    image = RANDOM.random((12, 14, 3))
    classifier = caffe.Classifier(*files, image_dims=(10, 11), **SETTINGS)
    found = classifier.predict([image])
    crops = io.oversample([io.resize_image(image, (10, 11))], (8, 8))
    np.testing.assert_allclose(found, scores(files, crops).mean(0)[None], rtol=1e-4)


def test_without_image_dims_the_whole_image_counts(files):
    image = RANDOM.random((12, 14, 3))
    found = caffe.Classifier(*files, **SETTINGS).predict([image], oversample=False)
    np.testing.assert_allclose(found, scores(files, [io.resize_image(image, (8, 8))]), rtol=1e-4)


def test_a_classifier_is_a_net(files):
    classifier = caffe.Classifier(*files)
    assert isinstance(classifier, caffe.Net) and classifier.outputs == ["prob"]
    for wanted in (NetError, IndexError):
        with pytest.raises(wanted, match="there are no images"):
            classifier.predict([])
    with pytest.raises(NetError, match="smaller than what the net takes"):
        caffe.Classifier(*files, image_dims=(7, 8))


def test_the_gpu_of_2014(files, monkeypatch):
    chosen = []
    for name in ("cpu", "gpu"):
        monkeypatch.setattr(f"caffe_lite.classifier.set_mode_{name}", lambda name=name: chosen.append(name))
    image = RANDOM.random((12, 14, 3))
    for gpu in (False, True):
        found = caffe.Classifier(*files, gpu=gpu, **SETTINGS).predict([image], oversample=False)
        np.testing.assert_allclose(found, scores(files, [io.resize_image(image, (8, 8))]), rtol=1e-4)
    caffe.Detector(*files, gpu=False)
    assert chosen == ["cpu", "gpu", "cpu"]


def test_nets_without_images(tmp_path):
    for text, what in [(NET.replace("dim: 8 dim: 8", ""), "takes no images"), ('name: "empty"', "has no input")]:
        (tmp_path / "net.prototxt").write_text(text.replace('type: "Convolution"', 'type: "InnerProduct"').replace(
            'convolution_param { num_output: 5 kernel_size: 3', 'inner_product_param { num_output: 5'))  # fmt: skip
        with pytest.raises(NetError, match=what):
            caffe.Classifier(tmp_path / "net.prototxt")


@pytest.fixture
def photo(tmp_path):
    cv2 = pytest.importorskip("cv2")
    cv2.imwrite(str(tmp_path / "photo.png"), RANDOM.integers(0, 256, (20, 30, 3), np.uint8))
    return str(tmp_path / "photo.png")


WINDOWS = np.array([[0, 0, 10, 12], [5, 6, 20, 30]])


def test_windows(files, photo):
    found = caffe.Detector(*files, **SETTINGS).detect_windows([(photo, WINDOWS)])
    image = io.load_image(photo)
    crops = [io.resize_image(image[a:c, b:d], (8, 8)) for a, b, c, d in WINDOWS]
    np.testing.assert_allclose([one["prediction"] for one in found], scores(files, crops), rtol=1e-4)
    assert [one["filename"] for one in found] == [photo] * 2
    np.testing.assert_array_equal([one["window"] for one in found], WINDOWS)
    assert caffe.Detector(*files).detect_windows([]) == []


def test_windows_with_their_surroundings(files):
    detector = caffe.Detector(*files, context_pad=2, **SETTINGS)
    image = RANDOM.random((20, 30, 3)).astype(np.float32)
    # Rows 8 to 11 and columns 10 to 13 are 4 x 4; twice that around their centre gives the net's 8 x 8 pixels.
    crop = detector.crop(image, np.array([8, 10, 11, 13]))
    np.testing.assert_allclose(crop[:7, :7], io.resize_image(image[6:14, 8:16], (8, 8))[:7, :7], atol=0.5)
    assert crop.shape == (8, 8, 3)
    # At the corner of the image, the mean replaces the outside, in the image's own order and scale.
    corner = detector.crop(image, [0, 0, 3, 3])
    outside = np.broadcast_to(MEAN[::-1] / 255, (8, 8, 3))
    np.testing.assert_allclose(corner[0], outside[0], rtol=1e-6)
    np.testing.assert_allclose(corner[:, 0], outside[0], rtol=1e-6)
    assert not np.allclose(corner[4:, 4:], outside[4:, 4:])


def test_the_mean_of_pixels_fills_up_too(files):
    mean = RANDOM.random((3, 8, 8))
    detector = caffe.Detector(*files, mean=mean, context_pad=1)
    np.testing.assert_allclose(detector.crop_mean, mean.transpose(1, 2, 0), rtol=1e-6)
    assert (caffe.Detector(*files, context_pad=1).crop_mean == 0).all()


def test_what_a_detector_refuses(files, photo):
    detector = caffe.Detector(*files)
    with pytest.raises(DataError, match="there is no window"):
        detector.detect_windows([(photo, [[5, 5, 5, 9]])])
    with pytest.raises(EngineError, match="ind windows by other means"):
        detector.detect_selective_search([photo])
    with pytest.raises(NetError, match="leaves nothing"):
        caffe.Detector(*files, context_pad=4)
