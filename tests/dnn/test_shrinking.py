"""shrinkCaffeModel: weights in half precision, which the same nets read."""

import numpy as np
import pytest

from caffe_lite import dnn, io
from caffe_lite.errors import WeightsError
from caffe_lite.proto.arrays import array_to_blobproto
from caffe_lite.proto.caffe_pb2 import NetParameter


def test_weights_take_half_the_room(tmp_path):
    values = np.random.default_rng(0).standard_normal((8, 100)).astype("f")
    model = NetParameter()
    for name, layer_type in (("ip", "InnerProduct"), ("scale", "Scale")):
        model.layer.add(name=name, type=layer_type).blobs.append(array_to_blobproto(values))
    source, target = tmp_path / "net.caffemodel", tmp_path / "half.caffemodel"
    source.write_bytes(model.SerializeToString())
    dnn.shrinkCaffeModel(source, target)
    found = io.load_weights(target)
    np.testing.assert_array_equal(found["ip"][0], values.astype(np.float16).astype("f"))
    np.testing.assert_array_equal(found["scale"][0], values)
    assert target.stat().st_size < 0.8 * source.stat().st_size
    dnn.shrinkCaffeModel(source, target, ["Scale"])
    np.testing.assert_array_equal(io.load_weights(target)["ip"][0], values)
    with pytest.raises(WeightsError, match="there is no such file"):
        dnn.shrinkCaffeModel(tmp_path / "none", target)
