"""Datum, the record that databases hold: an image, raw or encoded, and its label."""

from __future__ import annotations

import numpy as np

from ...errors import DataError
from ...proto import caffe_pb2
from ...proto.binary import DecodeError, parse_binary
from ..images.image import BYTE, channels_first, decode_image


def decode_datum(value: bytes, force_color: bool = False, force_gray: bool = False) -> tuple[np.ndarray, int]:
    """Return the image and the label of a serialized Datum; see ``image_of``."""
    try:
        datum = parse_binary(caffe_pb2.Datum, value)
    except DecodeError:
        raise DataError("it is not a Datum", hint="A Data layer reads databases of Datum messages only") from None
    return image_of(datum, force_color, force_gray), datum.label


def image_of(datum: caffe_pb2.Datum, force_color: bool = False, force_gray: bool = False) -> np.ndarray:
    """Return the image (C, H, W), of bytes or float32. Encoded images come in the order B, G, R.

    ``force_color`` and ``force_gray`` choose how an encoded image is read; without them, it keeps its channels.
    The original reads past the end of a Datum whose data is too short; here it is an error.
    """
    if datum.encoded:
        return _decode_image(datum.data, force_color, force_gray)
    shape = (datum.channels, datum.height, datum.width)
    if min(shape) < 1:
        raise DataError(f"it is not an image: channels, height, width are {shape}")
    values = np.frombuffer(datum.data, np.uint8) if datum.data else np.array(datum.float_data, np.float32)
    try:
        return values.reshape(shape)
    except ValueError:
        raise DataError(
            f"it has {values.size} values, but channels, height, width are {shape}",
            hint="The database is damaged, or was made wrongly; make it again",
        ) from None


def _decode_image(data: bytes, force_color: bool, force_gray: bool) -> np.ndarray:
    if force_color and force_gray:
        raise DataError("force_color and force_gray exclude each other", hint="Keep one of them in transform_param")
    image = decode_image(data, color=True if force_color else False if force_gray else None)
    if image.dtype != BYTE:
        raise DataError(
            f"its image has values of type {image.dtype}, not bytes",
            hint="Set force_color or force_gray in transform_param, which convert it",
        )
    return channels_first(image)
