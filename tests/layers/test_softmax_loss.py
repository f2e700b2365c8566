from __future__ import annotations

from collections.abc import Callable
from math import exp, log

import numpy as np
import pytest

from caffe_lite import Net
from caffe_lite.errors import LayerError

MakeNet = Callable[..., Net]


def loss_net(make_net: MakeNet, scores: tuple[int, ...], labels: tuple[int, ...], layer: str = "", **kw) -> Net:
    text = "force_backward: true\n"
    for name, shape in (("x", scores), ("label", labels)):
        dims = " ".join(f"dim: {n}" for n in shape)
        text += f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'
    text += f'layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "x" bottom: "label" top: "loss" {layer} }}'
    return make_net(text, **kw)


def run(net: Net, x: object, label: object) -> float:
    net.blobs["x"].data[...] = x
    net.blobs["label"].data[...] = label
    net.forward()
    net.backward()
    return float(net.blobs["loss"].data)


def by_hand(
    x: np.ndarray, labels: np.ndarray, normalization: str | None, normalize: bool | None, ignore: int | None
) -> tuple[float, np.ndarray]:
    """Compute loss and gradient for scores (N, C, P) and labels (N, P), label by label in Python's floats."""
    if normalization is None:
        normalization = {None: "VALID", True: "VALID", False: "BATCH_SIZE"}[normalize]
    total, valid, gradient = 0.0, 0, np.zeros(x.shape)
    for n in range(x.shape[0]):
        for p in range(x.shape[2]):
            label = int(labels[n, p])
            if label == ignore:
                continue
            exps = [exp(value) for value in x[n, :, p]]
            total -= log(exps[label] / sum(exps))
            gradient[n, :, p] = [e / sum(exps) for e in exps]
            gradient[n, label, p] -= 1
            valid += 1
    divisor = {"FULL": labels.size, "VALID": valid, "BATCH_SIZE": x.shape[0], "NONE": 1}[normalization]
    return total / max(1, divisor), gradient / max(1, divisor)


def test_two_classes(make_net: MakeNet) -> None:
    net = loss_net(make_net, (1, 2), (1,), 'top: "prob"')
    assert run(net, [1.2, 0.8], 1) == pytest.approx(0.9130, abs=5e-5)
    assert net.blobs["prob"].data[0] == pytest.approx([0.5987, 0.4013], abs=5e-5)
    assert net.blobs["x"].diff[0] == pytest.approx([0.5987, -0.5987], abs=5e-5)


@pytest.mark.parametrize("ignore", [None, -1, 0, 2, 255])
@pytest.mark.parametrize("normalize", [None, False, True])
@pytest.mark.parametrize("normalization", [None, "FULL", "VALID", "BATCH_SIZE", "NONE"])
def test_every_normalization(
    make_net: MakeNet, normalization: str | None, normalize: bool | None, ignore: int | None
) -> None:
    fields = [f"normalization: {normalization}"] if normalization else []
    fields += [f"normalize: {str(normalize).lower()}"] if normalize is not None else []
    fields += [f"ignore_label: {ignore}"] if ignore is not None else []
    net = loss_net(make_net, (3, 4, 2, 5), (3, 1, 2, 5), f"loss_weight: 0.7 loss_param {{ {' '.join(fields)} }}")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 4, 10)).astype("f")
    labels = rng.integers(0, 4, (3, 10))
    if ignore is not None:
        labels[:, ::3] = ignore
    loss, gradient = by_hand(x, labels, normalization, normalize, ignore)
    assert run(net, x.reshape(3, 4, 2, 5), labels.reshape(3, 1, 2, 5)) == pytest.approx(loss, rel=1e-5)
    diff = net.blobs["x"].diff.reshape(3, 4, 10)
    np.testing.assert_allclose(diff, 0.7 * gradient, rtol=1e-4, atol=1e-7)
    if ignore is not None:
        assert not np.moveaxis(diff, 1, -1)[labels == ignore].any()


