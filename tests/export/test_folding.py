from __future__ import annotations

import numpy as np
import pytest

import caffe_lite
from caffe_lite import TEST
from caffe_lite.agreement.comparing import TOLERANCE, compare, gap, run
from caffe_lite.errors import NetError
from caffe_lite.export.folding import fold, halve, verified
from caffe_lite.proto.arrays import blobproto_to_array

INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 4 dim: 6 dim: 6 } } } '
NORMS = {
    "BatchNorm and Scale": (
        'layer { name: "bn" type: "BatchNorm" bottom: "y" top: "y" } '
        'layer { name: "s" type: "Scale" bottom: "y" top: "z" scale_param { bias_term: true } }'
    ),
    "BN": 'layer { name: "bn" type: "BN" bottom: "y" top: "z" bn_param { frozen: true } }',
    "NVIDIA": 'layer { name: "bn" type: "BatchNorm" bottom: "y" top: "z" batch_norm_param { scale_bias: true } }',
    "Bias": (
        'layer { name: "d" type: "Dropout" bottom: "y" top: "d" } '
        'layer { name: "b" type: "Bias" bottom: "d" top: "z" bias_param { filler { value: 3 } } }'
    ),
}
HEADS = {
    "Convolution": 'type: "Convolution" convolution_param { num_output: 6 kernel_size: 3 group: 2 bias_term: false }',
    "Deconvolution": 'type: "Deconvolution" convolution_param { num_output: 6 kernel_size: 3 group: 2 stride: 2 }',
    "InnerProduct transposed": 'type: "InnerProduct" inner_product_param { num_output: 6 transpose: true }',
    "InnerProduct": 'type: "InnerProduct" inner_product_param { num_output: 6 }',
}


@pytest.fixture
def folded(tmp_path):
    """Return ``folded(layers)``: a net of these layers, with random parameters, and what it is folded to, verified."""

    def make(layers: str):
        (tmp_path / "net.prototxt").write_text(INPUT + layers)
        net, rng = caffe_lite.Net(tmp_path / "net.prototxt", TEST), np.random.default_rng(0)
        for blobs in net.params.values():
            for blob in blobs:
                blob.data[...] = rng.uniform(0.5, 2, blob.data.shape)
        net.save(str(tmp_path / "w.caffemodel"))
        before = caffe_lite.Net(tmp_path / "net.prototxt", TEST, weights=tmp_path / "w.caffemodel", dtype="float64")
        folding = fold(before)
        assert all(one.gap.size < TOLERANCE for one in verified(before, folding))
        return before, folding

    return make


def types(folding) -> list[str]:
    return [layer.type for layer in folding.net.layer]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("head", HEADS)
def test_weights_take_in_what_follows(folded, head, norm) -> None:
    relu = 'layer { name: "r" type: "ReLU" bottom: "z" top: "z" }'
    _, folding = folded(f'layer {{ name: "h" bottom: "x" top: "y" {HEADS[head]} }} {NORMS[norm]} {relu}')
    assert types(folding) == ["Input", head.split()[0], "ReLU"]
    assert list(folding.net.layer[1].top) == ["z"]
    assert [tuple(blob.shape.dim) for blob in folding.net.layer[1].blobs][1:] == [(6,)]


@pytest.mark.parametrize("norm", ["BatchNorm and Scale", "BN", "NVIDIA"])
def test_normalisations_without_weights_before_them_become_a_scale(folded, norm) -> None:
    _, folding = folded(NORMS[norm].replace('bottom: "y"', 'bottom: "x"', 1))
    assert types(folding) == ["Input", "Scale"]


CONVOLUTION = f'layer {{ name: "h" bottom: "x" top: "y" {HEADS["Convolution"]} }} '
STAY = {
    "another layer reads what the convolution makes": (
        f"{CONVOLUTION} "
        'layer { name: "s" type: "Scale" bottom: "y" top: "z" } '
        'layer { name: "r" type: "Eltwise" bottom: "y" bottom: "z" top: "e" }'
    ),
    "two convolutions share their weights": "".join(
        f'layer {{ name: "h{i}" bottom: "x" top: "y{i}" param {{ name: "w" }} {HEADS["Convolution"]} }} '
        f'layer {{ name: "s{i}" type: "Scale" bottom: "y{i}" top: "z{i}" }} '
        for i in (0, 1)
    ),
    "the scale is not of the channels": (
        f'{CONVOLUTION} layer {{ name: "s" type: "Scale" bottom: "y" top: "z" scale_param {{ axis: 0 num_axes: -1 }} }}'
    ),
}


@pytest.mark.parametrize("why", STAY)
def test_what_stays(folded, why) -> None:
    before, folding = folded(STAY[why])
    assert not folding.gone
    assert len(folding.net.layer) == len([node for node in before.nodes if node.layer.type != "Split"])


def test_layers_that_do_nothing_go(folded) -> None:
    _, folding = folded(
        'layer { name: "p" type: "Power" bottom: "x" top: "p" power_param { scale: 2 } } '
        'layer { name: "split" type: "Split" bottom: "p" top: "a" top: "b" } '
        'layer { name: "d" type: "Dropout" bottom: "a" top: "d" } '
        'layer { name: "e" type: "Eltwise" bottom: "d" bottom: "b" top: "e" } '
        'layer { name: "out" type: "Dropout" bottom: "e" top: "out" } '
    )
    assert types(folding) == ["Input", "Power", "Eltwise", "Dropout"]
    assert list(folding.net.layer[2].bottom) == ["p", "p"]
    assert [layer.type for layer in folding.gone] == ["Split", "Dropout"]


def test_halves(folded) -> None:
    _, folding = folded(f'layer {{ name: "h" bottom: "x" top: "y" {HEADS["InnerProduct"]} }}')
    whole = [blobproto_to_array(blob) for blob in folding.net.layer[1].blobs]
    halve(folding.net)
    for blob, before in zip(folding.net.layer[1].blobs, whole, strict=True):
        assert len(blob.raw_data) == 2 * before.size
        np.testing.assert_array_equal(blobproto_to_array(blob), before.astype(np.float16))


def test_nets_that_differ(folded) -> None:
    before, folding = folded(f'layer {{ name: "h" bottom: "x" top: "y" {HEADS["InnerProduct"]} }}')
    folding.net.layer[1].blobs[0].data[0] += 1
    with pytest.raises(NetError, match=r"differ: for random inputs by .* The first blob to differ is 'y'"):
        verified(before, folding)


def test_gap() -> None:
    wanted = np.array([0.0, 1, 2, np.inf])
    assert gap("y", wanted, wanted + np.array([0, 0, 0.5, 0])).size == 0.25
    assert gap("y", wanted, wanted[:3]).size == np.inf
    assert gap("y", wanted, np.array([0.0, np.nan, 2, np.inf])).size == np.inf
    assert gap("y", wanted[3:], wanted[3:]).size == 0


def test_a_net_with_its_own_data_runs_once(make_net) -> None:
    net = make_net('layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape { dim: 2 } } }')
    assert compare(net, [], ["x"], lambda fed: run(net, fed)) == [("given", ("x", 0), 0)]


def test_a_net_without_outputs(folded) -> None:
    with pytest.raises(NetError, match="the net has no outputs to compare"):
        folded('layer { name: "s" type: "Silence" bottom: "x" }')
