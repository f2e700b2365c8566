"""Arrays that a user holds show the results of every pass, on every engine, fused and compiled."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from caffe_lite import TEST, TRAIN, Net
from caffe_lite.blobs import Blob
from caffe_lite.blobs.lending import lend, lend_diff, refresh
from caffe_lite.ops import get_ops
from caffe_lite.proto.caffe_pb2 import NetParameter
from caffe_lite.proto.parser import parse_text
from caffe_lite.solvers import get_solver

CHAIN = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 5 dim: 5 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" std: 0.3 } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 3 } }
layer { name: "left" type: "Sigmoid" bottom: "pool" top: "left" }
layer { name: "right" type: "TanH" bottom: "pool" top: "right" }
layer { name: "sum" type: "Eltwise" bottom: "left" bottom: "right" top: "sum" }
layer { name: "flat" type: "Flatten" bottom: "sum" top: "flat" }
layer { name: "ip" type: "InnerProduct" bottom: "flat" top: "ip"
        inner_product_param { num_output: 3 transpose: true weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "target" top: "loss" }
"""
TARGET = 'layer { name: "target" type: "Input" top: "target" input_param { shape { dim: 2 dim: 3 } } }'


def chain(phase: int, engine: str, **options) -> Net:
    return Net(parse_text(TARGET + CHAIN, NetParameter, "net.prototxt"), phase, engine=engine, seed=1, **options)


