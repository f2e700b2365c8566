"""Snapshots: their contents, that training resumes from them exactly, and the ones that are refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from caffe_lite.errors import CaffeError, MissingExtra, SolverError, WeightsError
from caffe_lite.proto.caffe_pb2 import BlobProto, BlobShape, LayerParameter, NetParameter, SolverState
from caffe_lite.solvers import SGDSolver, get_solver
from caffe_lite.solvers.snapshot import Snapshot, newest_snapshot, read_state, write_state

GOLDEN = Path(__file__).parents[1] / "golden"
DATABASE = GOLDEN / "trajectory" / "train_lmdb"

# Everything random at once: crops and mirrors of records from a database, and dropout.
NET = f"""name: "net"
layer {{ name: "data" type: "Data" top: "data" top: "label" include {{ phase: TRAIN }}
        transform_param {{ crop_size: 20 mirror: true scale: 0.004 }}
        data_param {{ source: "{DATABASE.as_posix()}" batch_size: 7 backend: LMDB }} }}
layer {{ name: "data" type: "Data" top: "data" top: "label" include {{ phase: TEST }}
        transform_param {{ crop_size: 20 scale: 0.004 }}
        data_param {{ source: "{DATABASE.as_posix()}" batch_size: 5 backend: LMDB }} }}
