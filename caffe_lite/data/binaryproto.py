"""Files that hold one array as a BlobProto: mean images and infogain matrices."""

from __future__ import annotations

import os

import numpy as np

from ..errors import DataError, Where
from ..files.paths import read_file
from ..proto import caffe_pb2
from ..proto.arrays import PROTOBUF_LIMIT, blobproto_to_array
from ..proto.binary import DecodeError, parse_binary
from .paths import resolve, searched


def read_binaryproto(file: str, field: str, param: str, where: Where | None, made_by: str) -> tuple[str, np.ndarray]:
    """Return the path of the file and the array in it; errors are DataErrors that name ``field`` of ``param``."""
    path = resolve(file, where)
    try:
        if os.stat(path).st_size > PROTOBUF_LIMIT:
            raise DecodeError("it is larger than protobuf can hold")
        blob = parse_binary(caffe_pb2.BlobProto, read_file(path))
        if not (
            blob.data or blob.double_data or blob.raw_data
        ):  # other files may parse as a BlobProto of unknown fields
            raise DecodeError("it holds no values")
        return path, blobproto_to_array(blob)
    except FileNotFoundError:
        raise DataError(
            f"there is no {field} {file!r}: looked for {searched(file, where)}",
            hint=f"Put it there, or correct {field} in {param}",
        ) from None
    except OSError as error:
        raise DataError(f"{field} {path!r} cannot be read: {error.strerror or error}") from error
    except DecodeError:
        raise DataError(f"{field} {path!r} is not a BlobProto", hint=f"Give the .binaryproto that {made_by}") from None
    except DataError as error:
        raise DataError(f"{field} {path!r} cannot be used: {error.what}", hint=error.hint) from error
