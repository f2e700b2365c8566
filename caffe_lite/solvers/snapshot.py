"""Solver states in files: .solverstate (protobuf) and .solverstate.h5 (HDF5), in the original's form."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import CaffeError, DataError, SolverError, Where
from ..files.binary_file import BinaryFile
from ..files.hdf5 import new_hdf5
from ..files.paths import StrPath, path_field, system_path
from ..net.weights import read_binary, require_protobuf_size, write_message
from ..proto.arrays import array_to_blobproto, blobproto_to_array
from ..proto.binary import DecodeError, parse_binary
from ..proto.caffe_pb2 import SolverState
from .progress import Progress

_MOST_READ = 20


@dataclass
class Snapshot:
    """The state that a solver needs to go on, besides the weights in the file ``learned_net``.

    ``extra`` is our addition, JSON in a field that the original skips: the type of the solver, the checksum of the
    weights, the places in the data and in the random numbers. It is empty in snapshots that the original wrote.
    """

    iteration: int
    learned_net: str
    current_step: int
    history: Sequence[np.ndarray]
    extra: dict[str, Any]
    progress: Progress | None = None


def write_state(path: StrPath, snapshot: Snapshot, hdf5: bool) -> None:
    (_write_hdf5 if hdf5 else _write_binary)(path, snapshot)


def read_state(path: StrPath) -> Snapshot:
    """Read a state; its content shows whether it is HDF5 or protobuf."""
    file = BinaryFile(path, SolverError)
    snapshot = _read_hdf5(file) if file.is_hdf5 else _read_binary(file)
    if snapshot.iteration < 0 or snapshot.current_step < 0:
        raise damaged_state(path)
    if snapshot.learned_net and not os.path.exists(snapshot.learned_net):
        # The recorded path is relative to the working directory of that run, whose files may have been moved.
        beside = os.path.join(os.path.dirname(path), os.path.basename(snapshot.learned_net.replace("\\", "/")))
        if os.path.exists(beside):
            snapshot.learned_net = beside
    return snapshot


def checksum(path: StrPath) -> str:
    """Identify the content of a file by its size and its CRC-32."""
    size = crc = 0
    block = memoryview(bytearray(1 << 18))
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(block):
            size, crc = size + count, zlib.crc32(block[:count], crc)
    return f"{size}-{crc:08x}"


def require_own_weights(snapshot: Snapshot, path: StrPath) -> None:
    """Raise an error that names a fitting pair of files if a state's weights are not those written with it.

    A run killed between writing the two files of a snapshot leaves this situation if an earlier run had taken a
    snapshot of the same name. Missing weights are not an error here, but when they are read.
    """
    wanted, weights = snapshot.extra.get("weights"), snapshot.learned_net
    if wanted is None or not os.path.isfile(weights) or checksum(weights) == wanted:
        return
    raise SolverError(
        f"its weights are not those that are now in {weights}: that file was written later, or changed",
        where=Where(os.fspath(path)),
        hint=f"{_fitting(snapshot, path)}To train on from {weights} as it is, start anew from it (--weights)",
    )


def _fitting(snapshot: Snapshot, path: StrPath) -> str:
    """Say in a sentence where the weights of a state are, or else which latest state of its run has its own weights."""
    wanted, folder = snapshot.extra["weights"], os.path.dirname(snapshot.learned_net)
    for other in _latest(folder, (".caffemodel", ".caffemodel.h5")):
        if wanted == checksum(other):
            return f"Its own are in {other}: give them their name back, {snapshot.learned_net}. "
    prefix, _, _ = os.path.basename(path).rpartition("_iter_")
    for state in _latest(os.path.dirname(path), (".solverstate", ".solverstate.h5"), f"{prefix}_iter_"):
        try:
            found, kind = read_state(state), snapshot.extra.get("type")
            if found.extra.get("weights") == checksum(found.learned_net) and found.extra.get("type") == kind:
                return f"These fit: {state} and {found.learned_net}. "
        except (CaffeError, OSError):
            continue
    return "No weights in their folder fit it, and no other state of its run fits its weights. "


def _latest(folder: str, endings: tuple[str, ...], prefix: str = "") -> list[str]:
    """Return the files with these names, latest first; not all of very many, which would take minutes to read."""
    names = [name for name in os.listdir(folder or ".") if name.startswith(prefix) and name.endswith(endings)]
    files = [os.path.join(folder, name) for name in names]
    readable = [file for file in files if os.path.isfile(file) and os.access(file, os.R_OK)]
    return sorted(readable, key=os.path.getmtime, reverse=True)[:_MOST_READ]


def newest_snapshot(prefix: str, since: float) -> str | None:
    """Return the state of the highest iteration written since then that is whole: with the weights it was written with.

    A run that was killed may have left a state whose weights an earlier run has written, or part of a file.
    """
    begin = os.path.abspath(system_path(f"{prefix}_iter_", SolverError))
    form = re.compile(re.escape(os.path.basename(begin)) + r"(\d+)\.solverstate(\.h5)?")
    folder = os.path.dirname(begin)
    names = os.listdir(folder) if os.path.isdir(folder) else []
    found = sorted(((int(match[1]), match[0]) for name in names if (match := form.fullmatch(name))), reverse=True)
    for _, name in found:
        state = os.path.join(folder, name)
        try:
            snapshot = read_state(state)
            written = os.path.getmtime(state) >= since
            if written and snapshot.extra.get("weights") == checksum(snapshot.learned_net):
                return state
        except (CaffeError, OSError):
            continue
    return None


def _write_binary(path: StrPath, snapshot: Snapshot) -> None:
    require_protobuf_size(path, sum(4 * array.size for array in snapshot.history))
    state = SolverState(
        iter=snapshot.iteration,
        learned_net=path_field(snapshot.learned_net),
        current_step=snapshot.current_step,
        history=[array_to_blobproto(array) for array in snapshot.history],
        caffe_lite_state=json.dumps(snapshot.extra).encode(),
    )
    if snapshot.progress:
        state.minimum_loss, state.iter_last_event = snapshot.progress.lowest, snapshot.progress.event
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
    extra = _extra(state.caffe_lite_state, path)
    progress = Progress(state.minimum_loss, state.iter_last_event) if state.HasField("minimum_loss") else None
    return Snapshot(state.iter, learned_net, state.current_step, history, extra, progress)


def _write_hdf5(path: StrPath, snapshot: Snapshot) -> None:
    learned_net = os.fsencode(snapshot.learned_net)
    with new_hdf5(path) as file:
        file["iter"] = np.array([snapshot.iteration], np.int32)
        # The original reads up to a zero byte.
        file["learned_net"] = np.array(learned_net, f"S{len(learned_net) + 1}")
        file["current_step"] = np.array([snapshot.current_step], np.int32)
        if snapshot.progress:
            file["minimum_loss"] = np.array([snapshot.progress.lowest], np.float32)
            file["iter_last_event"] = np.array([snapshot.progress.event], np.int32)
        history = file.create_group("history")
        for index, array in enumerate(snapshot.history):
            history[str(index)] = array
        file["caffe_lite_state"] = np.frombuffer(json.dumps(snapshot.extra).encode(), np.uint8)


def _read_hdf5(binary: BinaryFile) -> Snapshot:
    path = binary.where.file
    try:
        with binary.open_hdf5() as file:
            names, progress = file.names(), None
            if "minimum_loss" in names:
                progress = Progress(float(file.array("minimum_loss")[0]), int(file.array("iter_last_event")[0]))
            return Snapshot(
                int(file.array("iter")[0]),
                os.fsdecode(file.text("learned_net")) if "learned_net" in names else "",
                int(file.array("current_step")[0]),
                [file.array(f"history/{index}") for index in range(len(file.find("history")))],
                _extra(file.array("caffe_lite_state").tobytes() if "caffe_lite_state" in names else b"", path),
                progress,
            )
    except SolverError as error:
        raise damaged_state(path, error.what) from None


def _extra(data: bytes, path: StrPath) -> dict[str, Any]:
    try:
        extra = json.loads(data) if data else {}
    except (ValueError, RecursionError):
        raise damaged_state(path) from None
    if not isinstance(extra, dict):
        raise damaged_state(path)
    return extra


def damaged_state(path: StrPath, why: str = "it is damaged or cut short") -> SolverError:
    return SolverError(
        f"it is no solver state, or {why}",
        where=Where(os.fspath(path)),
        hint="Resume from a .solverstate or .solverstate.h5; weights alone (.caffemodel) can only be trained from anew",
    )
