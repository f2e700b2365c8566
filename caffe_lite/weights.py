"""Weights files: .caffemodel (protobuf) and .caffemodel.h5 (HDF5), as the original and older versions wrote them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from .atomic import atomic_write
from .errors import CaffeError, MissingExtra, WeightsError, Where
from .io import PROTOBUF_LIMIT, blobproto_to_array
from .proto import caffe_pb2

StrPath = str | os.PathLike[str]

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@dataclass
class LayerWeights:
    """The learned blobs of one layer, and their diffs if they were saved.

    None stands where a file has no blob: HDF5 files hold a blob that layers share with its owner only. HDF5 files do
    not tell the type.
    """

    name: str
    type: str
    blobs: list[np.ndarray | None]
    diffs: list[np.ndarray | None] = field(default_factory=list)


def read_weights(path: StrPath) -> list[LayerWeights]:
    """The layers of a weights file; HDF5 and protobuf are told apart by content (the original goes by the name)."""
    where = Where(os.fspath(path))
    data = read_binary(path)
    if data.startswith(HDF5_SIGNATURE):
        return _read_hdf5(path)
    net = caffe_pb2.NetParameter()
    try:
        net.ParseFromString(data)
    except DecodeError:
        raise _not_weights("it is no weights file, or it is damaged or cut short", data, where) from None
    layers = [
        LayerWeights(name, type_name, [_blob(blob, name, type_name, where) for blob in blobs])
        for name, type_name, blobs in _layers(net)
    ]
    if not layers:
        raise _not_weights("it holds no layers", data, where)
    return layers


def write_caffemodel(path: StrPath, net: caffe_pb2.NetParameter) -> None:
    """Write a net with its learned blobs, in protobuf's form."""
    blobs = [blob for layer in net.layer for blob in layer.blobs]
    size = sum(4 * (len(b.data) + len(b.diff)) + 8 * (len(b.double_data) + len(b.double_diff)) for b in blobs)
    if size > PROTOBUF_LIMIT:
        raise WeightsError(
            f"the weights take {size / 2**30:.1f} GB, protobuf files hold 2 GB at most",
            where=Where(os.fspath(path)),
            hint="Save as HDF5: net.save_hdf5(path), or snapshot_format: HDF5 in the solver",
        )
    data = net.SerializeToString()
    with atomic_write(path) as part:
        part.write_bytes(data)


def write_hdf5(path: StrPath, layers: Sequence[LayerWeights]) -> None:
    """Write the original's layout: data/<layer>/<index>, and diff/<layer>/<index> if any layer has diffs."""
    h5py = import_h5py()
    for layer in layers:
        if any(part in ("", ".", "..") for part in layer.name.split("/")):
            raise WeightsError(
                "HDF5 cannot hold a layer of this name",
                where=Where(os.fspath(path)),
                layer=layer.name,
                layer_type=layer.type,
                hint="Rename the layer, or save as .caffemodel",
            )
    with atomic_write(path) as part, h5py.File(part, "w") as file:
        _write_group(file.create_group("data"), [(layer.name, layer.blobs) for layer in layers])
        if any(layer.diffs for layer in layers):
            _write_group(file.create_group("diff"), [(layer.name, layer.diffs) for layer in layers])


def read_binary(path: StrPath, error_class: type[CaffeError] = WeightsError) -> bytes:
    """The bytes of a file that must be there and not be empty."""
    where = Where(os.fspath(path))
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise error_class("there is no such file", where=where, hint=f"Paths start from {os.getcwd()}") from None
    except OSError as error:
        raise error_class(f"cannot read it: {error.strerror}", where=where) from None
    if not data:
        raise error_class("the file is empty", where=where)
    return data


def import_h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise MissingExtra("h5py", "data", "read and write HDF5 files") from None
    return h5py


def _layers(net: caffe_pb2.NetParameter) -> Iterator[tuple[str, str, Sequence[caffe_pb2.BlobProto]]]:
    """Name, type and blobs of each layer, in today's form or those of V1 and V0."""
    for layer in net.layer:
        yield layer.name, layer.type, layer.blobs
    for old in net.layers:
        if old.HasField("layer"):
            yield old.layer.name, old.layer.type, old.layer.blobs
        else:
            yield old.name, caffe_pb2.V1LayerParameter.LayerType.Name(old.type), old.blobs


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


def _read_hdf5(path: StrPath) -> list[LayerWeights]:
    h5py = import_h5py()
    where = Where(os.fspath(path))
    try:
        with h5py.File(path, "r") as file:
            if not isinstance(file.get("data"), h5py.Group):
                raise WeightsError(
                    "this HDF5 file has no group data", where=where, hint="Caffe's weights are in data/<layer>/<index>"
                )
            return list(_read_group(file["data"], "", where))
    except (OSError, RuntimeError, KeyError) as error:
        raise WeightsError(f"the HDF5 file is damaged or cut short: {error}", where=where) from None


def _read_group(group: Any, layer: str, where: Where) -> Iterator[LayerWeights]:
    """The layer that a group is, and those inside it: a layer's name may hold slashes."""
    arrays = {name: item for name, item in group.items() if not hasattr(item, "keys")}
    if layer and (arrays or not len(group)):
        if not all(name.isdecimal() and item.dtype.kind in "fiu" for name, item in arrays.items()):
            raise WeightsError(
                f"it holds {', '.join(sorted(arrays))}, not numbered blobs: these are not Caffe's weights",
                where=where,
                layer=layer,
            )
        blobs: list[np.ndarray | None] = [None] * (1 + max(map(int, arrays), default=-1))
        for name, item in arrays.items():
            blobs[int(name)] = np.asarray(item[()], np.float64 if item.dtype.itemsize == 8 else np.float32)
        yield LayerWeights(layer, "", blobs)
    for name, item in group.items():
        if name not in arrays:
            yield from _read_group(item, f"{layer}/{name}".lstrip("/"), where)


def _write_group(group: Any, layers: Sequence[tuple[str, Sequence[np.ndarray | None]]]) -> None:
    for name, arrays in layers:
        layer = group.require_group(name)
        for index, array in enumerate(arrays):
            if array is not None:
                layer.create_dataset(str(index), data=array)
