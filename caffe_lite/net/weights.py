"""Weights files: .caffemodel (protobuf) and .caffemodel.h5 (HDF5), as written by the original and older versions."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from google.protobuf.message import EncodeError, Message

from ..errors import CaffeError, WeightsError, Where
from ..files.atomic import atomic_write
from ..files.binary_file import BinaryFile
from ..files.hdf5 import HDF5File, hdf5_name, new_hdf5
from ..files.paths import StrPath
from ..logs.log import logger
from ..proto import caffe_pb2
from ..proto.arrays import PROTOBUF_LIMIT, blobproto_to_array
from ..proto.binary import DecodeError, parse_binary, to_binary
from ..proto.legacy import type_today
from ..proto.renumbering import in_our_numbers

# The first byte of a SolverState, whose first field is a number. A net has no such field.
_TAG_OF_ITER = 0x08


@dataclass
class LayerWeights:
    """The learned blobs of one layer, and their diffs if they were saved.

    None stands for a blob that the file does not have: HDF5 files hold a shared blob only with the layer that owns it.
    HDF5 files do not store the type.
    """

    name: str
    type: str
    blobs: list[np.ndarray | None]
    diffs: list[np.ndarray | None] = field(default_factory=list)


def read_weights(path: StrPath, content: bytes | None = None) -> list[LayerWeights]:
    """Read the layers of a weights file; its content tells HDF5 from protobuf (in the original, its name does).

    If the content is given, no file is read, and the path is what messages call it.
    """
    file = BinaryFile(path, WeightsError, content)
    if file.is_hdf5:
        return _read_hdf5(file)
    where = file.where
    net: Any = _parse_net(file)
    if net.layers:
        version = "V0" if net.layers[0].HasField("layer") else "V1"
        logger.info("Attempting to upgrade input file specified using deprecated %sLayerParameter: %s", version, path)
    layers = [
        LayerWeights(name, type_name, [_blob(blob, name, type_name, where) for blob in blobs])
        for name, type_name, blobs in _layers(net)
    ]
    if net.layers:
        logger.info("Successfully upgraded file specified using deprecated %sLayerParameter", version)
    return layers


def read_caffemodel(path: StrPath) -> caffe_pb2.NetParameter:
    """Read a net in protobuf's binary form, with its learned blobs, as it was written."""
    file = BinaryFile(path, WeightsError)
    if file.is_hdf5:
        raise WeightsError("this is an HDF5 file: it holds weights, but no net", where=file.where)
    net: Any = _parse_net(file)
    if missing := net.FindInitializationErrors():
        raise WeightsError(f"the net lacks a value for {missing[0]}", where=file.where)
    return net


def weights_files(weights: StrPath) -> list[str]:
    """Return the file with this path; if there is none, the files whose paths are joined by commas."""
    path = os.fspath(weights)
    return [path] if os.path.exists(path) else [file.strip() for file in path.split(",")]


def write_message(path: StrPath, message: Message) -> None:
    """Write a message in protobuf's binary form."""
    data = encoded(message, path)
    with atomic_write(path) as part:
        part.write_bytes(data)


def encoded(message: Message, path: StrPath) -> bytes:
    """Return a message in protobuf's binary form, for a file; raise if it is more than a file can hold."""
    try:
        data = to_binary(message)
    except (EncodeError, ValueError):  # protobuf raises these if the message is larger than it can hold
        data = None
    require_protobuf_size(path, PROTOBUF_LIMIT + 1 if data is None else len(data))
    return data or b""


def require_protobuf_size(path: StrPath, size: int) -> None:
    """Raise if a size in bytes is more than a protobuf file can hold."""
    if size > PROTOBUF_LIMIT:
        raise WeightsError(
            f"its content takes {size / 2**30:.1f} GB, protobuf files hold 2 GB at most",
            where=Where(os.fspath(path)),
            hint="Save as HDF5: net.save_hdf5(path), or snapshot_format: HDF5 in the solver",
        )


def write_hdf5(path: StrPath, layers: Sequence[LayerWeights]) -> None:
    """Write the original's layout: data/<layer>/<index>, and diff/<layer>/<index> if any layer has diffs."""
    for layer in layers:
        if any(part in ("", ".", "..") for part in layer.name.split("/")):
            raise WeightsError(
                "HDF5 cannot hold a layer of this name",
                where=Where(os.fspath(path)),
                layer=layer.name,
                layer_type=layer.type,
                hint="Rename the layer, or save as .caffemodel",
            )
    with new_hdf5(path) as file:
        _write_group(file.create_group("data"), [(layer.name, layer.blobs) for layer in layers])
        if any(layer.diffs for layer in layers):
            _write_group(file.create_group("diff"), [(layer.name, layer.diffs) for layer in layers])