layer {{ name: "ip1" type: "InnerProduct" bottom: "data" top: "ip1" param {{ lr_mult: 1 }} param {{ lr_mult: 2 }}
        inner_product_param {{ num_output: 6 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "act" type: "TanH" bottom: "ip1" top: "ip1" }}
layer {{ name: "drop" type: "Dropout" bottom: "ip1" top: "ip1" }}
layer {{ name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2"
        inner_product_param {{ num_output: 10 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }}
"""
RULES = {
    "SGD": 'momentum: 0.9 lr_policy: "multistep" gamma: 0.5 stepvalue: 3 stepvalue: 6',
    "Nesterov": 'momentum: 0.9 lr_policy: "inv" gamma: 0.1 power: 0.75',
    "AdaGrad": 'lr_policy: "fixed"',
    "RMSProp": 'lr_policy: "step" gamma: 0.5 stepsize: 3',
    "AdaDelta": 'momentum: 0.95 delta: 1e-6 lr_policy: "fixed"',
    "Adam": 'momentum: 0.9 lr_policy: "poly" power: 1',
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)
    return tmp_path


@pytest.fixture
def solvers() -> Iterator[list[SGDSolver]]:
    """Collect the solvers of a test; their threads end with it."""
    made: list[SGDSolver] = []
    yield made
    for solver in made:
        solver.close()


def write_solver(rule: str = "SGD", hdf5: bool = False, extra: str = "", prefix: str = "s") -> None:
    Path("solver.prototxt").write_text(
        f"""net: "net.prototxt" type: "{rule}" base_lr: 0.01 weight_decay: 0.001 {RULES[rule]} max_iter: 9
        average_loss: 3 random_seed: 4 snapshot_prefix: "{prefix}" snapshot_format: {"HDF5" if hdf5 else "BINARYPROTO"}
        test_iter: 2 test_interval: 3 iter_size: 2 snapshot_after_train: false {extra}"""
    )


def outcome(solver: SGDSolver) -> list[bytes]:
    arrays = [blob.data for blobs in solver.net.params.values() for blob in blobs]
    arrays += map(solver.ops.host_view, solver.history)
    scores = [net.blobs["loss"].data for net in solver.test_nets]
    return [array.tobytes() for array in (*arrays, *scores, np.array(solver.smoothed_loss))]


@pytest.mark.parametrize("hdf5", [False, True], ids=["binary", "hdf5"])
@pytest.mark.parametrize("rule", RULES)
def test_a_run_that_was_stopped_equals_the_unbroken_one_bit_for_bit(
    rule: str, hdf5: bool, engine: str, solvers: list[SGDSolver]
) -> None:
    write_solver(rule, hdf5, "snapshot: 4")
    solvers.append(unbroken := get_solver("solver.prototxt", engine=engine))
    unbroken.solve()
    solvers.append(resumed := get_solver("solver.prototxt", engine=engine))
    resumed.net.rng.random(5)
    resumed.solve("s_iter_4.solverstate" + (".h5" if hdf5 else ""))
    assert resumed.iter == 9
    assert outcome(resumed) == outcome(unbroken)
    assert resumed.current_step == unbroken.current_step


def test_another_process_goes_on_exactly(engine: str, solvers: list[SGDSolver]) -> None:
    write_solver("Adam", extra="snapshot: 4")
    solvers.append(unbroken := get_solver("solver.prototxt", engine=engine))
    unbroken.solve()
    before = Path("s_iter_8.caffemodel").read_bytes()
    Path("s_iter_8.caffemodel").unlink()
    program = f"""from caffe_lite.solvers import get_solver
get_solver("solver.prototxt", engine="{engine}").solve("s_iter_4.solverstate")"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert Path("s_iter_8.caffemodel").read_bytes() == before


def test_the_fields_are_the_original_s(solvers: list[SGDSolver]) -> None:
    """Apart from the one field that the original skips, state and weights have the original's fields."""
    write_solver("Adam")
    solvers.append(solver := get_solver("solver.prototxt"))
    solver.step(2)
    solver.snapshot()
    mine, original = SolverState(), SolverState()
    mine.ParseFromString(Path("s_iter_2.solverstate").read_bytes())
    original.ParseFromString((GOLDEN / "solvers/adam/s_iter_6.solverstate").read_bytes())
    assert (mine.iter, mine.learned_net, mine.current_step) == (2, "s_iter_2.caffemodel", 0)
    shapes = [list(blob.shape.dim) for blob in mine.history]
    assert shapes == [[6, 400], [6], [10, 6], [10]] * 2
    assert [blob.data[0] for blob in mine.history] == [array.reshape(-1)[0] for array in solver.history]
    assert {f.name for f, _ in mine.ListFields()} - {f.name for f, _ in original.ListFields()} == {"caffe_lite_state"}
    assert {f.name for f, _ in mine.history[0].ListFields()} == {f.name for f, _ in original.history[0].ListFields()}
    net = NetParameter.FromString(Path("s_iter_2.caffemodel").read_bytes())
    assert [layer.name for layer in net.layer if layer.blobs] == ["ip1", "ip2"]


def test_hdf5_has_the_original_s_datasets(solvers: list[SGDSolver]) -> None:
    h5py = pytest.importorskip("h5py")
    write_solver("Adam", hdf5=True)
    solvers.append(solver := get_solver("solver.prototxt"))
    solver.step(2)
    solver.snapshot()

    def layout(path: Path) -> dict[str, tuple[object, ...]]:
        found = {}
        with h5py.File(path) as file:
            for name in ("iter", "current_step", "learned_net", "history/0", "history/7"):
                item = file[name]
                found[name] = (item.dtype.kind, len(item.shape), item.dtype.itemsize if item.dtype.kind != "S" else 0)
            found["history"] = tuple(sorted(file["history"]))
            assert file["learned_net"].id.get_type().get_size() == len(file["learned_net"][()]) + 1
        return found

    mine = Path("s_iter_2.solverstate.h5")
    assert layout(mine) == layout(GOLDEN / "solvers/adam/s_iter_6.solverstate.h5")
    with h5py.File(mine) as file:
        assert set(file) == {"iter", "current_step", "learned_net", "history", "caffe_lite_state"}


@pytest.mark.parametrize("hdf5", [False, True], ids=["binary", "hdf5"])
def test_states_are_read_as_they_were_written(hdf5: bool, tmp_path: Path) -> None:
    history = [np.arange(6, dtype="f").reshape(2, 3), np.zeros((), "f"), *(np.full(2, n, "f") for n in range(12))]
    snapshot = Snapshot(12, "größe/s.caffemodel", 3, history, {"big": 2**100, "text": "ü"})
    write_state(tmp_path / "s", snapshot, hdf5)
    back = read_state(tmp_path / "s")
    assert (back.iteration, back.learned_net, back.current_step, back.extra) == (
        12,
        "größe/s.caffemodel",
        3,
        snapshot.extra,
    )
    for mine, theirs in zip(history, back.history, strict=True):
        assert np.array_equal(mine, theirs) and mine.shape == theirs.shape


def test_snapshot_diff_saves_the_gradients(solvers: list[SGDSolver]) -> None:
    h5py = pytest.importorskip("h5py")
    for hdf5 in (False, True):
        write_solver(hdf5=hdf5, extra="snapshot_diff: true")
        solvers.append(solver := get_solver("solver.prototxt"))
        solver.step(1)
        solver.snapshot()
    gradient = solver.net.params["ip1"][0].diff
    net = NetParameter.FromString(Path("s_iter_1.caffemodel").read_bytes())
    stored = next(layer for layer in net.layer if layer.name == "ip1").blobs[0].diff
    with h5py.File("s_iter_1.caffemodel.h5") as file:
        assert np.array_equal(file["diff/ip1/0"], gradient)
    assert np.array_equal(np.array(stored, "f").reshape(gradient.shape), gradient)


def test_weights_that_moved_with_their_state_are_found(folder: Path, solvers: list[SGDSolver]) -> None:
    (folder / "run").mkdir()
    write_solver(prefix="run/s")
    solvers.append(solver := get_solver("solver.prototxt"))
    solver.step(2)
    solver.snapshot()
    shutil.move(folder / "run", folder / "moved")
    solvers.append(resumed := get_solver("solver.prototxt"))
    resumed.restore("moved/s_iter_2.solverstate")
    assert outcome(resumed)[:-2] == outcome(solver)[:-2]
    (folder / "moved/s_iter_2.caffemodel").unlink()
    with pytest.raises(WeightsError, match=r"run/s_iter_2\.caffemodel: there is no such file"):
        resumed.restore("moved/s_iter_2.solverstate")


def test_a_state_of_another_rule_or_net_is_refused_and_changes_nothing(solvers: list[SGDSolver]) -> None:
    write_solver("Adam")
    solvers.append(solver := get_solver("solver.prototxt"))
    solver.step(1)
    solver.snapshot()
    write_solver("SGD")
    solvers.append(other := get_solver("solver.prototxt"))
    before = outcome(other)
    with pytest.raises(
        SolverError, match=r'solver.prototxt:1:\d+: .* of type Adam, this one is SGD.* Set type: "Adam"'
    ):
        other.restore("s_iter_1.solverstate")
    state = read_state("s_iter_1.solverstate")
    state.extra = {}
    write_state("plain.solverstate", state, hdf5=False)
    with pytest.raises(SolverError, match="holds 8 history arrays, SGD for this net needs 4"):
        other.restore("plain.solverstate")
    write_solver("Adam")
    Path("net.prototxt").write_text(NET.replace("num_output: 10", "num_output: 12"))
    solvers.append(wider := get_solver("solver.prototxt"))
    with pytest.raises(SolverError, match=r"history array 2 .* has shape \(10, 6\), the net's parameter \(12, 6\)"):
        wider.restore("s_iter_1.solverstate")
    assert outcome(other) == before and other.iter == wider.iter == 0


@pytest.mark.parametrize("hdf5", [False, True], ids=["binary", "hdf5"])
@pytest.mark.parametrize("resumed", RULES)
@pytest.mark.parametrize("rule", ["SGD", "Adam"])
def test_another_type_of_solver_is_told(
    rule: str, resumed: str, hdf5: bool, solvers: list[SGDSolver], caplog: pytest.LogCaptureFixture
) -> None:
    """It is reported even if both keep arrays of the same shapes: AdaGrad's are sums of squares, SGD's velocities."""
    write_solver(rule, hdf5)
    solvers.append(solver := get_solver("solver.prototxt"))
    solver.step(1)
    solver.snapshot()
    write_solver(resumed)
    solvers.append(other := get_solver("solver.prototxt"))
    before, state = outcome(other), "s_iter_1.solverstate" + (".h5" if hdf5 else "")
    if resumed == rule or {resumed, rule} == {"SGD", "Nesterov"}:
        other.restore(state)
        assert outcome(other)[:-2] == outcome(solver)[:-2] and other.iter == 1
        assert ("of a SGD solver; its history serves Nesterov, too" in caplog.text) == (resumed != rule)
    else:
        with pytest.raises(SolverError, match=f"of type {rule}, this one is {resumed}"):
            other.restore(state)
        assert outcome(other) == before and other.iter == 0


@pytest.mark.parametrize("hdf5", [False, True], ids=["binary", "hdf5"])
def test_a_state_beside_other_weights_is_refused_and_the_pair_that_fits_is_named(
    hdf5: bool, solvers: list[SGDSolver]
) -> None:
    """A run killed between the two files of a snapshot leaves such a pair if an earlier run took the same snapshot."""
    weights, states = (f".{kind}" + (".h5" if hdf5 else "") for kind in ("caffemodel", "solverstate"))
    write_solver(hdf5=hdf5)
    solvers.append(first := get_solver("solver.prototxt"))
    first.step(4)
    first.snapshot()
    old_state, old_weights = Path(f"s_iter_4{states}").read_bytes(), Path(f"s_iter_4{weights}").read_bytes()
    solvers.append(second := get_solver("solver.prototxt"))
    for _ in range(2):
        second.step(2)
        second.net.params["ip1"][0].data[...] += 0.5
        second.snapshot()
    for suffix in (states, weights):  # files of another run, which are the latest
        shutil.copy(f"s_iter_2{suffix}", f"other_iter_2{suffix}")
    Path(f"s_iter_4{states}").write_bytes(old_state)
    solvers.append(resumed := get_solver("solver.prototxt"))
    before = outcome(resumed)
    with pytest.raises(SolverError) as refused:
        resumed.restore(f"s_iter_4{states}")
    assert str(refused.value).startswith(
        f"s_iter_4{states}: its weights are not those that are now in s_iter_4{weights}"
    )
    pair = re.search(
        r"These fit: (\S+) and (\S+)\. To train on from s_iter_4\S+ as it is, start anew", str(refused.value)
    )
    assert pair and list(pair.groups()) == [f"s_iter_2{states}", f"s_iter_2{weights}"]
    assert outcome(resumed) == before and resumed.iter == 0
    resumed.restore(pair[1])
    assert resumed.iter == 2

    Path(f"kept{weights}").write_bytes(old_weights)
    with pytest.raises(SolverError, match=rf"Its own are in kept{weights}: give them their name back, s_iter_4"):
        resumed.restore(f"s_iter_4{states}")
    os.replace(f"kept{weights}", f"s_iter_4{weights}")
    resumed.restore(f"s_iter_4{states}")
    assert outcome(resumed)[:-2] == outcome(first)[:-2]

    os.truncate(f"s_iter_4{weights}", len(old_weights) - 1)
    for name in (f"s_iter_2{states}", f"s_iter_2{weights}"):
        os.unlink(name)
    with pytest.raises(SolverError, match="No weights in their folder fit it, and no other state of its run fits its"):
        resumed.restore(f"s_iter_4{states}")


def test_a_state_without_a_checksum_takes_the_weights_that_are_there(solvers: list[SGDSolver]) -> None:
    """The original and earlier versions wrote such states."""
    write_solver()
    solvers.append(solver := get_solver("solver.prototxt"))
    solver.step(1)
    solver.snapshot()
    state = read_state("s_iter_1.solverstate")
    assert state.extra.pop("type") == "SGD" and state.extra.pop("weights")
    write_state("s_iter_1.solverstate", state, hdf5=False)
    solver.net.params["ip1"][0].data[...] = 7
    solver.net.save("s_iter_1.caffemodel")
    solvers.append(resumed := get_solver("solver.prototxt"))
    resumed.restore("s_iter_1.solverstate")
    assert (resumed.net.params["ip1"][0].data == 7).all() and resumed.iter == 1


@pytest.mark.parametrize("spoiled", ["missing", "damaged", "other shapes"])
def test_resuming_does_not_need_the_solver_s_weights(spoiled: str, solvers: list[SGDSolver]) -> None:
    write_solver(extra="snapshot: 4")
    solvers.append(first := get_solver("solver.prototxt"))
    first.net.save("start.caffemodel")
    write_solver(extra='snapshot: 4 weights: "start.caffemodel"')
    solvers.append(unbroken := get_solver("solver.prototxt"))
    unbroken.solve()
    Path("start.caffemodel").unlink()
    if spoiled == "damaged":
        Path("start.caffemodel").write_bytes(b"garbage")
    elif spoiled == "other shapes":
        net = NetParameter(
            layer=[LayerParameter(name="ip1", blobs=[BlobProto(data=[1], shape=BlobShape(dim=[1]))] * 2)]
        )
        Path("start.caffemodel").write_bytes(net.SerializeToString())
    for resume in (lambda s: s.solve("s_iter_4.solverstate"), lambda s: (s.restore("s_iter_4.solverstate"), s.solve())):
        solvers.append(resumed := get_solver("solver.prototxt"))
        resume(resumed)
        assert resumed.iter == 9 and outcome(resumed) == outcome(unbroken)
    solvers.append(bare := get_solver("solver.prototxt"))
    for use in (
        lambda: bare.net, lambda: bare.test_nets, lambda: bare.step(1), bare.solve, bare.snapshot, bare.test_all
    ):  # fmt: skip
        with pytest.raises(WeightsError, match=r"start\.caffemodel"):
            use()
    assert bare.iter == 0
    with pytest.raises(SolverError, match="there is no such file"):
        bare.restore("nowhere.solverstate")
    with pytest.raises(WeightsError, match=r"start\.caffemodel"):
        bare.step(1)


def test_what_only_a_test_net_holds_is_named_where_the_solver_s_weights_are_gone(
    solvers: list[SGDSolver], caplog: pytest.LogCaptureFixture
) -> None:
    scaled = NET + 'layer { name: "scale" type: "Scale" bottom: "ip2" top: "s" include { phase: TEST } }'
    Path("net.prototxt").write_text(scaled)
    write_solver()
    solvers.append(solver := get_solver("solver.prototxt"))
    solver.step(1)
    solver.snapshot()
    write_solver(extra='weights: "gone.caffemodel"')
    solvers.append(resumed := get_solver("solver.prototxt"))
    resumed.restore("s_iter_1.solverstate")
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == 1 and "test net #0" in told[0] and "made them: scale. gone.caffemodel: there is no" in told[0]
    resumed.step(1)


def test_weights_that_do_not_fit_are_refused_and_change_nothing(solvers: list[SGDSolver]) -> None:
    write_solver()
    solvers.append(solver := get_solver("solver.prototxt"))
    solver.step(1)
    solver.snapshot()
    shutil.copy(GOLDEN / "solvers/sgd/s_iter_6.caffemodel", "s_iter_1.caffemodel")
    state = read_state("s_iter_1.solverstate")
    state.extra = {}
    write_state("s_iter_1.solverstate", state, hdf5=False)
    before = outcome(solver)
    with pytest.raises(WeightsError, match=r"its shape is 5 4 \(20\), the net's is 6 400"):
        solver.restore("s_iter_1.solverstate")
    assert outcome(solver) == before


@pytest.mark.parametrize("hdf5", [False, True], ids=["binary", "hdf5"])
def test_a_broken_state_is_refused(hdf5: bool, tmp_path: Path) -> None:
    path = tmp_path / "s.solverstate"
    write_state(path, Snapshot(1, "w", 0, [np.ones((20, 20), "f")], {"a": 1}), hdf5)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"garbage " * 100, whole.replace(b'{"a"', b'{"a;'), whole[:3]):
        path.write_bytes(content)
        with pytest.raises(SolverError, match=r"s\.solverstate: it is no solver state"):
            read_state(path)
    path.write_bytes(b"")
    with pytest.raises(SolverError, match="the file is empty"):
        read_state(path)
    with pytest.raises(SolverError, match="no such file"):
        read_state(tmp_path / "missing")


def test_a_state_in_other_files_or_larger_than_its_own_is_refused(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    write_state(tmp_path / "whole.h5", Snapshot(1, "w", 0, [np.ones((20, 20), "f")], {"a": 1}), True)
    for name in ("iter", "history", "history/0", "learned_net", "caffe_lite_state"):
        (tmp_path / "s.h5").write_bytes((tmp_path / "whole.h5").read_bytes())
        with h5py.File(tmp_path / "s.h5", "a") as file:
            del file[name]
            file[name] = h5py.ExternalLink("whole.h5", name)
        with pytest.raises(SolverError, match=rf"s\.h5: it is no solver state, or /{name} is a link to another file"):
            read_state(tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5", "a") as file:
        del file["caffe_lite_state"]
        del file["history/0"]
        file.create_dataset("history/0", (2**40,), "f4")
    with pytest.raises(SolverError, match=r"/history/0 of the shape \(1099511627776,\) is larger than the file"):
        read_state(tmp_path / "s.h5")


def test_weights_in_place_of_a_state_are_refused() -> None:
    for name in ("s_iter_6.caffemodel", "s_iter_6.caffemodel.h5"):
        with pytest.raises(SolverError, match="weights alone"):
            read_state(GOLDEN / "solvers/sgd" / name)


def test_a_snapshot_that_fails_leaves_the_last_one(monkeypatch: pytest.MonkeyPatch, solvers: list[SGDSolver]) -> None:
    write_solver()
    solvers.append(solver := get_solver("solver.prototxt"))
    solver.snapshot()
    before = {path.name: path.read_bytes() for path in Path().iterdir()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    solver.net.params["ip1"][0].data[...] = 5
    with pytest.raises(CaffeError, match="No space left"):
        solver.snapshot()
    assert {path.name: path.read_bytes() for path in Path().iterdir()} == before


def test_hdf5_snapshots_without_h5py_are_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    write_solver(hdf5=True, extra="snapshot: 2")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtra, match="h5py"):
        get_solver("solver.prototxt")


def test_the_original_s_states_have_nothing_of_ours() -> None:
    for name in ("s_iter_6.solverstate", "s_iter_6.solverstate.h5"):
        state = read_state(GOLDEN / "solvers/adam" / name)
        assert (state.iteration, state.current_step, state.extra) == (6, 0, {})
        assert os.path.samefile(state.learned_net, GOLDEN / "solvers/adam" / name.replace("solverstate", "caffemodel"))
        assert [array.shape for array in state.history] == [(5, 4), (5,), (3, 5), (3,)] * 2


def test_the_state_of_ours_is_json(solvers: list[SGDSolver]) -> None:
    write_solver()
    solvers.append(solver := get_solver("solver.prototxt"))
    solver.step(1)
    solver.snapshot()
    state = SolverState.FromString(Path("s_iter_1.solverstate").read_bytes())
    assert set(json.loads(state.caffe_lite_state)) == {*("type", "weights", "net", "test_nets", "losses")}


def test_history_in_the_old_four_dimensional_form_is_read(solvers: list[SGDSolver]) -> None:
    write_solver()
    solvers.append(solver := get_solver("solver.prototxt"))
    solver.step(2)
    solver.snapshot()
    wanted = outcome(solver)[:-2]
    state = SolverState.FromString(Path("s_iter_2.solverstate").read_bytes())
    for blob in state.history:
        dims = [1] * (4 - len(blob.shape.dim)) + list(blob.shape.dim)
        blob.ClearField("shape")
        blob.num, blob.channels, blob.height, blob.width = dims
    Path("s_iter_2.solverstate").write_bytes(state.SerializeToString())
    solver.step(1)
    solver.restore("s_iter_2.solverstate")
    assert outcome(solver)[:-2] == wanted


def test_weights_too_large_for_protobuf_are_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    write_solver(extra="snapshot: 2")
    monkeypatch.setattr("caffe_lite.solvers.solver.PROTOBUF_LIMIT", 4 * (400 * 6 + 6 + 6 * 10 + 10) - 1)
    with pytest.raises(SolverError, match=r"solver\.prototxt:2:\d+: the weights take more than .*HDF5"):
        get_solver("solver.prototxt")


def test_a_state_too_large_for_protobuf_is_refused_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("caffe_lite.net.weights.PROTOBUF_LIMIT", 1000)
    history = [np.ones(126, "f")] * 2
    with pytest.raises(WeightsError, match="HDF5"):
        write_state(tmp_path / "s", Snapshot(1, "w", 0, history, {}), hdf5=False)
    assert not (tmp_path / "s").exists()
    write_state(tmp_path / "s", Snapshot(1, "w", 0, history, {}), hdf5=True)
    assert len(read_state(tmp_path / "s").history) == 2


@pytest.mark.parametrize(
    "extra", [{"other": 1}, {"net": {"rng": {}, "layers": {}}}, {"net": 3}, {"net": {"rng": {"state": "x"}}}]
)
def test_a_damaged_record_of_data_and_random_numbers_is_refused(extra: dict, solvers: list[SGDSolver]) -> None:
    write_solver()
    solvers.append(solver := get_solver("solver.prototxt"))
    solver.snapshot()
    state = read_state("s_iter_0.solverstate")
    state.extra = extra
    write_state("s_iter_0.solverstate", state, hdf5=False)
    with pytest.raises(SolverError, match="or it is damaged"):
        solver.restore("s_iter_0.solverstate")


@pytest.mark.parametrize("format_", ["BINARYPROTO", "HDF5"])
def test_the_newest_whole_snapshot(solvers: list[SGDSolver], format_: str) -> None:
    """A run that was killed may have left a state beside weights of an earlier run, or none."""
    end = ".h5" if format_ == "HDF5" else ""
    Path("runs").mkdir()
    settings = (
        'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" test_iter: 0 test_interval: 100 max_iter: 30 snapshot: 1'
    )
    Path("solver.prototxt").write_text(f'{settings} snapshot_prefix: "runs/a" snapshot_format: {format_}')
    solvers.append(get_solver("solver.prototxt"))
    solvers[-1].step(11)
    state, weights = "runs/a_iter_{}.solverstate{}".format, "runs/a_iter_{}.caffemodel{}".format

    def newest(since: float = 0) -> str | None:
        found = newest_snapshot("runs/a", since)
        return found and os.path.relpath(found).replace(os.sep, "/")

    assert newest() == state(11, end)  # not 9, the last by name
    os.remove(weights(11, end))
    assert newest() == state(10, end)
    shutil.copy(weights(8, end), weights(10, end))
    assert newest() == state(9, end)
    Path(state(9, end)).write_bytes(b"part")
    assert newest() == state(8, end)
    os.utime(state(8, end), (1000, 1000))
    assert newest(since=2000) == state(7, end)
    assert newest_snapshot("runs/b", 0) is None
    assert newest_snapshot("nowhere/a", 0) is None
