"""Layers whose classes scripts register."""

import numpy as np
import pytest

from caffe_lite import dnn
from caffe_lite.errors import CaffeError
from caffe_lite.proto.arrays import array_to_blobproto
from caffe_lite.proto.caffe_pb2 import NetParameter

NET = b"""
input: "data"
layer { name: "small" type: "Pooling" bottom: "data" top: "small"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "crop" type: "Crop" bottom: "data" bottom: "small" top: "crop"
  crop_param { axis: 2 offset: 1 offset: 2 } }
layer { name: "after" type: "Power" bottom: "crop" top: "after" power_param { scale: 2 } }
"""
IMAGE = np.arange(64, dtype="f").reshape(1, 1, 8, 8)


class CropFromTheMiddle:
    """OpenCV's sample of edge detection crops so."""

    def __init__(self, params, blobs):
        self.params, self.blobs = params, blobs

    def getMemoryShapes(self, inputs):
        self.begin = [(a - b) // 2 for a, b in zip(inputs[0][2:], inputs[1][2:], strict=True)]
        return [[*inputs[0][:2], *inputs[1][2:]]]

    def forward(self, inputs):
        (y, x), (height, width) = self.begin, inputs[1].shape[2:]
        return [inputs[0][:, :, y : y + height, x : x + width]]


@pytest.fixture
def register():
    types = []

    def register(name, cls):
        dnn.registerLayer(name, cls)
        types.append(name)

    yield register
    for name in types:
        dnn.unregisterLayer(name)


def test_it_takes_the_place_of_a_layer_of_ours(register):
    register("Crop", CropFromTheMiddle)
    net = dnn.readNetFromCaffe(NET)
    net.setInput(IMAGE)
    np.testing.assert_array_equal(net.forward(), 2 * IMAGE[:, :, 2:6, 2:6])
    net.setInput(IMAGE[:, :, :4])
    np.testing.assert_array_equal(net.forward(), 2 * IMAGE[:, :, 1:3, 2:6])
    assert net.getLayer("crop").type == "Crop"


def test_another_for_the_same_type_hides_it_until_it_is_unregistered(register):
    class Nothing(CropFromTheMiddle):
        def forward(self, inputs):
            return [0 * super().forward(inputs)[0]]

    def result():
        net = dnn.readNetFromCaffe(NET)
        net.setInput(IMAGE)
        return net.forward("crop")[0, 0, 0, 0]

    register("Crop", CropFromTheMiddle)
    register("Crop", Nothing)
    assert result() == 0
    dnn.unregisterLayer("Crop")
    assert result() == 18
    dnn.unregisterLayer("Crop")
    assert result() == 10  # Caffe's own, at the offset


def test_its_parameters_and_arrays(register):
    made = []

    class Doubled:
        def __init__(self, params, blobs):
            made.append((params, [blob.shape for blob in blobs]))
            self.factor = blobs[0][0, 0]

        def getMemoryShapes(self, inputs):
            return inputs

        def forward(self, inputs):
            return [self.factor * inputs[0]]

    register("Doubled", Doubled)
    model = NetParameter()
    model.layer.add(name="d").blobs.append(array_to_blobproto(np.array([2.0])))
    net = dnn.readNetFromCaffe(
        b'input: "data" layer { name: "d" type: "Doubled" bottom: "data" top: "d" convolution_param { '
        b"num_output: 3 bias_term: false kernel_size: 3 pad: 1 pad: 2 engine: CAFFE "
        b'weight_filler { type: "xavier" } } }',
        model.SerializeToString(),
    )
    net.setInput(IMAGE)
    np.testing.assert_array_equal(net.forward(), 2 * IMAGE)
    net.getLayer("d").blobs = [np.array([3.0])]
    np.testing.assert_array_equal(net.forward(), 3 * IMAGE)
    params = {"bias_term": 0, "engine": "CAFFE", "kernel_size": 3, "num_output": 3, "pad": (1, 2), "type": "xavier"}
    assert made == [(params, [(1, 1)])] * 2


def test_what_it_returns_must_fit(register):
    class Wrong(CropFromTheMiddle):
        def forward(self, inputs):
            return [inputs[0]]

    register("Crop", Wrong)
    net = dnn.readNetFromCaffe(NET)
    net.setInput(IMAGE)
    with pytest.raises(CaffeError, match=r"layer \"crop\" .*output 0 of forward is of shape \(1, 1, 8, 8\)"):
        net.forward()
    with pytest.raises(CaffeError, match="Give a class"):
        dnn.registerLayer("Crop", "CropFromTheMiddle")