def read_binary(file: BinaryFile) -> bytes:
    """Read the bytes of a protobuf file."""
    if file.size > PROTOBUF_LIMIT:
        raise file.error_class(
            f"it has {file.size / 2**30:.1f} GB, files of protobuf hold 2 GB at most",
            where=file.where,
            hint="Larger ones are HDF5 files (.h5), and this is none",
        )
    return file.read()


def _parse_net(file: BinaryFile) -> caffe_pb2.NetParameter:
    """Parse a binary net; raise if it has no layers."""
    where, data = file.where, read_binary(file)
    if data[0] == _TAG_OF_ITER:
        raise _a_state(where)
    try:
        net = parse_binary(caffe_pb2.NetParameter, in_our_numbers(data))
    except DecodeError:
        raise _not_weights("it is no weights file, or it is damaged or cut short", data, where) from None
    if not (net.layer or net.layers):
        raise _not_weights("it holds no layers", data, where)
    return net


def _layers(net: caffe_pb2.NetParameter) -> Iterator[tuple[str, str, Sequence[caffe_pb2.BlobProto]]]:
    """Yield name, type and blobs of each layer, in today's format or in those of V1 and V0."""
    for layer in net.layer:
        yield layer.name, layer.type, layer.blobs
    for old in net.layers:
        named = old.layer if old.HasField("layer") else old
        yield named.name, type_today(old), named.blobs


def _blob(blob: caffe_pb2.BlobProto, layer: str, layer_type: str, where: Where) -> np.ndarray:
    try:
        return blobproto_to_array(blob)
    except CaffeError as error:
        raise WeightsError(error.what, where=where, layer=layer, layer_type=layer_type) from None


def _not_weights(what: str, data: bytes, where: Where) -> WeightsError:
    head = data[:512].lstrip()
    if head.startswith(b"version https://git-lfs"):
        hint = "It is a Git LFS pointer: fetch the file itself with git lfs pull"
    elif head.startswith(b"<"):
        hint = "It looks like a web page: download it again"
    elif not any(byte < 9 or byte > 126 for byte in head):
        hint = "It is text: weights are in a .caffemodel or .caffemodel.h5, nets in a .prototxt"
    else:
        hint = "Get the .caffemodel or .caffemodel.h5 anew, or from its publisher"
    return WeightsError(what, where=where, hint=hint)


def _read_hdf5(binary: BinaryFile) -> list[LayerWeights]:
    where = binary.where
    with binary.open_hdf5() as file:
        names = file.names()
        if "iter" in names and "history" in names:
            raise _a_state(where)
        data = file.find("data")
        if not hasattr(data, "keys"):
            raise WeightsError(
                "this HDF5 file has no group data", where=where, hint="Caffe's weights are in data/<layer>/<index>"
            )
        # If a layer's name has slashes, its group is inside another one, which may be a layer, too, or not.
        return [
            LayerWeights(name, "", _numbered(file, name, arrays, where))
            for name, group, arrays in file.groups_below(data)
            if name and (arrays or not len(group))
        ]


def _numbered(file: HDF5File, layer: str, arrays: dict[str, Any], where: Where) -> list[np.ndarray | None]:
    if not all(name.isdecimal() and len(name) < 4 for name in arrays):
        raise WeightsError(
            f"it holds {', '.join(sorted(arrays))}, not numbered blobs: these are not Caffe's weights",
            where=where,
            layer=layer,
        )
    blobs: list[np.ndarray | None] = [None] * (1 + max(map(int, arrays), default=-1))
    for name, item in arrays.items():
        array = file.array(item)
        blobs[int(name)] = array.astype(np.float64 if array.dtype.itemsize == 8 else np.float32, copy=False)
    return blobs


def _a_state(where: Where) -> WeightsError:
    return WeightsError(
        "this is the state of a solver, and holds no weights",
        where=where,
        hint="Resume from it (--snapshot, solver.restore), or take the .caffemodel or .caffemodel.h5 beside it",
    )


def _require_group(group: Any, name: str) -> Any:
    """Do the same as ``group.require_group``, which fails for names that are not UTF-8."""
    if isinstance(known := hdf5_name(name), str):
        return group.require_group(known)
    for part in known.split(b"/"):
        group = group[part] if group.id.links.exists(part) else group.create_group(part)
    return group


def _write_group(group: Any, layers: Sequence[tuple[str, Sequence[np.ndarray | None]]]) -> None:
    for name, arrays in layers:
        layer = _require_group(group, name)
        for index, array in enumerate(arrays):
            if array is not None:
                layer.create_dataset(str(index), data=array)