@pytest.mark.parametrize("weights", ["", "loss_weight: 1", "loss_weight: 1 loss_weight: 0"])
def test_two_tops_as_tutorials_write_them(make_net: MakeNet, weights: str) -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((4, 5)), [0, 4, 2, 2]
    plain = loss_net(make_net, (4, 5), (4,))
    loss = run(plain, x, labels)
    net = loss_net(make_net, (4, 5), (4,), f'top: "prob" {weights}')
    assert run(net, x, labels) == loss
    assert net.blob_loss_weights["loss"] == 1
    assert net.blob_loss_weights["prob"] == 0
    assert net.outputs == ["loss", "prob"]
    np.testing.assert_array_equal(net.blobs["x"].diff, plain.blobs["x"].diff)
    np.testing.assert_allclose(net.blobs["prob"].data.sum(1), 1, rtol=1e-6)


def test_a_gradient_that_reaches_prob_counts(make_net: MakeNet) -> None:
    text = """force_backward: true
    layer { name: "in" type: "Input" top: "x" top: "label" top: "wanted"
            input_param { shape { dim: 2 dim: 3 } shape { dim: 2 } shape { dim: 2 dim: 3 } } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "x" bottom: "label" top: "loss" top: "prob" }
    layer { name: "far" type: "EuclideanLoss" bottom: "prob" bottom: "wanted" top: "far" }"""
    net = make_net(text, dtype="float64")
    rng = np.random.default_rng(0)
    x, direction, wanted = rng.standard_normal((3, 2, 3))
    net.blobs["label"].data[...] = [0, 2]
    net.blobs["wanted"].data[...] = wanted

    def total(at: np.ndarray) -> float:
        net.blobs["x"].data[...] = at
        return sum(float(y) for y in net.forward().values())

    slope = (total(x + 1e-5 * direction) - total(x - 1e-5 * direction)) / 2e-5
    total(x)
    net.backward()
    assert (net.blobs["x"].diff * direction).sum() == pytest.approx(slope, rel=1e-7)


@pytest.mark.parametrize("shape", [(2, 12), (2, 1, 3, 4), (2, 3, 4), (2, 3, 4, 1)])
def test_the_shape_of_labels_is_free(make_net: MakeNet, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((2, 5, 12)), rng.integers(0, 5, (2, 12))
    loss, gradient = by_hand(x, labels, None, None, None)
    net = loss_net(make_net, (2, 5, 3, 4), shape)
    assert run(net, x.reshape(2, 5, 3, 4), labels.reshape(shape)) == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(net.blobs["x"].diff.reshape(2, 5, 12), gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("mode", ["VALID", "BATCH_SIZE"])
@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -2, -3, -4])
def test_any_axis(make_net: MakeNet, axis: int, mode: str) -> None:
    shape = (2, 3, 4, 5)
    rest = tuple(n for i, n in enumerate(shape) if i != axis % 4)
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal(shape), rng.integers(0, shape[axis], rest)
    # BATCH_SIZE divides by the product of the axes before the classes.
    outer = int(np.prod(shape[: axis % 4], dtype=int))
    loss, _ = by_hand(x.reshape(outer, shape[axis], -1), labels.reshape(outer, -1), mode, None, None)
    net = loss_net(make_net, shape, rest, f"softmax_param {{ axis: {axis} }} loss_param {{ normalization: {mode} }}")
    assert run(net, x, labels) == pytest.approx(loss, rel=1e-5)


