"""Solver states in files: .solverstate (protobuf) and .solverstate.h5 (HDF5), in the original's form."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..atomic import atomic_write
from ..binary_file import BinaryFile
from ..errors import DataError, SolverError, Where
from ..files import StrPath, path_field, system_path
from ..hdf5 import import_h5py, read_array
from ..io import array_to_blobproto, blobproto_to_array
from ..proto.binary import DecodeError, parse_binary
from ..proto.caffe_pb2 import SolverState
from ..weights import read_binary, require_protobuf_size, write_message


@dataclass
class Snapshot:
    """What a solver needs to go on, beside the weights in the file ``learned_net``.

    ``extra`` is ours, JSON, in a place that the original skips: where the data and the random numbers were. It is
    empty in snapshots that the original wrote.
    """

    iteration: int
    learned_net: str
    current_step: int
    history: Sequence[np.ndarray]
    extra: dict[str, Any]


def write_state(path: StrPath, snapshot: Snapshot, hdf5: bool) -> None:
    (_write_hdf5 if hdf5 else _write_binary)(path, snapshot)


def read_state(path: StrPath) -> Snapshot:
    """Read a state; HDF5 and protobuf are told apart by content."""
    file = BinaryFile(path, SolverError)
    snapshot = _read_hdf5(file) if file.is_hdf5 else _read_binary(file)
    if snapshot.iteration < 0 or snapshot.current_step < 0:
        raise damaged_state(path)
    if snapshot.learned_net and not os.path.exists(snapshot.learned_net):
        # The path that was recorded starts from the working directory of that run; its files may have been moved.
        beside = os.path.join(os.path.dirname(path), os.path.basename(snapshot.learned_net.replace("\\", "/")))
        if os.path.exists(beside):
            snapshot.learned_net = beside
    return snapshot


def _write_binary(path: StrPath, snapshot: Snapshot) -> None:
    require_protobuf_size(path, sum(4 * array.size for array in snapshot.history))
    state = SolverState(
        iter=snapshot.iteration,
        learned_net=path_field(snapshot.learned_net),
        current_step=snapshot.current_step,
        history=[array_to_blobproto(array) for array in snapshot.history],
        caffe_lite_state=json.dumps(snapshot.extra).encode(),
    )
    write_message(path, state)


def _read_binary(file: BinaryFile) -> Snapshot:
    path = file.where.file
    try:
        state = parse_binary(SolverState, read_binary(file))
        if not state.HasField("iter"):
            raise DecodeError
        history = [blobproto_to_array(blob) for blob in state.history]
    except (DecodeError, DataError):
        raise damaged_state(path) from None
    learned_net = system_path(state.learned_net, SolverError, file.where)
    return Snapshot(state.iter, learned_net, state.current_step, history, _extra(state.caffe_lite_state, path))


def _write_hdf5(path: StrPath, snapshot: Snapshot) -> None:
    h5py = import_h5py()
    learned_net = os.fsencode(snapshot.learned_net)
    with atomic_write(path) as part, h5py.File(part, "w") as file:
        file["iter"] = np.array([snapshot.iteration], np.int32)
        # With the zero byte that the original reads up to.
        file["learned_net"] = np.array(learned_net, f"S{len(learned_net) + 1}")
        file["current_step"] = np.array([snapshot.current_step], np.int32)
        history = file.create_group("history")
        for index, array in enumerate(snapshot.history):
            history[str(index)] = array
        file["caffe_lite_state"] = np.frombuffer(json.dumps(snapshot.extra).encode(), np.uint8)


def _read_hdf5(binary: BinaryFile) -> Snapshot:
    path = binary.where.file
    try:
        with binary.open_hdf5() as file:
            history = file["history"]
            learned_net = file["learned_net"][()] if "learned_net" in file else b""
            return Snapshot(
                int(read_array(file["iter"])[0]),
                os.fsdecode(learned_net),
                int(read_array(file["current_step"])[0]),
                [read_array(history[str(index)]) for index in range(len(history))],
                _extra(read_array(file["caffe_lite_state"]).tobytes() if "caffe_lite_state" in file else b"", path),
            )
    except SolverError:
        raise damaged_state(path) from None


def _extra(data: bytes, path: StrPath) -> dict[str, Any]:
    try:
        extra = json.loads(data) if data else {}
    except (ValueError, RecursionError):
        raise damaged_state(path) from None
    if not isinstance(extra, dict):
        raise damaged_state(path)
    return extra


def damaged_state(path: StrPath) -> SolverError:
    return SolverError(
        "it is no solver state, or it is damaged or cut short",
        where=Where(os.fspath(path)),
        hint="Resume from a .solverstate or .solverstate.h5; weights alone (.caffemodel) can only be trained from anew",
    )
