"""RNN and LSTM: the common properties of layers over sequences, and each layer against its definition."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite import TEST, Net, get_solver
from caffe_lite.errors import LayerError

from .gradient import Bottom, check
from .gradient import make_net as make_layer_net

TYPES = ["RNN", "LSTM"]
STATES = {"RNN": 1, "LSTM": 2}


def recurrent(
    type: str,
    engine: str,
    steps: int = 4,
    streams: int = 3,
    inputs: tuple[int, ...] = (5,),
    size: int = 2,
    static: tuple[int, ...] | None = None,
    expose: bool = False,
    seed: int = 0,
) -> Net:
    """Make a single layer; cont has 0, 1 and numbers between, also in the first step."""
    shapes = [(steps, streams, *inputs), (steps, streams), *([(streams, *static)] if static is not None else [])]
    shapes += [(1, streams, size)] * (STATES[type] * expose)
    text = f'type: "{type}" recurrent_param {{ num_output: {size} {"expose_hidden: true" if expose else ""} }}'
    tops = 1 + STATES[type] * expose
    net = make_layer_net(text, [Bottom(shape) for shape in shapes], tops, engine=engine, seed=seed)
    rng = np.random.default_rng(seed)
    for blob in net.params["under_test"]:
        blob.data[...] = rng.uniform(-0.7, 0.7, blob.shape)
    net.blobs["x1"].data[...] = rng.choice([0, 0.5, 1, 1], (steps, streams))
    return net


def slowly(type: str, net: Net, static: bool, expose: bool) -> list[np.ndarray]:
    """Compute the definition step by step; return the output and the last states."""
    blobs = [blob.data for blob in net.params["under_test"]]
    x, cont, *others = (net.blobs[name].data for name in net.inputs)
    w_x, b = blobs[:2]
    fixed = b + (others.pop(0).reshape(x.shape[1], -1) @ blobs.pop(2).T if static else 0)
    w_h = blobs[2]
    size = w_h.shape[1]
    states = [state[0] for state in others] if expose else [np.zeros((x.shape[1], size))] * STATES[type]
    outputs = []
    for x_t, cont_t in zip(x.reshape(*x.shape[:2], -1), cont[..., None], strict=True):
        gates = x_t @ w_x.T + fixed + (cont_t * states[0]) @ w_h.T
        if type == "RNN":
            states = [np.tanh(gates)]
            outputs.append(np.tanh(states[0] @ blobs[3].T + blobs[4]))
        else:
            i, f, o = (1 / (1 + np.exp(-gates[:, k * size : (k + 1) * size])) for k in range(3))
            c = cont_t * f * states[1] + i * np.tanh(gates[:, 3 * size :])
            states = [o * np.tanh(c), c]
            outputs.append(states[0])
    return [np.array(outputs), *(state[None] for state in states)]


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("expose", [False, True])
@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_against_the_definition_and_gradients(type, expose, engine, data) -> None:
    small = st.integers(1, 3)
    steps, streams, size = (data.draw(small, name) for name in ("steps", "streams", "size"))
    inputs = data.draw(st.lists(small, max_size=3).map(tuple), "inputs")
    static = data.draw(st.none() | st.lists(small, max_size=2).map(tuple), "static")
    net = recurrent(type, engine, steps, streams, inputs, size, static, expose, data.draw(st.integers(0, 9), "seed"))
    wanted = slowly(type, net, static is not None, expose)
    net.forward()
    for name, value in zip(net.node("under_test").top_names, wanted, strict=False):
        np.testing.assert_allclose(net.blobs[name].data, value, rtol=1e-9, atol=1e-12)
    if not expose:  # otherwise each pass would begin where the last one ended
        net.blobs["x1"].data[0] = 0
    check(net, tops=["y0"])


@pytest.mark.parametrize(("type", "gates", "more"), [("RNN", 1, [(2, 2), (2,)]), ("LSTM", 4, [])])
@pytest.mark.parametrize("static", [None, (2, 3)])
def test_the_blobs(engine, type, gates, more, static) -> None:
    net = recurrent(type, engine, inputs=(5, 2), static=static)
    shapes = [(2 * gates, 10), (2 * gates,), *([(2 * gates, 6)] if static else []), (2 * gates, 2), *more]
    assert [blob.shape for blob in net.params["under_test"]] == shapes


@pytest.mark.parametrize("type", TYPES)
def test_a_sequence_may_be_longer_than_a_pass(engine, type) -> None:
    whole, parts = recurrent(type, engine, steps=6), recurrent(type, engine, steps=2)
    whole.blobs["x1"].data[...] = 1
    whole.blobs["x1"].data[3, 1] = 0
    x, cont = (whole.blobs[name].data.copy() for name in ("x0", "x1"))
    whole.forward()
    wanted = whole.blobs["y0"].data.copy()
    for begin in (0, 2, 4):
        parts.blobs["x0"].data[...] = x[begin : begin + 2]
        parts.blobs["x1"].data[...] = cont[begin : begin + 2]
        parts.forward()
        np.testing.assert_allclose(parts.blobs["y0"].data, wanted[begin : begin + 2], rtol=1e-12)
    whole.forward()
    assert np.abs(whole.blobs["y0"].data[0] - wanted[0]).max() > 1e-3
    whole.blobs["x1"].data[0] = 0
    whole.forward()
    np.testing.assert_allclose(whole.blobs["y0"].data, wanted, rtol=1e-12)


@pytest.mark.parametrize("type", TYPES)
def test_states_that_are_exposed_go_on_in_the_next_pass_if_one_passes_them_on(engine, type) -> None:
    inside, outside = recurrent(type, engine), recurrent(type, engine, expose=True)
    names = [(f"x{2 + i}", f"y{1 + i}") for i in range(STATES[type])]
    for name in ("x0", "x1"):
        outside.blobs[name].data[...] = inside.blobs[name].data
    for initial, _ in names:
        outside.blobs[initial].data[...] = 0
    for _ in range(3):
        for net in (inside, outside):
            net.forward()
        np.testing.assert_allclose(outside.blobs["y0"].data, inside.blobs["y0"].data, rtol=1e-12)
        for initial, final in names:
            outside.blobs[initial].data[...] = outside.blobs[final].data


@pytest.mark.parametrize("type", TYPES)
def test_no_gradient_flows_through_states_or_cont(engine, type) -> None:
    net = recurrent(type, engine, expose=True)
    net.blobs["x1"].data[...] = 1
    net.forward()
    gradients = []
    for of_states in (0, 5):
        net.clear_param_diffs()
        net.blobs["y0"].diff[...] = 1
        for i in range(STATES[type]):
            net.blobs[f"y{1 + i}"].diff[...] = of_states
        net.backward()
        gradients.append([net.blobs["x0"].diff.copy(), *(blob.diff.copy() for blob in net.params["under_test"])])
        assert not any(net.blobs[f"x{i}"].diff.any() for i in range(1, 2 + STATES[type]))
    for a, b in zip(*gradients, strict=True):
        assert a.any()
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("type", TYPES)
def test_a_frozen_blob_gets_no_gradient(engine, type) -> None:
    net = recurrent(type, engine, static=(2,))
    for frozen in range(len(net.params["under_test"])):
        needed = [i != frozen for i in range(len(net.params["under_test"]))]
        net.node("under_test").layer.param_propagate_down = needed
        net.clear_param_diffs()
        net.forward()
        net.blobs["y0"].diff[...] = 1
        net.backward()
        assert [blob.diff.any() for blob in net.params["under_test"]] == needed


@pytest.mark.parametrize("type", TYPES)
def test_other_numbers_of_steps_and_streams(engine, type) -> None:
    net, other = recurrent(type, engine, steps=3, streams=3), recurrent(type, engine, steps=3, streams=3)

    def run(net: Net, steps: int, streams: int) -> np.ndarray:
        x = np.random.default_rng(steps).standard_normal((5, 3, 5))[:steps, :streams]
        net.blobs["x0"].reshape(*x.shape)
        net.blobs["x1"].reshape(steps, streams)
        net.blobs["x0"].data[...] = x
        net.blobs["x1"].data[...] = 1
        net.forward()
        return net.blobs["y0"].data

    np.testing.assert_array_equal(run(net, 3, 3), run(other, 3, 3))
    np.testing.assert_allclose(run(net, 5, 2), run(other, 5, 3)[:, :2], rtol=1e-12)
    fresh = recurrent(type, engine, streams=3)
    np.testing.assert_allclose(run(net, 2, 3), run(fresh, 2, 3), rtol=1e-12)
    net.blobs["x1"].data[0] = 0
    check(net)


@pytest.mark.parametrize("expose", [False, True])
@pytest.mark.parametrize("type", TYPES)
def test_no_steps_leave_the_states(engine, type, expose) -> None:
    net, never = (recurrent(type, engine, steps=2, streams=3, expose=expose) for _ in range(2))
    for one in (net, never):
        one.blobs["x1"].data[...] = 1
        one.forward()
    last = [net.blobs[f"y{i}"].data.copy() for i in range(1, 1 + STATES[type] * expose)]
    for i, state in enumerate(last):
        net.blobs[f"x{2 + i}"].data[...] = state
    net.blobs["x0"].reshape(0, 3, 5)
    net.blobs["x1"].reshape(0, 3)
    net.forward()
    assert net.blobs["y0"].shape == (0, 3, 2)
    for i, state in enumerate(last, 1):
        np.testing.assert_array_equal(net.blobs[f"y{i}"].data, state)
    assert net.state()["layers"] == never.state()["layers"]


NET = """
name: "sequences"
layer {{ name: "data" type: "DummyData" top: "x" top: "cont" top: "y" dummy_data_param {{
  shape {{ dim: 3 dim: 2 dim: 4 }} shape {{ dim: 3 dim: 2 }} shape {{ dim: 3 dim: 2 dim: 2 }}
  data_filler {{ type: "gaussian" }} data_filler {{ type: "constant" value: 1 }} data_filler {{ type: "uniform" }} }} }}