def test_a_region_proposal_head(make_net: MakeNet) -> None:
    height, width = 5, 7
    net = make_net(
        f"""force_backward: true
        layer {{ name: "in" type: "Input" top: "rpn_cls_score" top: "rpn_labels"
                 input_param {{ shape {{ dim: 1 dim: 18 dim: {height} dim: {width} }}
                                shape {{ dim: 1 dim: 1 dim: {9 * height} dim: {width} }} }} }}
        layer {{ name: "rpn_cls_score_reshape" type: "Reshape" bottom: "rpn_cls_score" top: "rpn_cls_score_reshape"
                 reshape_param {{ shape {{ dim: 0 dim: 2 dim: -1 dim: 0 }} }} }}
        layer {{ name: "rpn_loss_cls" type: "SoftmaxWithLoss" bottom: "rpn_cls_score_reshape" bottom: "rpn_labels"
                 top: "rpn_cls_loss" propagate_down: true propagate_down: false loss_weight: 1
                 loss_param {{ ignore_label: -1 normalize: true }} }}"""
    )
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 18, height, width)).astype("f")
    labels = rng.integers(-1, 2, (1, 1, 9 * height, width))
    net.blobs["rpn_cls_score"].data[...] = x
    net.blobs["rpn_labels"].data[...] = labels
    loss, gradient = by_hand(x.reshape(1, 2, -1), labels.reshape(1, -1), "VALID", None, -1)
    assert float(net.forward()["rpn_cls_loss"]) == pytest.approx(loss, rel=1e-5)
    net.backward()
    np.testing.assert_allclose(net.blobs["rpn_cls_score"].diff, gradient.reshape(x.shape), rtol=1e-4, atol=1e-7)


def test_the_cost_of_one_label_is_bounded(make_net: MakeNet) -> None:
    net = loss_net(make_net, (2, 3), (2,))
    assert run(net, [[1e4, 0, -1e4], [1e4, 0, -1e4]], [2, 0]) == pytest.approx(87.3365 / 2, abs=1e-4)
    assert net.blobs["x"].diff.tolist() == [[0.5, 0, -0.5], [0, 0, 0]]


def test_a_perfect_batch_costs_zero_and_not_minus_zero(make_net: MakeNet) -> None:
    assert str(run(loss_net(make_net, (1, 2), (1,)), [[1e4, 0]], 0)) == "0.0"
    all_ignored = loss_net(make_net, (1, 2), (1,), "loss_param { ignore_label: 0 }")
    assert str(run(all_ignored, [[1e4, 0]], 0)) == "0.0"
    assert not all_ignored.blobs["x"].diff.any()


def test_what_is_ignored_cannot_spoil_the_rest(make_net: MakeNet) -> None:
    net = loss_net(make_net, (2, 2), (2,), "loss_param { ignore_label: -1 }")
    loss = run(net, [[1.2, 0.8], [float("nan"), 0]], [1, -1])
    assert loss == pytest.approx(0.9130, abs=5e-5)
    assert net.blobs["x"].diff[1].tolist() == [0, 0]


def test_softmax_and_multinomial_logistic_loss_in_one(make_net: MakeNet) -> None:
    net = make_net(
        """force_backward: true
        layer { name: "in" type: "Input" top: "x" top: "label"
                input_param { shape { dim: 6 dim: 4 } shape { dim: 6 } } }
        layer { name: "prob" type: "Softmax" bottom: "x" top: "prob" }
        layer { name: "loss" type: "MultinomialLogisticLoss" bottom: "prob" bottom: "label" top: "loss" }"""
    )
    fused = loss_net(make_net, (6, 4), (6,))
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((6, 4)), rng.integers(0, 4, 6)
    assert run(fused, x, labels) == pytest.approx(run(net, x, labels), rel=1e-6)
    np.testing.assert_allclose(fused.blobs["x"].diff, net.blobs["x"].diff, atol=1e-7)


def test_transposed_labels_are_refused(make_net: MakeNet) -> None:
    with pytest.raises(LayerError, match=r"\(2, 5, 3, 4\) and \(3, 2, 4\) differ in their first axis"):
        loss_net(make_net, (2, 5, 3, 4), (3, 2, 4))


