from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from caffe_lite import Net
from caffe_lite.errors import LayerError
from caffe_lite.layers.common.loss import (
    BATCH_SIZE,
    FULL,
    NONE,
    PRE_FIXED,
    VALID,
    LossLayer,
    Normalization,
    normalization,
    normalizer,
)
from caffe_lite.ops import Ops
from caffe_lite.proto.caffe_pb2 import TRAIN, LayerParameter, LossParameter

MakeNet = Callable[..., Net]

READS_LABELS = ["SoftmaxWithLoss", "MultinomialLogisticLoss", "Accuracy"]
READS_LOSS_LABELS = ["SoftmaxWithLoss", "MultinomialLogisticLoss"]


def labelled(layer: str, scores: tuple[int, ...], labels: tuple[int, ...]) -> str:
    """Make a net of one layer over two inputs, x and label."""
    text = ""
    for name, shape in (("x", scores), ("label", labels)):
        dims = " ".join(f"dim: {n}" for n in shape)
        text += f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'
    return text + f'layer {{ name: "under_test" bottom: "x" bottom: "label" top: "y" {layer} }}\n'


def refusal(net: Net, **values: object) -> LayerError:
    for name, value in values.items():
        net.blobs[name].data[...] = value
    with pytest.raises(LayerError) as caught:
        net.forward()
    return caught.value


def alone(ops: Ops) -> LossLayer:
    return LossLayer(LayerParameter(), ops, TRAIN, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ({}, None),
        ({"normalize": True}, VALID),
        ({"normalize": False}, BATCH_SIZE),
        *[({"normalization": mode}, mode) for mode in (FULL, VALID, BATCH_SIZE, PRE_FIXED, NONE)],
        *[({"normalization": mode, "normalize": True}, mode) for mode in (FULL, VALID, BATCH_SIZE, PRE_FIXED, NONE)],
        *[({"normalization": mode, "normalize": False}, mode) for mode in (FULL, VALID, BATCH_SIZE, PRE_FIXED, NONE)],
    ],
)
def test_normalization_set_explicitly_wins_over_normalize(text: dict[str, object], mode: int | None) -> None:
    param = LossParameter(**text)
    assert normalization(param).mode == (VALID if mode is None else mode)
    assert normalization(param, BATCH_SIZE).mode == (BATCH_SIZE if mode is None else mode)


@pytest.mark.parametrize(
    ("mode", "without_ignored", "with_ignored"),
    [(FULL, 6, 6), (VALID, 6, 4), (BATCH_SIZE, 3, 3), (PRE_FIXED, 2.5, 2.5), (NONE, 1, 1)],
)
def test_what_each_mode_divides_by(ops: Ops, mode: int, without_ignored: float, with_ignored: float) -> None:
    valid = ops.asarray(np.array([[1, 0], [1, 1], [0, 1]])) > 0
    assert float(normalizer(alone(ops), Normalization(mode, 2.5), 3, 6, None)) == without_ignored
    assert float(normalizer(alone(ops), Normalization(mode, 2.5), 3, 6, valid)) == with_ignored


@pytest.mark.parametrize("mode", [FULL, VALID, BATCH_SIZE, NONE])
def test_never_divides_by_less_than_one(ops: Ops, mode: int) -> None:
    assert float(normalizer(alone(ops), Normalization(mode, 0.5), 0, 0, None)) == 1
    assert float(normalizer(alone(ops), Normalization(mode, 0.5), 0, 0, ops.zeros((0, 2)) > 0)) == 1
    if mode == VALID:
        assert float(normalizer(alone(ops), Normalization(mode, 2.5), 3, 6, ops.zeros((3, 2)) > 0)) == 1


@pytest.mark.parametrize("layer", READS_LABELS)
@pytest.mark.parametrize("value", [5, -1, 1e6, float("nan"), float("inf"), -float("inf")])
def test_a_label_that_is_no_class_is_refused(make_net: MakeNet, layer: str, value: float) -> None:
    net = make_net(labelled(f'type: "{layer}"', (4, 5), (4,)))
    error = refusal(net, x=0.2, label=[0, 4, value, value])
    assert f"label {value:.9g} of sample 2 is none of the classes 0 to 4 (2 of 4 labels are wrong)" in str(error)
    assert f'net.prototxt:3:1, layer "under_test" ({layer})' in str(error)
    assert "labels count from 0" in error.hint


