from __future__ import annotations

import numpy as np
import pytest

from caffe_lite import io
from caffe_lite.errors import DataError
from caffe_lite.proto import caffe_pb2


@pytest.mark.parametrize("shape", [(), (3,), (2, 0, 4), (2, 3, 4, 5), (1, 2, 3, 4, 5)])
def test_arrays_survive_a_blobproto(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    blob = caffe_pb2.BlobProto.FromString(io.array_to_blobproto(array, 2 * array).SerializeToString())
    assert tuple(blob.shape.dim) == shape
    assert list(blob.data) == array.ravel().tolist()
    assert np.array_equal(io.blobproto_to_array(blob), array) and io.blobproto_to_array(blob).shape == shape
    assert np.array_equal(io.blobproto_to_array(blob, return_diff=True), 2 * array)


def test_memory_order_does_not_matter() -> None:
    array = np.arange(24, dtype=np.float64).reshape(2, 3, 4).transpose(2, 0, 1)
    assert np.array_equal(io.blobproto_to_array(io.array_to_blobproto(array)), array)


def test_the_old_four_dimensional_form_keeps_four_axes() -> None:
    blob = caffe_pb2.BlobProto(num=1, channels=1, height=2, width=3, data=range(6))
    assert io.blobproto_to_array(blob).shape == (1, 1, 2, 3)
    assert io.blobproto_to_array(caffe_pb2.BlobProto(num=0, channels=3, height=2, width=3)).shape == (0, 3, 2, 3)


def test_doubles_are_read() -> None:
    blob = caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=[2]), double_data=[0.1, 0.2], double_diff=[0.3, 0.4])
    assert io.blobproto_to_array(blob).tolist() == [0.1, 0.2]
    assert io.blobproto_to_array(blob, return_diff=True).tolist() == [0.3, 0.4]


def test_a_blob_whose_shape_and_values_disagree_is_refused() -> None:
    blob = caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=[2, 3]), data=range(5))
    for wanted in (DataError, ValueError):
        with pytest.raises(wanted, match=r"shape \(2, 3\) holds 5 values in data, not 6"):
            io.blobproto_to_array(blob)
        with pytest.raises(wanted, match=r"shape \(\) holds 5 values"):
            io.blobproto_to_array(caffe_pb2.BlobProto(data=range(5)))
    with pytest.raises(DataError, match="0 values in diff"):
        io.blobproto_to_array(blob, return_diff=True)


def test_an_array_too_large_for_protobuf_is_refused() -> None:
    with pytest.raises(DataError, match="2 GB"):
        io.array_to_blobproto(np.broadcast_to(np.float32(1), (2**15, 2**14)))


def test_uint8_images_are_stored_as_bytes_and_others_as_floats() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 4, 5), np.uint8)
    datum = io.array_to_datum(image, 7)
    assert (datum.channels, datum.height, datum.width, datum.label) == (3, 4, 5, 7)
    assert datum.data == image.tobytes() and not datum.float_data
    back = io.datum_to_array(datum)
    assert back.dtype == np.uint8 and np.array_equal(back, image)
    back[0, 0, 0] = 1

    floats = image / 7
    datum = io.array_to_datum(floats)
    assert not datum.HasField("label") and not datum.data
    assert np.array_equal(io.datum_to_array(datum), floats.astype(np.float32))


def test_what_is_no_image_is_refused() -> None:
    for wanted in (DataError, ValueError):
        with pytest.raises(wanted, match=r"\(C, H, W\), not \(4, 5\)"):
            io.array_to_datum(np.zeros((4, 5)))
    with pytest.raises(DataError, match="encoded"):
        io.datum_to_array(caffe_pb2.Datum(channels=3, height=2, width=2, data=b"\xff\xd8", encoded=True))
    with pytest.raises(DataError, match=r"shape \(3, 2, 2\) holds 2 values, not 12"):
        io.datum_to_array(caffe_pb2.Datum(channels=3, height=2, width=2, data=b"ab"))


def test_lists_of_arrays_survive_as_bytes() -> None:
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros((0, 2), np.float32)]
    back = io.blobprotovector_str_to_arraylist(str=io.arraylist_to_blobprotovector_str(arrays))
    assert io.arraylist_to_blobprotovecor_str(arrays) == io.arraylist_to_blobprotovector_str(arrays)
    assert [array.tolist() for array in back] == [array.tolist() for array in arrays]
    with pytest.raises(DataError, match="no BlobProtoVector"):
        io.blobprotovector_str_to_arraylist(b"\xff")