def fill(net: Net, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for name in net.inputs:
        net.blobs[name].data[...] = rng.normal(size=net.blobs[name].shape)


@pytest.fixture(params=[False, True], ids=["", "compiled"])
def compile(request, engine) -> bool:
    if request.param and engine != "torch":
        pytest.skip("torch alone compiles")
    return request.param


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_data_taken_once_show_every_pass(phase, engine):
    """Compare twenty passes with those of a net of which nobody holds an array."""
    net, other = chain(phase, engine), chain(phase, engine)
    held = {name: blob.data for name, blob in net.blobs.items()}
    for seed in range(20):
        for each in (net, other):
            fill(each, seed)
            each.forward()
        for name, array in held.items():
            np.testing.assert_array_equal(array, other.blobs[name].data, err_msg=f"{name} in pass {seed}")
            assert array.any() or name == "conv"


def test_diffs_taken_once_show_every_pass(engine):
    net, other = chain(TRAIN, engine), chain(TRAIN, engine)
    held = {name: blob.diff for name, blob in net.blobs.items()}
    held |= {(layer, i): blob.diff for layer, blobs in net.params.items() for i, blob in enumerate(blobs)}
    for seed in range(20):
        for each in (net, other):
            each.clear_param_diffs()
            fill(each, seed)
            each.forward()
            each.backward()
        for name, array in held.items():
            expected = other.blobs[name].diff if isinstance(name, str) else other.params[name[0]][name[1]].diff
            np.testing.assert_array_equal(array, expected, err_msg=f"{name} in pass {seed}")
    net.clear_param_diffs()
    assert not any(array.any() for name, array in held.items() if not isinstance(name, str))


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_an_output_taken_once_shows_every_pass(phase, engine, compile):
    net = chain(phase, engine, compile=compile)
    loss = net.blobs["loss"].data
    seen = set()
    for seed in range(20):
        fill(net, seed)
        net.clear_param_diffs()
        net.forward_backward_pass() if phase == TRAIN else net.forward_pass()
        assert float(loss) == net.ops.number(net.output_blobs[0][1].data)
        seen.add(float(loss))
    assert len(seen) == 20


def test_what_lies_inside_a_compiled_net_stays_current(engine, compile, caplog):
    caplog.set_level("INFO", "caffe_lite")
    net, other = chain(TEST, engine, compile=compile), chain(TEST, engine)
    pool = net.blobs["pool"].data
    for seed in range(3):
        for each in (net, other):
            fill(each, seed)
            each.forward()
        np.testing.assert_array_equal(pool, other.blobs["pool"].data)
    assert ("until they let go of them, passes run layer by layer" in caplog.text) is compile
    assert caplog.text.count("Compiling") == 0
    del pool
    net.forward()
    assert caplog.text.count("Compiling") == compile


def test_what_is_derived_of_an_array_stays_current(engine):
    net = chain(TEST, engine)
    images = net.blobs["pool"].data[0].T
    fill(net, 1)
    net.forward()
    first = images.copy()
    fill(net, 2)
    net.forward()
    assert not np.array_equal(images, first)
    np.testing.assert_array_equal(images, net.blobs["pool"].data[0].T)


def test_what_is_written_into_a_held_array_counts_for_backward(engine):
    """As in the original, layers use the values that a script has written into their blobs between the passes."""
    gradients = []
    for hold_before in (False, True):
        net = chain(TRAIN, engine)
        held = net.blobs["flat"].data if hold_before else None
        fill(net, 3)
        net.forward()
        flat = net.blobs["flat"].data if held is None else held
        flat[...] = np.arange(flat.size).reshape(flat.shape)
        net.backward()
        gradients.append(net.params["ip"][0].diff.copy())
    np.testing.assert_array_equal(*gradients)
    assert gradients[0].any()


def test_nothing_is_copied_where_nobody_holds_an_array(engine):
    net = chain(TRAIN, engine)
    fill(net, 0)
    net.forward()
    before = net._blob["pool"].data
    assert net.blobs["pool"].data is not None
    gc.collect()
    net.forward()
    assert net._blob["pool"].data is not before
    held = net.blobs["pool"].data
    bound = net._blob["pool"].data
    net.forward()
    assert net._blob["pool"].data is bound
    assert held is not None


def test_a_pass_over_a_part_shows_what_it_made(engine):
    net = chain(TEST, engine)
    conv = net.blobs["conv"].data
    fill(net, 1)
    net.forward(end="conv")
    before_relu = conv.copy()
    assert (before_relu < 0).any()
    net.forward()
    assert (conv >= 0).all() and conv.any()


def test_parameters_stay_current_while_they_are_trained(engine, compile, tmp_path):
    (tmp_path / "net.prototxt").write_text(TARGET + CHAIN)
    (tmp_path / "solver.prototxt").write_text(
        f'net: "{(tmp_path / "net.prototxt").as_posix()}" base_lr: 0.1 momentum: 0.9 lr_policy: "fixed" random_seed: 1'
    )
    solver = get_solver(tmp_path / "solver.prototxt", engine=engine, compile=compile)
    weight, gradient = solver.net.params["ip"][0].data, solver.net.params["ip"][0].diff
    for seed in range(3):
        fill(solver.net, seed)
        before = weight.copy()
        solver.step(1)
        assert not np.array_equal(weight, before)
        np.testing.assert_array_equal(weight, solver.net.params["ip"][0].data)
        np.testing.assert_array_equal(gradient, solver.net.params["ip"][0].diff)
        assert gradient.any()


def test_a_write_into_a_shared_parameters_diff_is_not_lost(engine):
    net = Net(
        parse_text(
            """layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 6 } } }
            layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" }
                    inner_product_param { num_output: 4 bias_term: false transpose: true } }
            layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" param { name: "w" share_mode: PERMISSIVE }
                    inner_product_param { num_output: 6 bias_term: false transpose: true } }
            layer { name: "loss" type: "EuclideanLoss" bottom: "b" bottom: "x" top: "loss" }""",
            NetParameter,
            "net.prototxt",
        ),
        TRAIN,
        engine=engine,
    )
    net.blobs["x"].data[...] = 1
    for name in ("a", "b"):
        net.params[name][0].data[...] = 0.1
    net.forward()
    net.backward()
    owner, sharer = net.params["a"][0], net.params["b"][0]
    sharer.diff[0, 5] = 9
    assert owner.diff.ravel()[5] == 9
    held = sharer.diff
    owner.diff[0, 0] = 8
    assert held[0, 0] == 8
    net.clear_param_diffs()
    assert not held.any()


@pytest.mark.parametrize("shape", [(), (0, 3), (1, 1), (2, 3, 4, 5)])
def test_arrays_of_every_kind_can_be_held(shape, engine):
    blob = Blob(get_ops(engine), shape)
    for part, kept in (("data", lend(blob)), ("diff", lend_diff(blob))):
        setattr(blob, part, blob.ops.full(shape, 3))
        refresh(blob)
        assert kept.shape == shape and (kept == 3).all()
        kept[...] = 4
        assert (blob.ops.host_view(getattr(blob, part)) == 4).all()


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("reader", ["Split", "Eltwise"])
def test_diffs_that_share_a_gradient_are_held_apart(reader, engine):
    """A blob's only gradient is also bound to the blob below; a user who holds both sees both, pass after pass."""
    if engine == "torch":
        pytest.importorskip("torch")
    tops = 'top: "a" top: "unread"' if reader == "Split" else 'bottom: "y" top: "a"'
    text = f"""force_backward: true
    layer {{ name: "data" type: "Input" top: "x" top: "y"
             input_param {{ shape {{ dim: 2 dim: 3 }} shape {{ dim: 2 dim: 3 }} }} }}
    layer {{ name: "shared" type: "{reader}" bottom: "x" {tops} }}
    layer {{ name: "loss" type: "Reduction" bottom: "a" top: "loss" loss_weight: 2 }}"""
    net = Net(parse_text(text, NetParameter, "net.prototxt"), TRAIN, engine=engine)
    net.forward()
    net.backward()
    held = {name: blob.diff for name, blob in net.blobs.items()}
    for _ in range(3):
        net.backward()
        np.testing.assert_array_equal(held["a"], np.full((2, 3), 2.0))
        np.testing.assert_array_equal(held["x"], np.full((2, 3), 2.0))
    held["x"][...] = 5
    np.testing.assert_array_equal(net.blobs["a"].diff, np.full((2, 3), 2.0))
    net.blobs["a"].diff[...] = 7
    np.testing.assert_array_equal(net.blobs["x"].diff, np.full((2, 3), 5.0))
    np.testing.assert_array_equal(held["y"], np.full((2, 3), 0.0 if reader == "Split" else 2.0))
