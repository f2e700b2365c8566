"""Fusion: whatever runs as one kernel, every blob and gradient is the same as layer by layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite import TEST, TRAIN, Net
from caffe_lite.errors import CaffeError
from caffe_lite.proto.caffe_pb2 import NetParameter, SolverParameter
from caffe_lite.proto.parser import parse_text
from caffe_lite.proto.prototxt import read_net
from caffe_lite.solvers import get_solver

torch = pytest.importorskip("torch")
TorchDispatchMode = pytest.importorskip("torch.utils._python_dispatch").TorchDispatchMode
native = pytest.importorskip("caffe_lite.ops.torch.kernels.native")

CONFIGS = Path(__file__).parents[2] / "configs"
INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 4 dim: 5 dim: 6 } } }\n'
GAUSS = '{ type: "gaussian" std: 0.4 }'
FILLERS = f"weight_filler {GAUSS} bias_filler {GAUSS}"


def layer(name: str, kind: str, bottoms: str, top: str, more: str = "") -> str:
    bottom = " ".join(f'bottom: "{b}"' for b in bottoms.split())
    return f'layer {{ name: "{name}" type: "{kind}" {bottom} top: "{top}" {more} }}\n'


def conv(name: str, bottom: str, top: str = "", more: str = "kernel_size: 3 pad: 1") -> str:
    return layer(name, "Convolution", bottom, top or name, f"convolution_param {{ num_output: 4 {more} {FILLERS} }}")


def block(in_place: bool = True) -> str:
    """Write Convolution, BatchNorm, Scale, ReLU, in place on c, or with tops c, b, s and r."""
    b, s, r = ("c",) * 3 if in_place else ("b", "s", "r")
    return (
        conv("c", "data")
        + layer("b", "BatchNorm", "c", b)
        + layer("s", "Scale", b, s, "scale_param { bias_term: true }")
        + layer("r", "ReLU", s, r)
    )


def loss(bottom: str) -> str:
    """Write a loss on an array of the input's shape."""
    target = INPUT.replace('"data"', '"target"')
    return target + layer("loss", "EuclideanLoss", f"{bottom} target", "loss")


def net_of(text: str, phase: int = TEST, **options) -> Net:
    net = Net(parse_text(text, NetParameter, "net.prototxt"), phase, engine="torch", seed=3, **options)
    rng = np.random.default_rng(0)
    for node in net.nodes:
        for blob in node.layer.blobs:
            low = 0.3 if node.layer.type in ("BatchNorm", "BN", "Scale") else -0.7
            blob.data[...] = torch.from_numpy(rng.uniform(low, 1.2, blob.shape))
    for name in net.inputs:
        net.blobs[name].data[...] = rng.normal(size=net.blobs[name].shape)
    return net


def one_by_one(net: Net) -> Net:
    for i in range(len(net.nodes)):
        net.forward_pass(i, i)
    return net


def close(a: np.ndarray, b: np.ndarray, what: str) -> None:
    size = np.abs(b).max(initial=1e-3)
    np.testing.assert_allclose(a / size, b / size, rtol=0, atol=5e-5 if a.dtype == np.float32 else 1e-9, err_msg=what)


def same(fused: Net, plain: Net, gradients: bool = False) -> None:
    for name, blob in plain._blob.items():
        close(fused.blobs[name].data, blob.data.numpy(), f"data of {name}")
        if gradients and blob.has_diff:
            close(fused.blobs[name].diff, blob.diff.numpy(), f"diff of {name}")
    for mine, theirs in zip(fused.nodes, plain.nodes, strict=True):
        for i, (a, b) in enumerate(zip(mine.layer.blobs, theirs.layer.blobs, strict=True)):
            close(a.data.numpy(), b.data.numpy(), f"param {mine.name} {i}")
            if gradients:
                close(a.diff.numpy(), b.diff.numpy(), f"param diff {mine.name} {i}")


def runs(net: Net) -> list[list[str]]:
    """Return the layers of each run."""
    return [[node.name for node in step.nodes] for step in net.fusion.steps(0, None, False) if len(step.nodes) > 1]


