"""Binary nets of forks, which number their fields otherwise, are read as what they mean."""

import logging
import struct

import numpy as np
import pytest

from caffe_lite.net.weights import read_caffemodel, read_weights
from caffe_lite.proto import caffe_pb2
from caffe_lite.proto.forks import RENUMBERED, _parsed
from caffe_lite.proto.renumbering import in_our_numbers


def varint(number):
    return bytes([number & 0x7F | 0x80]) + varint(number >> 7) if number > 0x7F else bytes([number])


def field(number, value):
    """Return the bytes of a field: of an integer, a float, text, or a message given by its bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def layer(kind, *fields):
    return field(100, field(1, kind.lower()) + field(2, kind) + b"".join(fields))


def read(tmp_path, *layers):
    (tmp_path / "net.caffemodel").write_bytes(field(1, "net") + b"".join(layers))
    return read_caffemodel(tmp_path / "net.caffemodel")


def test_intels_smooth_l1_loss_has_the_number_of_bvlcs_clip(tmp_path):
    net = read(tmp_path, layer("SmoothL1Loss", field(148, field(1, 3.0)), field(149, "MKLDNN")))
    assert net.layer[0].smooth_l1_loss_param.sigma == 3
    assert net.layer[0].engine == "MKLDNN"
    assert not net.layer[0].HasField("clip_param")


def test_a_clip_stays_a_clip(tmp_path):
    net = read(tmp_path, layer("Clip", field(148, field(1, 0.0) + field(2, 6.0))))
    assert net.layer[0].clip_param.max == 6


def test_microsofts_roi_pooling_and_its_normalisation(tmp_path):
    net = read(
        tmp_path,
        layer("ROIPooling", field(147, field(1, 7) + field(2, 7) + field(3, 0.0625))),
        layer("PSROIPooling", field(149, field(1, 0.0625) + field(2, 21) + field(3, 7))),
        layer("SoftmaxWithLoss", field(101, field(3, 3) + field(4, 128.0))),
        layer("SoftmaxWithLoss", field(101, field(3, 4))),
    )
    assert net.layer[0].roi_pooling_param.pooled_w == 7
    assert net.layer[1].psroi_pooling_param.group_size == 7
    assert net.layer[2].loss_param.normalization == caffe_pb2.LossParameter.PRE_FIXED
    assert net.layer[3].loss_param.normalization == caffe_pb2.LossParameter.NONE


def test_mini_caffe_numbers_bvlcs_parameters_otherwise(tmp_path):
    net = read(
        tmp_path,
        layer("Convolution", field(206, field(1, 64) + field(4, 3))),
        layer("BN", field(204, field(1, field(1, "constant")) + field(4, 0.001))),
    )
    assert net.layer[0].convolution_param.num_output == 64
    assert net.layer[1].bn_param.slope_filler.type == "constant"
    assert net.layer[1].bn_param.eps == pytest.approx(0.001)


def test_nvidias_types_of_numbers(tmp_path):
    net = read(
        tmp_path,
        layer("Convolution", field(106, field(1, 8)), field(145, 2), field(146, 2), field(148, 1)),
        layer("RNN", field(151, field(1, 5))),
        field(11, 2),
    )
    assert net.layer[0].forward_type == caffe_pb2.FLOAT16
    assert net.layer[0].backward_math == caffe_pb2.FLOAT
    assert net.layer[1].recurrent_param.num_output == 5
    assert net.default_forward_type == caffe_pb2.FLOAT16


def test_segnets_loss(tmp_path):
    loss = field(3, 1) + field(4, 0.2) + field(4, 1.5)
    net = read(tmp_path, layer("SoftmaxWithLoss", field(101, loss)), layer("Upsample", field(137, field(1, 2))))
    assert net.layer[0].loss_param.weight_by_label_freqs
    assert list(net.layer[0].loss_param.class_weighting) == pytest.approx([0.2, 1.5])
    assert net.layer[1].upsample_param.scale == 2


def test_our_own_files_are_left_alone():
    net = caffe_pb2.NetParameter()
    net.layer.add(name="roi", type="ROIPooling").roi_pooling_param.pooled_w = 7
    net.layer.add(name="loss", type="SoftmaxWithLoss").loss_param.normalization = caffe_pb2.LossParameter.PRE_FIXED
    net.layer.add(name="pool", type="Pooling").pooling_param.ceil_mode = False
    data = net.SerializeToString()
    assert in_our_numbers(data) == data


def test_weights_are_read_in_spite_of_fields_that_fit_nothing(tmp_path, caplog):
    blob = caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=[2]), data=[1, 2]).SerializeToString()
    with caplog.at_level(logging.WARNING, "caffe_lite"):
        (tmp_path / "x.caffemodel").write_bytes(
            layer("Odd", field(7, blob), field(149, b"\xff\x01")) + layer("Odder", field(149, b"\xff\x01"))
        )
        read_first = read_weights(tmp_path / "x.caffemodel")
    assert np.array_equal(read_first[0].blobs[0], [1, 2])
    assert len(caplog.records) == 1
    assert "149" in caplog.records[0].getMessage()


def test_what_is_no_net_is_returned():
    for data in (b"", b"\xff" * 9, field(100, b"\xff\xff"), field(11, 1)[:-1]):
        assert in_our_numbers(data) == data


def test_messages_inside_messages_without_end_are_returned():
    data = b""
    for _ in range(2000):
        data = field(100, field(2032, field(1, data)))  # a layer with moe_param { gating_net { ... } }
    assert in_our_numbers(data) is data


def test_renumbered_fields_are_in_the_schema():
    for owner, names in _parsed(RENUMBERED).items():
        message, _, enum = owner.partition(".")
        descriptor = caffe_pb2.DESCRIPTOR.message_types_by_name[message]
        known = descriptor.enum_types_by_name[enum].values_by_name if enum else descriptor.fields_by_name
        assert set(names) <= set(known)
