"""Models: nets together with how images get into them, and what their outputs mean."""

import numpy as np
import pytest

from caffe_lite import dnn
from caffe_lite.errors import CaffeError
from caffe_lite.proto.arrays import array_to_blobproto
from caffe_lite.proto.caffe_pb2 import NetParameter

INPUT = b'input: "data" input_dim: 1 input_dim: 3 input_dim: 10 input_dim: 12 '
IMAGE = np.random.default_rng(2).integers(0, 256, (20, 24, 3), np.uint8)


def net_of(layers: bytes) -> dnn.Net:
    return dnn.readNetFromCaffe(INPUT + layers)


def test_an_image_becomes_the_input():
    net = net_of(b'layer { name: "y" type: "Power" bottom: "data" top: "y" }')
    model = dnn.Model(net).setInputScale(0.5).setInputMean((1, 2, 3)).setInputSwapRB(True).setInputCrop(False)
    (found,) = model.predict(IMAGE)
    np.testing.assert_array_equal(found, dnn.blobFromImage(IMAGE, 0.5, (12, 10), (1, 2, 3), True))
    model.setInputParams(2.0, (24, 20))
    np.testing.assert_array_equal(model.predict(IMAGE)[0], 2.0 * np.moveaxis(IMAGE, -1, 0)[None])
    assert model.setInputSize(6, 5).predict(IMAGE)[0].shape == (1, 3, 5, 6)
    model.setInputScale((1, 2, 3)).setInputSize((24, 20))
    np.testing.assert_array_equal(model.predict(IMAGE)[0][0, 2], 3.0 * IMAGE[:, :, 2])


def test_models_of_files(tmp_path):
    prototxt, weights = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    prototxt.write_bytes(INPUT + b'layer { name: "y" type: "Power" bottom: "data" top: "y" }')
    model = NetParameter()
    model.layer.add(name="other")
    weights.write_bytes(model.SerializeToString())
    for files in ((prototxt, weights), (weights, prototxt)):
        assert dnn.Model(*map(str, files)).predict(IMAGE)[0].shape == (1, 3, 10, 12)


def test_classes():
    net = net_of(
        b'layer { name: "y" type: "Pooling" bottom: "data" top: "y" pooling_param { pool: AVE global_pooling: true } }'
    )
    image = np.full((10, 12, 3), (5, 9, 7), np.uint8)
    model = dnn.ClassificationModel(net)
    assert model.classify(image) == (1, 9.0)
    model.setEnableSoftmaxPostProcessing(True)
    assert model.getEnableSoftmaxPostProcessing()
    assert model.classify(image) == (1, pytest.approx(1 / (1 + np.exp(-2) + np.exp(-4))))


def test_classes_of_pixels_and_points():
    net = net_of(b'layer { name: "y" type: "Power" bottom: "data" top: "y" }')
    image = np.zeros((10, 12, 3), np.uint8)
    image[2, 3, 0], image[4:, 6:, 1] = 9, 8
    mask = dnn.SegmentationModel(net).segment(image)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, (image[:, :, 1] > 0).astype(np.uint8))
    image[7, 8, 1] = 10
    points = dnn.KeypointsModel(net).estimate(image)
    np.testing.assert_array_equal(points, [[3, 2], [8, 7]])
    larger = image.repeat(2, 0).repeat(3, 1)
    np.testing.assert_array_equal(dnn.KeypointsModel(net).estimate(larger, 9.5), [[-1, -1], [24, 14]])


DETECTOR = b"""
layer { name: "places" type: "Convolution" bottom: "data" top: "places"
  convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "scores" type: "Convolution" bottom: "data" top: "scores"
  convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "p" type: "Permute" bottom: "places" top: "p" permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "s" type: "Permute" bottom: "scores" top: "s" permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "pf" type: "Flatten" bottom: "p" top: "pf" }
layer { name: "sf" type: "Flatten" bottom: "s" top: "sf" }
layer { name: "prior" type: "PriorBox" bottom: "data" bottom: "data" top: "prior"
  prior_box_param { min_size: 4 variance: 0.1 clip: false } }
layer { name: "found" type: "DetectionOutput" bottom: "pf" bottom: "sf" bottom: "prior" top: "found"
  detection_output_param { num_classes: 2 keep_top_k: 5 confidence_threshold: 0.4 code_type: CENTER_SIZE
    nms_param { nms_threshold: 0.3 } } }
"""


def detector() -> dnn.DetectionModel:
    """Return a model whose scores of class 1 are the first channel / 255, and whose boxes are of 4 x 4 pixels."""
    model = NetParameter()
    for name, weights in (("places", np.zeros((4, 3, 1, 1))), ("scores", np.zeros((2, 3, 1, 1)))):
        if name == "scores":
            weights[1, 0] = 1 / 255
        blobs = [array_to_blobproto(weights), array_to_blobproto(np.zeros(len(weights)))]
        model.layer.add(name=name).blobs.extend(blobs)
    return dnn.DetectionModel(dnn.readNetFromCaffe(INPUT + DETECTOR, model.SerializeToString()))


def test_objects():
    image = np.zeros((10, 12, 3), np.uint8)
    image[4, 5, 0], image[8, 9, 0], image[0, 0, 0] = 255, 153, 128
    classes, scores, boxes = detector().detect(image)
    assert (classes.dtype, scores.dtype, boxes.dtype) == (np.int32, np.float32, np.int32)
    np.testing.assert_array_equal(classes, [1, 1, 1])
    np.testing.assert_allclose(scores, [1, 0.6, 128 / 255], rtol=1e-6)
    np.testing.assert_array_equal(boxes[0], [3, 2, 5, 5])  # x, y, width, height, the last pixels included
    assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] + boxes[:, 2:] <= [12, 10]).all()
    assert detector().detect(image, 0.9)[1].tolist() == [1]
    assert detector().detect(0 * image) == ((), (), ())
    assert detector().setNmsAcrossClasses(True).getNmsAcrossClasses()


def test_what_is_refused():
    model = dnn.DetectionModel(net_of(b'layer { name: "y" type: "Power" bottom: "data" top: "y" }'))
    with pytest.raises(CaffeError, match="the last layer is 'y', a Power"):
        model.detect(IMAGE)
    with pytest.raises(CaffeError, match="the size of the input is not known"):
        model.setInputSize(0, 0).predict(IMAGE)
    two = net_of(
        b'layer { name: "y" type: "Power" bottom: "data" top: "y" } '
        b'layer { name: "z" type: "Power" bottom: "data" top: "z" }'
    )
    with pytest.raises(CaffeError, match="the net has 2 outputs, not one"):
        dnn.ClassificationModel(two).classify(IMAGE)