# -- random chains ---------------------------------------------------------------------------------------------------


@st.composite
def chains(draw) -> str:
    """Draw layers in a row, in place or not, with shortcuts, and with a linear layer and a loss at the end."""
    text, blob, earlier = INPUT, "data", []
    kinds = draw(
        st.lists(
            st.sampled_from(
                ["conv", "BatchNorm", "BN", "Scale", "Bias", "ReLU", "leaky", "wrong", "ReLU6", "PReLU", "Eltwise"]
            ),
            min_size=2,
            max_size=9,
        )
    )
    for i, kind in enumerate(["conv", *kinds]):
        name, bottoms = f"{kind}{i}", blob
        in_place = i > 0 and draw(st.booleans())
        top = blob if in_place else f"{name}_top"
        more = ""
        if kind == "conv":
            shape = draw(
                st.sampled_from(["kernel_size: 1", "kernel_size: 3 pad: 1", "kernel_size: 3 pad: 2 dilation: 2"])
            )
            group = draw(st.sampled_from([1, 2, 4]))
            bias = str(draw(st.booleans())).lower()
            text += conv(name, blob, top, f"{shape} group: {group} bias_term: {bias}")
            blob = top
            earlier.append(blob)
            continue
        if kind in ("leaky", "wrong"):
            more = f"relu_param {{ negative_slope: {0.1 if kind == 'leaky' else -0.2} }}"
            kind = "ReLU"
        elif kind == "BatchNorm":
            given_ = draw(st.sampled_from(["", "use_global_stats: true", "use_global_stats: false eps: 0.01"]))
            more = f"batch_norm_param {{ {given_} }}"
        elif kind == "BN":
            given_ = draw(st.sampled_from(["", "bn_mode: INFERENCE", "momentum: 0.7", "frozen: true"]))
            more = f"bn_param {{ {given_} }}"
        elif kind == "Scale":
            axis = draw(st.sampled_from([1, -3, 2]))
            more = f"scale_param {{ axis: {axis} bias_term: {str(draw(st.booleans())).lower()} }}"
        elif kind == "Eltwise":
            other = draw(st.sampled_from(earlier))
            bottoms = f"{blob} {other}"
            top = f"{name}_top"
            if draw(st.booleans()):
                more = "eltwise_param { coeff: 0.5 coeff: 2 }"
        text += layer(name, kind, bottoms, top, more)
        blob = top
        earlier.append(blob)
    text += layer("ip", "InnerProduct", blob, "ip", f"inner_product_param {{ num_output: 3 {FILLERS} }}")
    tail = draw(st.lists(st.sampled_from(["BatchNorm", "Scale", "ReLU"]), max_size=3))
    for i, kind in enumerate(tail):
        text += layer(f"tail{i}", kind, "ip", "ip")
    target = 'layer { name: "t" type: "Input" top: "t" input_param { shape { dim: 2 dim: 3 } } }\n'
    return text + target + layer("loss", "EuclideanLoss", "ip t", "loss")


@settings(max_examples=40, deadline=None)
@given(chains(), st.sampled_from([(TRAIN, "float64"), (TEST, "float64"), (TEST, "float32")]), st.booleans())
def test_random_chains(text, kind, force):
    phase, dtype = kind
    text = f"force_backward: {str(force).lower()}\n" + text
    fused, plain = (net_of(text, phase, dtype=dtype) for _ in range(2))
    for _ in range(3):
        for net in (fused, plain):
            net.blobs["data"].data[...] *= 1.1
        fused.forward_pass()
        one_by_one(plain)
        same(fused, plain)
    if dtype == "float32":  # for oneDNN's kernels; gradients that are 0 except for rounding need float64 to compare
        return
    fused.backward_pass()
    for i in reversed(range(len(plain.nodes))):
        plain.backward_pass(i, i)
    same(fused, plain, gradients=True)


# -- layers that fuse ------------------------------------------------------------------------------------------------


