"""Conversion of arrays to and from the messages of weights files, mean files and databases."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArrayError, DataError
from . import caffe_pb2
from .binary import DecodeError, parse_binary

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

# The size of the largest message, in bytes.
PROTOBUF_LIMIT = 2**31 - 1

_LEGACY_DIMS = ("num", "channels", "height", "width")
_MAX_AXES = 32
_RAW_TYPES: dict[int, np.dtype[Any]] = {
    caffe_pb2.BlobProto.DOUBLE: np.dtype("<f8"),
    caffe_pb2.BlobProto.FLOAT: np.dtype("<f4"),
    caffe_pb2.BlobProto.FLOAT16: np.dtype("<f2"),
}


def blobproto_to_array(blob: caffe_pb2.BlobProto, return_diff: bool = False) -> np.ndarray:
    """Return the array in a BlobProto, or its diff; in the old four-dimensional form it has four axes.

    It is float32, or float64 if the file holds doubles (pycaffe always returns float64, and loses values stored as
    doubles). The raw bytes that NVIDIA's fork stores, in half or another precision, are read too.
    """
    field = "diff" if return_diff else "data"
    values = _values(blob, field)
    legacy = any(blob.HasField(name) for name in _LEGACY_DIMS)
    shape = tuple(getattr(blob, name) for name in _LEGACY_DIMS) if legacy else tuple(blob.shape.dim)
    if len(shape) > _MAX_AXES:
        raise ArrayError(f"a BlobProto has {len(shape)} axes, blobs have {_MAX_AXES} at most")
    if min(shape, default=0) < 0 or prod(shape) != values.size:
        raise ArrayError(f"a BlobProto of shape {shape} holds {values.size} values in {field}, not {prod(shape)}")
    return values.reshape(shape)


def _values(blob: caffe_pb2.BlobProto, field: str) -> np.ndarray:
    raw: bytes = getattr(blob, f"raw_{field}")
    if raw:
        number = getattr(blob, f"raw_{field}_type")
        dtype = _RAW_TYPES.get(number)
        if dtype is None or len(raw) % dtype.itemsize:
            name = caffe_pb2.BlobProto.RawType.Name(number)
            raise DataError(
                f"a BlobProto holds {len(raw)} bytes of the type {name} in raw_{field}: not an array of floats"
            )
        return np.frombuffer(raw, dtype).astype(np.float64 if dtype.itemsize == 8 else np.float32)
    doubles = getattr(blob, f"double_{field}")
    return np.array(doubles, np.float64) if doubles else np.array(getattr(blob, field), np.float32)


def array_to_half_blobproto(arr: ArrayLike) -> caffe_pb2.BlobProto:
    """Make a BlobProto from an array, stored in half precision as NVIDIA's fork stores it; BVLC's cannot read it."""
    arr = np.asarray(arr)
    raw = np.ascontiguousarray(arr, _RAW_TYPES[caffe_pb2.BlobProto.FLOAT16]).tobytes()
    shape = caffe_pb2.BlobShape(dim=arr.shape)
    return caffe_pb2.BlobProto(shape=shape, raw_data_type=caffe_pb2.BlobProto.FLOAT16, raw_data=raw)


def array_to_blobproto(arr: ArrayLike, diff: ArrayLike | None = None) -> caffe_pb2.BlobProto:
    """Make a BlobProto from an array of any shape, and its diff if given; both are stored as floats."""
    arr = np.asarray(arr)
    blob = caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=arr.shape))
    _add_floats(blob, "data", arr)
    if diff is not None:
        _add_floats(blob, "diff", np.asarray(diff))
    return blob


def _add_floats(blob: caffe_pb2.BlobProto, field: str, values: np.ndarray) -> None:
    """Append to a packed field in its wire form, which is ten times faster than number by number."""
    if 4 * values.size > PROTOBUF_LIMIT:
        raise DataError(
            f"an array of {values.size} floats is larger than the 2 GB that protobuf can hold", hint="Use HDF5 files"
        )
    floats = np.ascontiguousarray(values, "<f4").tobytes()
    head = bytearray([blob.DESCRIPTOR.fields_by_name[field].number << 3 | 2])
    size = len(floats)
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    blob.MergeFromString(bytes(head) + floats)


def array_to_datum(arr: ArrayLike, label: int | None = None) -> caffe_pb2.Datum:
    """Make a Datum from an image (C, H, W): with bytes for uint8, else with floats."""
    arr = np.asarray(arr)
    if arr.ndim != 3:
        raise ArrayError(f"a Datum holds an image of shape (C, H, W), not {arr.shape}")
    datum = caffe_pb2.Datum(channels=arr.shape[0], height=arr.shape[1], width=arr.shape[2], label=label)
    if arr.dtype == np.uint8:
        datum.data = arr.tobytes()
    else:
        datum.float_data.extend(arr.astype(np.float32).ravel().tolist())
    return datum


def datum_to_array(datum: caffe_pb2.Datum) -> np.ndarray:
    """Return the image (C, H, W) in a Datum: uint8 from bytes, else float32. Decode an `encoded` one first."""
    if datum.encoded:
        raise DataError(
            "the Datum holds an encoded image (JPEG, PNG, ...), not an array",
            hint="Decode its data first, as in cv2.imdecode(np.frombuffer(datum.data, np.uint8), cv2.IMREAD_COLOR)",
        )
    # A bytearray makes the array writable.
    values = np.frombuffer(bytearray(datum.data), np.uint8) if datum.data else np.array(datum.float_data, np.float32)
    shape = (datum.channels, datum.height, datum.width)
    if prod(shape) != values.size:
        raise ArrayError(f"a Datum of shape {shape} holds {values.size} values, not {prod(shape)}")
    return values.reshape(shape)


def arraylist_to_blobprotovector_str(arraylist: Iterable[ArrayLike]) -> bytes:
    """Serialize arrays into one string of bytes, a BlobProtoVector."""
    return caffe_pb2.BlobProtoVector(blobs=[array_to_blobproto(array) for array in arraylist]).SerializeToString()


arraylist_to_blobprotovecor_str = arraylist_to_blobprotovector_str  # its spelling until 2015


def blobprotovector_str_to_arraylist(str: bytes) -> list[np.ndarray]:
    """Return the arrays in a result of ``arraylist_to_blobprotovector_str``."""
    try:
        vector = parse_binary(caffe_pb2.BlobProtoVector, str)
    except (DecodeError, TypeError) as error:
        raise DataError(f"it is no BlobProtoVector: {error}") from None
    return [blobproto_to_array(blob) for blob in vector.blobs]
