from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

NET = """layer {{ name: "d" type: "CoSData" top: "data" top: "cont" source_class: "com.yahoo.ml.caffe.DataFrameSource"
    cos_data_param {{ source: "hdfs:///nowhere" batch_size: {batch}
      top {{ name: "data" type: ENCODED_IMAGE channels: 3 height: 8 width: 9
            out_height: 5 transform_param {{ crop_h: 5 }} }}
      top {{ name: "cont" type: INT_ARRAY channels: {channels} sample_num_axes: {axes} transpose: true }} {more} }} }}
    layer {{ name: "y" type: "Power" bottom: "data" top: "y" power_param {{ scale: 2 }} }}"""


def text(batch=2, channels=7, axes=1, more=""):
    return NET.format(batch=batch, channels=channels, axes=axes, more=more)


def test_what_is_written_is_used(make_net) -> None:
    net = make_net(text())
    assert net.blobs["data"].shape == (2, 3, 5, 9)
    assert net.blobs["cont"].shape == (7, 2)
    for value in (1, 3):
        net.blobs["data"].data[...] = value
        np.testing.assert_array_equal(net.forward()["y"], 2 * value)


def test_a_pass_before_anything_is_written(make_net) -> None:
    with pytest.raises(LayerError, match="nothing has been written into its tops"):
        make_net(text()).forward()


@pytest.mark.parametrize(
    ("kw", "what"),
    [
        ({"batch": 0}, "batch_size is 0"),
        ({"channels": 0}, r"the sizes of 'cont' are \(0,\)"),
        ({"axes": 2}, "sample_num_axes of 'cont' is 2 with transpose"),
        ({"more": 'top { name: "third" }'}, "cos_data_param describes 3 tops, and there are 2"),
    ],
)
def test_what_is_refused(make_net, kw, what) -> None:
    with pytest.raises(LayerError, match=what):
        make_net(text(**kw))
