"""The nets that a solver makes, their states, and the fields that they come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format

from caffe_lite.errors import CaffeError, PrototxtError, SolverError
from caffe_lite.proto.caffe_pb2 import TEST, TRAIN, SolverParameter
from caffe_lite.solvers import SGDSolver, get_solver


def layers(name: str) -> str:
    """Return the layers of a net, some of which are included by phase, level and stage."""
    rules = {
        "train": "include { phase: TRAIN }",
        "test": "include { phase: TEST }",
        "high": "include { min_level: 2 }",
        "deep": 'include { stage: "deep" }',
        "flat": 'include { stage: "flat" }',
    }
    ip = "inner_product_param { num_output: 2 }"
    return "\n".join(
        [
            f'name: "{name}" layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 1 dim: 2 }} }} }}',
            f'layer {{ name: "ip" type: "InnerProduct" bottom: "x" top: "ip" {ip} }}',
            *(f'layer {{ name: "{n}" type: "Silence" bottom: "ip" {rule} }}' for n, rule in rules.items()),
        ]
    )


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "c"):
        Path(f"{name}.prototxt").write_text(layers(name))
    return tmp_path


def solver(text: str) -> SGDSolver:
    Path("solver.prototxt").write_text(text)
    return get_solver("solver.prototxt")


def included(net: object) -> list[str]:
    return [name for name in net._layer_names if name in ("train", "test", "high", "deep", "flat")]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "given 0 times.*Give exactly one of net, net_param"),
        ('net: "a.prototxt" train_net: "b.prototxt"', "given 2 times: net, train_net"),
        ('net: "a.prototxt" net_param { name: "n" }', "given 2 times: net, net_param"),
        ('train_net: "a.prototxt" test_iter: 1 test_interval: 1', "test_iter is given 1 times for 0 test nets"),
        ('train_net: "a.prototxt" test_net: "b.prototxt"', "test_iter is given 0 times for 1 test nets"),
        ('net: "a.prototxt" test_net: "b.prototxt"', "test_iter is given 0 times for 1 test nets"),
        ('net: "a.prototxt" test_iter: 1', r"solver\.prototxt:1:19: there is a test net, but no test_interval"),
        (
            'net: "a.prototxt" test_iter: 1 test_interval: 1 test_state {} test_state {}',
            "test_state is given 2 times for 1",
        ),
    ],
)
def test_fields_that_contradict_each_other_are_refused(text: str, message: str) -> None:
    if not text:
        text = "base_lr: 1"
    with pytest.raises(SolverError, match=message):
        solver(text)


@pytest.mark.parametrize("text", ['net: "a.prototxt"', 'train_net: "a.prototxt"'])
def test_the_train_net_comes_from_a_file(text: str) -> None:
    made = solver(text)
    assert made.net.name == "a" and made.net.phase == TRAIN and not made.test_nets
    assert included(made.net) == ["train"]


@pytest.mark.parametrize("field", ["net_param", "train_net_param"])
def test_the_train_net_stands_in_the_solver(field: str) -> None:
    assert solver(f"{field} {{ {layers('n')} }}").net.name == "n"
    param = text_format.Parse(f"{field} {{ {layers('n')} }}", SolverParameter())
    made = get_solver(param)
    assert made.net.name == "n"
    made.param.max_iter = 7
    assert not param.HasField("max_iter")


def test_test_nets_come_in_the_original_s_order(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "caffe_lite"):
        made = solver(
            f'net: "a.prototxt" test_net: "b.prototxt" test_net_param {{ {layers("n")} }} test_interval: 1 '
            + "test_iter: 1 " * 4
        )
    assert [net.name for net in made.test_nets] == ["n", "b", "a", "a"]
    assert all(net.phase == TEST and included(net) == ["test"] for net in made.test_nets)
    assert [m for m in caplog.messages if m.startswith("Creating") and "net" in m and "Layer" not in m] == [
        "Creating training net from net file: a.prototxt",
        "Creating test net (#0) specified by test_net_param",
        "Creating test net (#1) specified by test_net file: b.prototxt",
        "Creating test net (#2) specified by net file: a.prototxt",
        "Creating test net (#3) specified by net file: a.prototxt",
    ]


def test_states_are_merged_the_solver_s_last() -> None:
    Path("a.prototxt").write_text('state { level: 2 stage: "deep" }' + layers("a"))
    made = solver(
        'net: "a.prototxt" train_state { stage: "flat" } test_iter: 1 test_iter: 1 test_interval: 1 '
        "test_state { level: 1 } test_state { phase: TRAIN }"
    )
    assert included(made.net) == ["train", "high", "deep", "flat"]
    assert [included(net) for net in made.test_nets] == [["test", "deep"], ["train", "high", "deep"]]


def test_weights_are_loaded_in_order_into_all_nets() -> None:
    first = solver('net: "a.prototxt"')
    for value, name in ((1, "one"), (2, "two")):
        for blob in first.net.params["ip"]:
            blob.data[...] = value
        first.net.save(f"{name}.caffemodel")
    first.net.save_hdf5("three.h5")
    made = solver(
        'net: "a.prototxt" test_iter: 1 test_interval: 1 '
        'weights: "one.caffemodel, two.caffemodel" weights: "one.caffemodel"'
    )
    for net in (made.net, *made.test_nets):
        assert np.all(net.params["ip"][0].data == 1)
    made = solver('net: "a.prototxt" weights: "one.caffemodel, three.h5"')
    assert np.all(made.net.params["ip"][0].data == 2)
    with pytest.raises(CaffeError, match="four"):
        solver('net: "a.prototxt" weights: "four.caffemodel"').step(1)


def test_a_net_is_looked_for_beside_the_solver_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    solver('net: "a.prototxt"')
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    assert get_solver("../solver.prototxt").net.name == "a"
    Path("a.prototxt").write_text(layers("here"))
    assert get_solver("../solver.prototxt").net.name == "here"


def test_a_net_that_is_nowhere_is_an_error_with_the_path_as_given() -> None:
    with pytest.raises(PrototxtError, match=r"^nowhere\.prototxt: there is no such file"):
        solver('net: "nowhere.prototxt"')


def test_test_nets_draw_from_seeds_of_their_own() -> None:
    made = solver('net: "a.prototxt" random_seed: 5 test_iter: 1 test_iter: 1 test_interval: 1')
    again = solver('net: "a.prototxt" random_seed: 5 test_iter: 1 test_iter: 1 test_interval: 1')
    draws = [net.rng.random() for net in (made.net, *made.test_nets)]
    assert len(set(draws)) == 3
    assert draws == [net.rng.random() for net in (again.net, *again.test_nets)]


def test_tests_score_the_trained_weights_also_where_only_a_parameter_s_name_tells(engine: str) -> None:
    ip = 'type: "InnerProduct" bottom: "x" param { name: "w" } inner_product_param { num_output: 2 '
    ip += 'bias_term: false weight_filler { type: "gaussian" } }'
    Path("shared.prototxt").write_text(f"""