class Calls(TorchDispatchMode):
    """Counts the kernels that torch calls."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count[str(func.overloadpacket).partition(".")[2]] += 1
        return func(*args, **(kwargs or {}))


def calls(run: Callable[[], object]) -> Counter[str]:
    with Calls() as counted:
        run()
    return counted.count


ARITHMETIC = (
    "convolution",
    "_convolution_pointwise",
    "mul",
    "add",
    "sub",
    "relu",
    "relu_",
    "where",
    "native_batch_norm",
)


def arithmetic(net: Net) -> dict[str, int]:
    counted = calls(net.forward_pass)
    return {name: counted[name] for name in ARITHMETIC if counted[name]}


@pytest.mark.parametrize("in_place", [True, False])
def test_in_test_a_block_is_one_kernel(in_place):
    net = net_of(INPUT + block(in_place))
    assert runs(net) == [["c", "b", "s", "r"]]
    assert arithmetic(net)["convolution"] == 1, "folded before it is worth it"
    net.forward_pass()
    assert arithmetic(net) == {"_convolution_pointwise": 1}
    same(net, one_by_one(net_of(INPUT + block(in_place))))


@pytest.mark.parametrize(
    ("order", "rest", "kernels"),
    [
        ("c data", layer("relu", "ReLU", "e", "e"), 1),
        ("data c", "", 1),
        ("data c", layer("relu", "ReLU", "e", "positive"), 1),
        ("c data", layer("relu", "ReLU6", "e", "e"), 1),
        ("c data", layer("leaky", "ReLU", "e", "e", "relu_param { negative_slope: 0.1 }"), 2),
        ("c data", layer("wrong", "ReLU", "e", "e", "relu_param { negative_slope: -0.1 }"), 2),
    ],
)
def test_in_test_a_sum_with_another_blob_belongs_to_the_kernel(order, rest, kernels):
    text = INPUT + conv("c", "data") + layer("s", "Scale", "c", "c") + layer("e", "Eltwise", order, "e") + rest
    nets = net_of(text), net_of(text)
    assert [len(run) for run in runs(nets[0])] == [4 if rest else 3]
    for _ in range(2):
        nets[0].forward_pass()
    counted = calls(nets[0].forward_pass)
    assert counted["_convolution_pointwise"] == 1 and counted["add"] == 0
    assert counted["add_"] == kernels - 1
    one_by_one(nets[1])
    same(*nets)


def test_in_train_normalisation_and_scale_are_one_kernel_each_way():
    net = net_of(INPUT + block() + loss("c"), TRAIN)
    assert runs(net) == [["b", "s", "r"]]
    counted = calls(net.forward_pass)
    own = native.library("batch_norm.cpp") is not None
    assert (counted["batch_norm"], counted["native_batch_norm"], counted["relu_"]) == ((1, 0, 0) if own else (0, 1, 1))
    assert counted["relu"] == 0
    counted = calls(net.backward_pass)
    assert counted["batch_norm_backward" if own else "native_batch_norm_backward"] == 1
    assert counted["threshold_backward"] == (0 if own else 1)


@pytest.mark.parametrize("param", ["bn_mode: INFERENCE", "frozen: true", "momentum: 0.7"])
def test_in_test_bn_belongs_to_the_convolution(param):
    text = (
        INPUT + conv("c", "data") + layer("b", "BN", "c", "c", f"bn_param {{ {param} }}") + layer("r", "ReLU", "c", "c")
    )
    net = net_of(text)
    assert runs(net) == [["c", "b", "r"]]
    net.forward_pass()
    net.forward_pass()
    assert arithmetic(net) == {"_convolution_pointwise": 1}
    same(net, one_by_one(net_of(text)))


@pytest.mark.parametrize("group", [1, 2])
def test_in_test_a_deconvolution_takes_in_what_follows(group):
    more = f"convolution_param {{ num_output: 4 kernel_size: 3 stride: 2 group: {group} {FILLERS} }}"
    text = INPUT + block().replace(conv("c", "data"), layer("c", "Deconvolution", "data", "c", more))
    net = net_of(text)
    assert runs(net) == [["c", "b", "s", "r"]]
    net.forward_pass()
    net.forward_pass()
    assert arithmetic(net) == {"convolution": 1, "relu_": 1}
    same(net, one_by_one(net_of(text)))


@pytest.mark.parametrize(
    ("kind", "param", "phase"),
    [
        ("BN", "bn_param { bn_mode: LEARN }", TEST),
        ("BN", "bn_param { bn_mode: LEARN }", TRAIN),
        ("BN", "bn_param { eps: 0.1 }", TRAIN),
        ("BatchNorm", "batch_norm_param { scale_bias: true }", TRAIN),
        ("BatchNorm", "batch_norm_param { filler { value: 1 } bias_term: false }", TRAIN),
    ],
)
@pytest.mark.parametrize("relu", ["r", "c"])
def test_a_normalisation_that_scales_is_one_kernel_each_way(kind, param, phase, relu):
    bn = layer("b", kind, "data", "c", param)
    text = "force_backward: true " + INPUT + bn + layer("r", "ReLU", "c", relu) + loss(relu)
    net, plain = net_of(text, phase), net_of(text, phase)
    assert runs(net) == ([["b", "r"]] if relu == "c" else [])
    own = native.library("batch_norm.cpp") is not None
    counted = calls(net.forward_pass)
    assert counted["batch_norm" if own else "native_batch_norm"] == 1
    counted = calls(net.backward_pass)
    assert counted["batch_norm_backward" if own else "native_batch_norm_backward"] == 1
    one_by_one(plain)
    for i in reversed(range(len(plain.nodes))):
        plain.backward_pass(i, i)
    same(net, plain, gradients=True)


def test_relu_writes_over_a_fresh_sum_and_nothing_else():
    text = (
        INPUT + conv("a", "data") + conv("b", "data") + layer("e", "Eltwise", "a b", "e") + layer("r", "ReLU", "e", "e")
    )
    net = net_of(text, TRAIN)
    assert ["e", "r"] in runs(net)
    counted = calls(net.forward_pass)
    assert (counted["relu_"], counted["relu"]) == (1, 0)
    same(net, one_by_one(net_of(text, TRAIN)))


@pytest.mark.parametrize(
    "text",
    [
        conv("c", "data") + layer("p", "PReLU", "c", "c"),
        conv("c", "data") + layer("s", "Scale", "c", "c", "scale_param { axis: 2 }"),
        conv("c", "data", more="kernel_size: 1 axis: 1") + layer("s", "Scale", "c", "c", "scale_param { num_axes: 2 }"),
        layer("c", "Convolution", "data", "c", "loss_weight: 1 convolution_param { num_output: 4 kernel_size: 1 }")
        + layer("r", "ReLU", "c", "r"),
    ],
)
def test_what_cannot_be_folded_is_not(text):
    net, plain = net_of(INPUT + text), net_of(INPUT + text)
    assert not runs(net)
    for _ in range(2):
        net.forward_pass()
    same(net, one_by_one(plain))


def test_other_engines_run_layer_by_layer():
    net = Net(parse_text(INPUT + block(), NetParameter, "net.prototxt"), TEST, engine="numpy")
    assert not runs(net)
    net.forward()


def test_debug_info_shows_every_layer(caplog):
    net = net_of("debug_info: true " + INPUT + block())
    with caplog.at_level("INFO", logger="caffe_lite"):
        net.forward()
    assert [f"Layer {name}, top blob c" in caplog.text for name in "cbsr"] == [True] * 4


@pytest.mark.parametrize(
    ("name", "size"),
    [("squeezenet", 97), *(pytest.param(name, 224, marks=pytest.mark.slow) for name in ("googlenet", "resnet50"))],
)
def test_configs(name, size):
    deploy = read_net(CONFIGS / name / "net.prototxt")
    nets = [Net(deploy, TEST, stages=["deploy"], engine="torch", seed=1) for _ in "ab"]
    for net in nets:
        rng = np.random.default_rng(0)
        for node in net.nodes:
            if node.layer.type in ("BatchNorm", "Scale"):
                for blob in node.layer.blobs:
                    blob.data[...] = torch.from_numpy(rng.uniform(0.5, 1.5, blob.shape))
        net.blobs["data"].reshape(1, 3, size, size)
        net.blobs["data"].data[...] = rng.normal(size=(1, 3, size, size))
    fused, plain = nets
    fused.forward_pass()
    assert calls(fused.forward_pass)["convolution"] == 0
    same(fused, one_by_one(plain))


# -- actions of a user between two passes ----------------------------------------------------------------------------


@pytest.fixture(params=[True, False], ids=["in place", "apart"])
def folded(request) -> Net:
    net = net_of(INPUT + block(request.param))
    net.forward()
    net.forward()
    assert arithmetic(net) == {"_convolution_pointwise": 1}
    return net


def check(net: Net) -> None:
    """Check that the net uses the current parameters, in this pass and in those that fold again."""
    plain = net_of(INPUT + block("b" not in net.blobs))
    plain.share_with(net)
    plain.blobs["data"].data[...] = net.blobs["data"].data
    one_by_one(plain)
    for _ in range(3):
        net.forward_pass()
        same(net, plain)


@pytest.mark.parametrize(("name", "index"), [("c", 0), ("c", 1), ("b", 0), ("b", 1), ("b", 2), ("s", 0), ("s", 1)])
def test_a_write_through_a_new_view_is_seen(folded, name, index):
    folded.params[name][index].data[...] *= 1.5
    check(folded)


@pytest.mark.parametrize("derive", [np.asarray, np.transpose, np.ravel, memoryview, lambda view: view[1:, :, 0]])
def test_writes_through_a_view_kept_alive_are_seen(folded, derive):
    kept = derive(folded.params["c"][0].data)
    for value in (0.5, -2.0):
        np.asarray(kept)[...] = value
        folded.forward_pass()
        assert (folded.params["c"][0].data == value).any()
        check(folded)
    del kept
    check(folded)
    assert arithmetic(folded) == {"_convolution_pointwise": 1}


def test_a_view_that_dies_between_two_passes_may_have_written(folded):
    kept = folded.params["c"][0].data
    folded.forward_pass()
    folded.forward_pass()
    kept[...] = 3
    del kept
    check(folded)


def test_loading_and_sharing_are_seen(folded, tmp_path):
    other = net_of(INPUT + block("b" not in folded.blobs))
    for blobs in other.params.values():
        for blob in blobs:
            blob.data[...] *= 1.25
    other.save(tmp_path / "a.caffemodel")
    folded.copy_from(tmp_path / "a.caffemodel")
    check(folded)
    other.params["c"][0].data[...] = 2
    folded.share_with(other)
    check(folded)
    other.params["s"][0].data[...] = 4
    check(folded)


def test_a_test_net_sees_what_its_solver_learns():
    text = INPUT + block() + loss("c")
    param = SolverParameter(base_lr=0.01, lr_policy="fixed", random_seed=1, test_iter=[1], test_interval=1000)
    param.net_param.CopyFrom(parse_text(text, NetParameter, "net.prototxt").message)
    solver = get_solver(param, engine="torch")
    test = solver.test_nets[0]
    rng = np.random.default_rng(0)
    for net in (solver.net, test):
        for name in net.inputs:
            net.blobs[name].data[...] = rng.normal(size=net.blobs[name].shape)
    test.share_with(solver.net)
    before = None
    for _ in range(3):
        for _ in range(3):
            test.forward_pass()
        now = test.blobs["c"].data.copy()
        assert before is None or not np.allclose(now, before)
        one_by_one(test)
        close(now, test.blobs["c"].data, "c")
        before = now
        solver.step(2)


def test_blobs_between_show_the_pass_they_belong_to():
    """Neither a later image nor later weights change a blob that nobody has read yet."""
    net, plain = net_of(INPUT + block(False)), one_by_one(net_of(INPUT + block(False)))
    for _ in range(2):
        net.forward_pass()
    net.blobs["data"].data[...] = 7
    net.params["c"][0].data[...] = 8
    net.params["s"][1].data[...] = 9
    for name in "sbc":
        close(net.blobs[name].data, plain.blobs[name].data, name)
    net.blobs["b"].data[...] = 0.5
    net.forward(start="s")
    scale, shift = (blob.data for blob in net.params["s"])
    close(net.blobs["r"].data, np.broadcast_to(np.maximum(0.5 * scale + shift, 0)[:, None, None], (2, 4, 5, 6)), "r")


@pytest.mark.parametrize(("start", "end"), [("c", "b"), ("b", "r"), ("s", "s")])
@pytest.mark.parametrize("in_place", [True, False])
def test_parts_of_a_run(in_place, start, end):
    text = INPUT + block(in_place)
    net, plain = net_of(text), one_by_one(net_of(text))
    for _ in range(2):
        net.forward_pass()
    net.forward(start=start, end=end)
    names = plain._layer_names
    for i in range(names.index(start), names.index(end) + 1):
        plain.forward_pass(i, i)
    same(net, plain)


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_backward_over_a_part_of_a_run(phase):
    text = "force_backward: true\n" + INPUT + block() + loss("c")
    net, plain = (net_of(text, phase, dtype="float64") for _ in range(2))
    for _ in range(3):
        net.forward_pass()
        one_by_one(plain)
    for one in (net, plain):
        one.backward(start="loss", end="s")
        one.backward(start="b", end="c")
    same(net, plain, gradients=True)


@pytest.mark.parametrize("end", [None, "data", "c", "b", "s", "r"])
@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_backward_before_a_part_of_a_run_went_forward(phase, in_place, end):
    """Fused, or with callbacks, which prevent fusion, the layers after ``end`` use the values in the blobs."""
    text = "force_backward: true\n" + INPUT + block(in_place) + loss("c" if in_place else "r")
    net, plain = (net_of(text, phase, dtype="float64") for _ in range(2))
    plain.after_forward(lambda index: None)
    for one in (net, plain):
        rng = np.random.default_rng(1)
        for name in one.blobs:
            one.blobs[name].data[...] = rng.normal(size=one.blobs[name].shape)
        if end:
            one.forward(end=end)
        before = {name: blob.data.copy() for name, blob in one.blobs.items()}
        one.backward()
        for name, blob in one.blobs.items():
            np.testing.assert_array_equal(blob.data, before[name], err_msg=name)
    same(net, plain, gradients=True)
    assert net.blobs["data"].diff.any()
    for one in (net, plain):
        one.forward()
        one.clear_param_diffs()
        one.blobs["data"].reshape(3, 4, 5, 6)
        one.blobs["target"].reshape(3, 4, 5, 6)
        one.blobs["target"].data[...] = 1
        one.backward()
    same(net, plain, gradients=True)


def test_another_shape_on_the_fly(folded):
    for height in (7, 5, 9, 9, 9):
        folded.blobs["data"].reshape(1, 4, height, 8)
        folded.blobs["data"].data[...] = height
        plain = net_of(INPUT + block("b" not in folded.blobs))
        plain.blobs["data"].reshape(1, 4, height, 8)
        plain.blobs["data"].data[...] = height
        folded.forward_pass()
        same(folded, one_by_one(plain))


def test_a_shape_that_does_not_fit_names_the_layer(folded):
    folded.blobs["data"].reshape(1, 5, 5, 5)
    with pytest.raises(CaffeError, match='layer "c"'):
        folded.forward_pass()


def test_a_user_who_reads_parameters_leaves_them_folded(folded):
    assert all(np.isfinite(blob.data).all() for blobs in folded.params.values() for blob in blobs)
    folded.forward_pass()
    folded.forward_pass()
    assert arithmetic(folded) == {"_convolution_pointwise": 1}


def test_parameters_of_nets_made_in_inference_mode():
    """Torch does not count the writes into such tensors, so nothing is folded."""
    with torch.inference_mode():
        net, plain = net_of(INPUT + block()), net_of(INPUT + block())
        for value in (0.5, 1.5, 2.5):
            for one in (net, plain):
                one.nodes[1].layer.blobs[0].data[...] = value
            net.forward_pass()
            net.forward_pass()
            same(net, one_by_one(plain))
