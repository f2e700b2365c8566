from __future__ import annotations

from collections.abc import Callable
from math import exp, log, log1p

import numpy as np
import pytest

from caffe_lite import Net
from caffe_lite.errors import LayerError

MakeNet = Callable[..., Net]


def loss_net(make_net: MakeNet, scores: tuple[int, ...], targets: tuple[int, ...], layer: str = "") -> Net:
    text = "force_backward: true\n"
    for name, shape in (("x", scores), ("target", targets)):
        dims = " ".join(f"dim: {n}" for n in shape)
        text += f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'
    text += 'layer { name: "loss" type: "SigmoidCrossEntropyLoss" bottom: "x" bottom: "target" top: "loss"'
    return make_net(f"{text} {layer} }}")


def run(net: Net, x: object, target: object) -> float:
    net.blobs["x"].data[...] = x
    net.blobs["target"].data[...] = target
    net.forward()
    net.backward()
    return float(net.blobs["loss"].data)


@pytest.mark.parametrize("ignore", [None, -1, 1])
@pytest.mark.parametrize("normalize", [None, False, True])
@pytest.mark.parametrize("normalization", [None, "FULL", "VALID", "BATCH_SIZE", "NONE"])
def test_every_normalization(
    make_net: MakeNet, normalization: str | None, normalize: bool | None, ignore: int | None
) -> None:
    fields = [f"normalization: {normalization}"] if normalization else []
    fields += [f"normalize: {str(normalize).lower()}"] if normalize is not None else []
    fields += [f"ignore_label: {ignore}"] if ignore is not None else []
    net = loss_net(make_net, (3, 2, 4), (3, 8), f"loss_weight: 0.7 loss_param {{ {' '.join(fields)} }}")
    rng = np.random.default_rng(0)
    x, targets = rng.standard_normal(24), rng.integers(-1 if ignore == -1 else 0, 2, 24)
    total, valid, gradient = 0.0, 0, np.zeros(24)
    for i, (score, target) in enumerate(zip(x, targets, strict=True)):
        if target != ignore:
            p = 1 / (1 + exp(-score))
            total -= target * log(p) + (1 - target) * log(1 - p)
            gradient[i] = p - target
            valid += 1
    mode = normalization or {None: "BATCH_SIZE", True: "VALID", False: "BATCH_SIZE"}[normalize]
    divisor = {"FULL": 24, "VALID": valid, "BATCH_SIZE": 3, "NONE": 1}[mode]
    assert run(net, x.reshape(3, 2, 4), targets.reshape(3, 8)) == pytest.approx(total / divisor, rel=1e-5)
    np.testing.assert_allclose(net.blobs["x"].diff.ravel(), 0.7 * gradient / divisor, rtol=1e-4, atol=1e-7)
    assert not net.blobs["target"].diff.any()


def test_no_score_is_too_large(make_net: MakeNet) -> None:
    net = loss_net(make_net, (1, 5), (1, 5))
    loss = run(net, [[1e4, -1e4, 1e4, -1e4, 0]], [[0, 1, 1, 0, 0.5]])
    assert loss == pytest.approx(2e4 + log(2))
    assert net.blobs["x"].diff.tolist() == [[1, -1, 0, 0, 0]]


def test_nothing_counts(make_net: MakeNet) -> None:
    net = loss_net(make_net, (2, 3), (2, 3), "loss_param { ignore_label: 1 normalization: VALID }")
    assert run(net, [[1, 2, float("nan")], [3, 4, 5]], 1) == 0
    assert not net.blobs["x"].diff.any()


def test_ignore_label_meets_truncated_targets(make_net: MakeNet) -> None:
    net = loss_net(make_net, (1, 4), (1, 4), "loss_param { ignore_label: 0 normalization: VALID }")
    assert run(net, [[3, 3, 3, 1]], [[0, 0.5, -0.5, 1]]) == pytest.approx(log(1 + exp(-1)), rel=1e-5)
    assert net.blobs["x"].diff[0, :3].tolist() == [0, 0, 0]


def test_targets_that_are_too_few(make_net: MakeNet) -> None:
    with pytest.raises(LayerError, match=r"\(4, 5\) need 20 targets.*\(4,\) are 4.*SoftmaxWithLoss"):
        loss_net(make_net, (4, 5), (4,))


def weighted_net(make_net: MakeNet, weights: tuple[int, ...], layer: str = "") -> Net:
    """Make a net whose targets and weights depend on something that is learned, as those of MNC's nets do."""
    text = "force_backward: true\n"
    for name, shape in (("x", (2, 3, 1)), ("target", (2, 3)), ("weight", weights)):
        dims = " ".join(f"dim: {n}" for n in shape)
        text += f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'
    text += 'layer { name: "loss" type: "SigmoidCrossEntropyLoss" bottom: "x" bottom: "target" bottom: "weight" '
    return make_net(f'{text} top: "loss" {layer} }}')


@pytest.mark.parametrize("weights", [(0.5, 2, 0, 0, 1, 4), (1, -3, 0.5, 0, 0, 0), (0,) * 6])
def test_weights(make_net: MakeNet, weights: tuple[float, ...]) -> None:
    net = weighted_net(make_net, (2, 1, 3), "loss_weight: 2 propagate_down: [true, false, true]")
    x, targets = (-2, -0.5, 3, 0.1, 1, 40), (0, 1, 0.25, 1, 0, 1)
    net.blobs["weight"].data.flat[:] = weights
    net.blobs["weight"].diff[...] = 7
    divisor = sum(weights) if sum(weights) > 0 else 1
    terms = [t * log1p(exp(-s)) + (1 - t) * log1p(exp(s)) for s, t in zip(x, targets, strict=True)]
    wanted = sum(w * term for w, term in zip(weights, terms, strict=True)) / divisor
    given = np.reshape(x, (2, 3, 1)), np.reshape(targets, (2, 3))
    assert run(net, *given) == pytest.approx(wanted, rel=1e-5, abs=1e-7)
    gradient = [2 / divisor * w * (1 / (1 + exp(-s)) - t) for w, s, t in zip(weights, x, targets, strict=True)]
    np.testing.assert_allclose(net.blobs["x"].diff.ravel(), gradient, rtol=1e-5, atol=1e-7)
    assert not net.blobs["weight"].diff.any()


def test_weights_that_do_not_fit(make_net: MakeNet) -> None:
    with pytest.raises(LayerError, match=r"\(2, 3, 1\) and \(2, 4\) have 3 and 4 values for each sample"):
        weighted_net(make_net, (2, 4))
    with pytest.raises(LayerError, match=r"weights and loss_param.*a weight of 0 ignores a target"):
        weighted_net(make_net, (2, 3), "loss_param { ignore_label: 1 }")