layer {{ name: "x" type: "DummyData" top: "x" top: "t" dummy_data_param {{
        data_filler {{ value: 2 }} data_filler {{ value: 1 }} shape {{ dim: 3 dim: 2 }} }} }}
layer {{ name: "A" top: "A" {ip} }}
layer {{ name: "B" top: "B" {ip} include {{ phase: TEST }} }}
layer {{ name: "loss" type: "EuclideanLoss" bottom: "A" bottom: "t" top: "loss" include {{ phase: TRAIN }} }}""")
    Path("solver.prototxt").write_text(
        'net: "shared.prototxt" base_lr: 0.1 lr_policy: "fixed" test_iter: 1 test_interval: 2 snapshot_prefix: "s"'
    )
    made = get_solver("solver.prototxt", engine=engine)
    made.step(3)
    assert set(made.test_scores[0]) == {"A", "B", "t"}
    tops = {name: blob.data for name, blob in made.test_nets[0].blobs.items()}
    assert (tops["A"] == tops["B"]).all() and np.allclose(made.test_scores[0]["A"], made.test_scores[0]["B"])
    made.test_nets[0].forward()
    np.testing.assert_allclose(
        made.test_nets[0].blobs["B"].data, 2 * made.net.params["A"][0].data.sum(1)[None].repeat(3, 0), 1e-5
    )