@pytest.mark.parametrize("layer", READS_LABELS)
def test_labels_are_truncated_as_in_the_original(make_net: MakeNet, layer: str) -> None:
    net = make_net(labelled(f'type: "{layer}"', (3, 5), (3,)))
    net.blobs["x"].data[...] = np.linspace(0.1, 0.9, 15).reshape(3, 5)
    results = []
    for labels in ([0, 4, 2], [-0.9, 4.9, 2.5]):
        net.blobs["label"].data[...] = labels
        net.forward()
        results.append(float(net.blobs["y"].data))
    assert results[0] == results[1]


def test_the_refusal_names_the_position_among_many(make_net: MakeNet) -> None:
    net = make_net(labelled('type: "SoftmaxWithLoss"', (2, 3, 4, 5), (2, 1, 4, 5)))
    labels = np.ones((2, 1, 4, 5))
    labels[1, 0, 2, 3] = 255
    error = refusal(net, label=labels)
    assert "label 255 of sample 1, position (0, 2, 3), is none of the classes 0 to 2 (1 of 40" in error.what
    assert "256 classes" in error.hint
    assert "ignore_label: 255" in error.hint


def test_the_hint_fits_the_layer(make_net: MakeNet) -> None:
    text = labelled('type: "SoftmaxWithLoss" loss_param { ignore_label: 255 }', (2, 3), (2,))
    error = refusal(make_net(text), label=[255, -1])
    assert "label -1 of sample 1 is none of the classes 0 to 2, nor ignore_label 255 (1 of 2" in error.what
    assert "num_output" not in error.hint
    assert "ignore_label" not in error.hint
    error = refusal(make_net(labelled('type: "MultinomialLogisticLoss"', (2, 3), (2,))), label=[0, 3])
    assert "4 classes" in error.hint
    assert "ignore_label" not in error.hint


@pytest.mark.parametrize("ignore", [-1, 1, 255])
@pytest.mark.parametrize("layer", ["SoftmaxWithLoss", "Accuracy"])
def test_ignored_labels_need_not_be_classes(make_net: MakeNet, layer: str, ignore: int) -> None:
    param = "accuracy_param" if layer == "Accuracy" else "loss_param"
    net = make_net(labelled(f'type: "{layer}" {param} {{ ignore_label: {ignore} }}', (3, 2), (3,)))
    net.blobs["x"].data[...] = [[3, 0], [2, 0], [0, 1]]
    net.blobs["label"].data[...] = [0, 0, ignore]
    net.forward()
    expected = 1 if layer == "Accuracy" else np.log1p(np.exp([-3.0, -2.0])).mean()
    assert float(net.blobs["y"].data) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("layer", READS_LABELS)
def test_an_empty_batch_costs_nothing(make_net: MakeNet, layer: str) -> None:
    net = make_net(labelled(f'type: "{layer}"', (0, 3), (0,)))
    net.forward()
    assert float(net.blobs["y"].data) == 0


@pytest.mark.parametrize("layer", READS_LABELS)
def test_too_many_labels_are_refused(make_net: MakeNet, layer: str) -> None:
    with pytest.raises(LayerError, match=r"\(4, 5\).* need 4 labels.*\(4, 5\) are 20"):
        make_net(labelled(f'type: "{layer}"', (4, 5), (4, 5)))


@pytest.mark.parametrize("layer", [*READS_LOSS_LABELS, "SigmoidCrossEntropyLoss", "EuclideanLoss"])
def test_the_bottoms_agree_in_their_first_axis(make_net: MakeNet, layer: str) -> None:
    with pytest.raises(LayerError, match=r"\(4, 5\) and \(1, 20\) differ in their first axis"):
        make_net(labelled(f'type: "{layer}"', (4, 5), (1, 20)))


@pytest.mark.parametrize("layer", [*READS_LOSS_LABELS, "SigmoidCrossEntropyLoss"])
def test_a_gradient_for_the_labels_is_refused(make_net: MakeNet, layer: str) -> None:
    labels = (4, 5) if layer == "SigmoidCrossEntropyLoss" else (4,)
    net = make_net(labelled(f'type: "{layer}" propagate_down: true propagate_down: true', (4, 5), labels))
    net.forward()
    with pytest.raises(LayerError, match=r"gradient is asked for the labels.*propagate_down: false"):
        net.backward()


def test_no_gradient_for_the_labels_under_force_backward(make_net: MakeNet) -> None:
    net = make_net("force_backward: true\n" + labelled('type: "SoftmaxWithLoss"', (4, 5), (4,)))
    net.forward()
    net.backward()
    assert net.blobs["x"].diff.any()
    assert not net.blobs["label"].diff.any()