def test_labels_that_are_too_few_after_a_reshape(make_net: MakeNet) -> None:
    net = loss_net(make_net, (2, 5, 3, 4), (2, 1, 3, 4))
    net.blobs["x"].reshape(2, 5, 6, 4)
    with pytest.raises(LayerError, match=r"axis 1, need 48 labels.*\(2, 1, 3, 4\) are 24.*shape \(2, 6, 4\)"):
        net.forward()


@pytest.mark.parametrize("kind", ["SoftmaxWithLoss", "SoftmaxWithLossOHEM"])
def test_the_loss_of_each_label(make_net: MakeNet, kind: str) -> None:
    """As R-FCN's nets ask for it; PRE_FIXED divides the first top only."""
    net = make_net(
        f"""force_backward: true
        layer {{ name: "in" type: "Input" top: "x" top: "label"
                 input_param {{ shape {{ dim: 4 dim: 3 dim: 1 dim: 1 }} shape {{ dim: 4 dim: 1 dim: 1 dim: 1 }} }} }}
        layer {{ name: "loss" type: "{kind}" bottom: "x" bottom: "label" top: "loss" top: "prob" top: "each"
                 loss_param {{ ignore_label: 2 normalization: PRE_FIXED pre_fixed_normalizer: 8 }} }}"""
    )
    x = np.random.default_rng(0).standard_normal((4, 3, 1, 1))
    run(net, x, np.array([0, 2, 1, 0]).reshape(4, 1, 1, 1))
    wanted = [by_hand(x[i, None, :, :, 0], np.array([[y]]), "NONE", None, 2)[0] for i, y in enumerate([0, 2, 1, 0])]
    assert net.blobs["each"].shape == (4, 1, 1, 1)
    np.testing.assert_allclose(net.blobs["each"].data.ravel(), wanted, rtol=1e-5)
    assert float(net.blobs["loss"].data) == pytest.approx(sum(wanted) / 8, rel=1e-5)
    assert not np.signbit(net.blobs["each"].data).any()


def test_smoothed_labels_change_the_gradient_alone(make_net: MakeNet) -> None:
    x, labels = np.random.default_rng(0).standard_normal((3, 4)), [2, 0, 9]
    net = loss_net(make_net, (3, 4), (3,), "loss_param { label_smoothing: 0.2 ignore_label: 9 }")
    plain = loss_net(make_net, (3, 4), (3,), "loss_param { ignore_label: 9 }")
    assert run(net, x, labels) == run(plain, x, labels)
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    target = np.full((3, 4), 0.05)
    target[0, 2] = target[1, 0] = 0.8
    expected = p * target.sum(1, keepdims=True) - target
    expected[2] = 0
    np.testing.assert_allclose(net.blobs["x"].diff, expected / 2, rtol=1e-4, atol=1e-6)


def test_confident_predictions_cost_more(make_net: MakeNet) -> None:
    x = np.array([[0.3, -0.2, 0.9], [0, 12, 0.5], [0.1, 0.2, 0.3]])
    net = loss_net(make_net, (3, 3), (3,), "loss_param { max_entropy_weight: 0.4 ignore_label: -1 }")
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    losses = [-log(p[i, label]) + 0.4 * float(np.sum(p[i] * np.log(p[i]))) for i, label in enumerate([0, 1])]
    assert losses[1] < 0 < losses[0]  # and so the second label does not count
    assert run(net, x, [0, 1, -1]) == pytest.approx(losses[0], rel=1e-5)
    gradient = net.blobs["x"].diff.copy()
    assert not gradient[1:].any()
    for k in range(3):
        step = np.zeros((3, 3))
        step[0, k] = 1e-2
        slope = (run(net, x + step, [0, 1, -1]) - run(net, x - step, [0, 1, -1])) / 2e-2
        assert gradient[0, k] == pytest.approx(slope, abs=1e-4)