layer {{ name: "steps" type: "{type}" bottom: "x" bottom: "cont" top: "h" recurrent_param {{ num_output: 2 {more}
  weight_filler {{ type: "uniform" min: -0.5 max: 0.5 }} bias_filler {{ type: "constant" value: 0.1 }} }} }}
layer {{ name: "loss" type: "EuclideanLoss" bottom: "h" bottom: "y" top: "loss" }}
"""


@pytest.mark.parametrize("type", TYPES)
def test_a_snapshot_holds_the_states(engine, type, tmp_path) -> None:
    (tmp_path / "net.prototxt").write_text(NET.format(type=type, more=""))
    (tmp_path / "solver.prototxt").write_text(
        f'net: "{(tmp_path / "net.prototxt").as_posix()}" snapshot_prefix: "{(tmp_path / "steps").as_posix()}"\n'
        'base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 random_seed: 1'
    )
    whole = get_solver(tmp_path / "solver.prototxt", engine=engine)
    whole.step(3)
    whole.snapshot()
    json.dumps(whole.net.state())
    whole.step(2)
    resumed = get_solver(tmp_path / "solver.prototxt", engine=engine)
    resumed.restore(tmp_path / "steps_iter_3.solverstate")
    resumed.step(2)
    np.testing.assert_array_equal(resumed.net.blobs["h"].data, whole.net.blobs["h"].data)
    for mine, theirs in zip(resumed.net.params["steps"], whole.net.params["steps"], strict=True):
        np.testing.assert_array_equal(mine.data, theirs.data)


@pytest.mark.parametrize(
    ("type", "lines"),
    [
        ("RNN", ["[Forward] Layer steps_h_input_sum_2, top blob h_neuron_input_2 data: ",
                 "[Forward] Layer steps_h_neuron_2, top blob h_2 data: ",
                 "[Backward] Layer steps_h_neuron_2, bottom blob h_neuron_input_2 diff: "]),
        ("LSTM", ["[Forward] Layer steps_gate_input_2, top blob gate_input_2 data: ",
                  "[Forward] Layer steps_unit_2, top blob h_2 data: ",
                  "[Forward] Layer steps_unit_2, top blob c_2 data: ",
                  "[Backward] Layer steps_unit_2, bottom blob gate_input_2 diff: "]),
    ],
)  # fmt: skip
def test_debug_info_logs_every_step(make_net, type, lines, caplog) -> None:
    for more in ("", "debug_info: true"):
        net = make_net(NET.format(type=type, more=more), seed=1)
        with caplog.at_level(logging.INFO, "caffe_lite"):
            caplog.clear()
            net.forward()
            net.backward()
        found = [line.strip() for line in caplog.messages if "ward] Layer steps_" in line]
        assert len(found) == (3 * len(lines) if more else 0)
        for line in lines if more else ():
            (value,) = (entry[len(line) :] for entry in found if entry.startswith(line))
            assert float(value) > 0
    h = net.blobs["h"].data[1]
    if type == "LSTM":
        assert f"    {lines[1]}{np.abs(h).mean():g}" in caplog.messages
    for blob in ("x", "cont", "y"):
        net.blobs[blob].reshape(3, 0, *net.blobs[blob].shape[2:])
    with caplog.at_level(logging.INFO, "caffe_lite"):
        caplog.clear()
        net.forward()
        net.backward()
    assert {f"    {line}0" for line in lines} <= set(caplog.messages)


def text(type: str, params: str, *shapes: tuple[int, ...], tops: int = 1) -> str:
    dims = " ".join(f"shape {{ {' '.join(f'dim: {n}' for n in shape)} }}" for shape in shapes)
    names = " ".join(f'top: "x{i}"' for i in range(len(shapes)))
    ends = " ".join([*(f'bottom: "x{i}"' for i in range(len(shapes))), *(f'top: "y{i}"' for i in range(tops))])
    return (
        f'layer {{ name: "in" type: "Input" {names} input_param {{ {dims} }} }}\n'
        f'layer {{ name: "steps" type: "{type}" {ends} recurrent_param {{ {params} }} }}\n'
    )


@pytest.mark.parametrize(
    ("type", "params", "shapes", "tops", "message"),
    [
        ("RNN", "", [(3, 2, 4), (3, 2)], 1, "num_output is 0. Give recurrent_param a num_output of at least 1"),
        ("LSTM", "num_output: 2", [(3,), (3,)], 1, "the bottom's shape is (3,)"),
        ("LSTM", "num_output: 2", [(3, 2, 0), (3, 2)], 1, "the bottoms (3, 2, 0), (3, 2) give nothing to read"),
        ("RNN", "num_output: 2", [(3, 2, 4), (3, 2), (2, 0)], 1, "the bottoms (3, 2, 4), (3, 2), (2, 0) give nothing"),
        ("LSTM", "num_output: 2", [(3, 2, 4), (2, 3)], 1,
         "the shape of cont is (2, 3). Beside the first bottom it must be (3, 2)"),
        ("LSTM", "num_output: 2", [(3, 2, 4), (3, 2), (3, 5)], 1,
         "the shape of the static input is (3, 5). Beside the first bottom it must be (2, 5)"),
        ("RNN", "num_output: 2", [(3, 2, 4), (3, 2), (2, 5), (1, 2, 2)], 1,
         "4 bottoms and 1 tops without expose_hidden. Give it x, cont, a static input if you have one; and as tops"),
        ("LSTM", "num_output: 2 expose_hidden: true", [(3, 2, 4), (3, 2), (1, 2, 2)], 3,
         "3 bottoms and 3 tops with expose_hidden. Give it x, cont, a static input if you have one, h_0, c_0; and as"),
        ("LSTM", "num_output: 2 expose_hidden: true", [(3, 2, 4), (3, 2), (1, 2, 2), (1, 2, 2)], 2,
         "4 bottoms and 2 tops with expose_hidden"),
        ("LSTM", "num_output: 2 expose_hidden: true", [(3, 2, 4), (3, 2), (1, 2, 2), (2, 2)], 3,
         "the shape of c_0 is (2, 2). Beside the first bottom it must be (1, 2, 2)"),
    ],
)  # fmt: skip
def test_what_makes_no_sense(make_net, type, params, shapes, tops, message) -> None:
    with pytest.raises(LayerError) as caught:
        make_net(text(type, params, *shapes, tops=tops))
    assert f'net.prototxt:2:1, layer "steps" ({type}): {message}' in str(caught.value)


def test_the_size_of_the_inputs_stays(make_net) -> None:
    net = make_net(text("LSTM", "num_output: 2", (3, 2, 4), (3, 2), (2, 5)), TEST)
    for name, shape, what in (("x2", (2, 6), "the static input gives 6"), ("x0", (3, 2, 7), "the bottom gives 7")):
        net.blobs[name].reshape(*shape)
        with pytest.raises(LayerError, match=rf"{what} inputs at a time, the weights have"):
            net.reshape()


def test_cont_cannot_be_learned(make_net) -> None:
    net = make_net(
        'layer { name: "in" type: "Input" top: "x" top: "c" input_param {\n'
        "  shape { dim: 3 dim: 2 dim: 1 } shape { dim: 3 dim: 2 } } }\n"
        'layer { name: "learned" type: "Scale" bottom: "c" top: "cont" }\n'
        'layer { name: "steps" type: "RNN" bottom: "x" bottom: "cont" top: "y" recurrent_param { num_output: 1 } }\n'
        'layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "x" top: "loss" }\n'
    )
    net.forward()
    with pytest.raises(LayerError, match=r'layer "steps" \(RNN\): a gradient is asked for cont, and there is none'):
        net.backward()