def test_rare_classes_weigh_more(make_net: MakeNet) -> None:
    params = "adaptive_weighting: true gamma: 0.5 scale: 2 max_weight: 1.4 ignore_label: 7"
    net = loss_net(make_net, (4, 3), (4,), f"loss_param {{ {params} }}")
    x = np.random.default_rng(1).standard_normal((4, 3))
    costs = -np.log(np.exp(x) / np.exp(x).sum(1, keepdims=True))
    # Frequencies 2/3, 1/3, 0: their mean is 1/3.
    weights = [2 * 0.5, 2 * 1.0, 0]
    expected = weights[0] * (costs[0, 0] + costs[1, 0]) + weights[1] * costs[2, 1]
    assert run(net, x, [0, 0, 1, 7]) == pytest.approx(expected / 3, rel=1e-5)
    p = np.exp(-costs)
    gradient = np.array([(p[i] - np.eye(3)[label]) * weights[label] / 3 for i, label in enumerate([0, 0, 1])])
    np.testing.assert_allclose(net.blobs["x"].diff[:3], gradient, rtol=1e-4, atol=1e-6)
    # Then 0.5 * (2/3, 1/3) for those seen before, and 1 for the new one: the mean is 1/2.
    saved = net.state()
    assert run(net, x, [2, 2, 2, 2]) == pytest.approx(2 * 0.5 * costs[:, 2].mean(), rel=1e-5)
    net.restore_state(saved)
    assert run(net, x, [2, 2, 2, 7]) == pytest.approx(2 * 0.5 * costs[:3, 2].mean(), rel=1e-5)
    assert run(net, x, [1, 7, 7, 7]) == pytest.approx(2 * (1.25 / 3) / (0.5 / 6 + 0.5) * costs[0, 1], rel=1e-5)


@pytest.mark.parametrize(
    ("params", "what"),
    [
        ("label_smoothing: 1", "label_smoothing is 1"),
        ("adaptive_weighting: true gamma: 0", "gamma is 0"),
        ("adaptive_weighting: true scale: 0", "scale is 0"),
        ("adaptive_weighting: true min_weight: 2 max_weight: 1", "min_weight is 2, max_weight 1"),
    ],
)
def test_weights_that_make_no_sense(make_net: MakeNet, params: str, what: str) -> None:
    with pytest.raises(LayerError, match=what):
        loss_net(make_net, (1, 2), (1,), f"loss_param {{ {params} }}")


def test_weights_of_classes(make_net: MakeNet) -> None:
    """They multiply losses and gradients; the divisor is the number of labels that are not ignored, as in SegNet's."""
    weights = "class_weighting: 0.5 class_weighting: 3 class_weighting: 0"
    net = loss_net(
        make_net, (2, 3, 4), (2, 4), f"loss_param {{ ignore_label: 9 weight_by_label_freqs: true {weights} }}"
    )
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(2, 3, 4)), np.array([[0, 1, 2, 9], [1, 1, 0, 2]])
    loss, wanted, gradient = run(net, x, labels), 0.0, np.zeros(x.shape)
    for n, p in np.ndindex(2, 4):
        if labels[n, p] != 9:
            weight = [0.5, 3, 0][labels[n, p]] / 7
            prob = np.exp(x[n, :, p]) / np.exp(x[n, :, p]).sum()
            wanted -= weight * log(prob[labels[n, p]])
            gradient[n, :, p] = weight * (prob - np.eye(3)[labels[n, p]])
    assert loss == pytest.approx(wanted)
    np.testing.assert_allclose(net.blobs["x"].diff, gradient, rtol=1e-4, atol=1e-7)


def test_weights_of_classes_that_do_not_fit_or_do_not_count(
    make_net: MakeNet, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(LayerError, match="class_weighting is given 1 times, and there are 3 classes"):
        loss_net(make_net, (2, 3), (2,), "loss_param { weight_by_label_freqs: true class_weighting: 1 }")
    loss_net(make_net, (2, 3), (2,), "loss_param { class_weighting: 1 }")
    assert "loss: class_weighting has no effect without weight_by_label_freqs" in caplog.text
