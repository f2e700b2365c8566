from __future__ import annotations

from itertools import groupby, product

import numpy as np
import pytest

from caffe_lite import TEST
from caffe_lite.errors import EngineError, LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net

STEPS, CLASSES = 4, 3


def holding(values) -> Bottom:
    return Bottom(np.shape(values), lambda rng: np.array(values))


def net_of(engine, labels, param="", indicators=None, steps=STEPS, classes=CLASSES, kind="CTCLoss", more="", **kw):
    sequences = np.shape(labels)[0 if indicators is None else 1]
    bottoms = [Bottom((steps, sequences, classes)), holding(labels)]
    if indicators is not None:
        bottoms.insert(1, holding(indicators))
    return make_layer_net(f'type: "{kind}" ctc_loss_param {{ {param} }} {more}', bottoms, engine=engine, **kw)


def spelt(path, blank, merge=True):
    return [label for label in ([key for key, _ in groupby(path)] if merge else path) if label != blank]


def by_hand(scores, labels, blank, merge=True):
    """Return the loss of a sequence and its gradient, from all paths one by one."""
    prob = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    total, expected = 0.0, np.zeros(prob.shape)
    for path in product(range(prob.shape[1]), repeat=len(prob)):
        if spelt(path, blank, merge) == labels:
            p = np.prod([prob[t, label] for t, label in enumerate(path)])
            total += p
            expected[range(len(prob)), path] += p
    return -np.log(total), prob - expected / total


@pytest.mark.parametrize("kind", ["CTCLoss", "CtcLoss"])
@pytest.mark.parametrize("blank", [0, 2])
def test_all_paths_of_sequences_with_blanks_behind_them(blank, kind, engine) -> None:
    a, b = {0, 1, 2} - {blank}
    rows = [[a, b, a], [a, a, blank], [b, blank, blank], [blank, blank, blank]]
    net = net_of(engine, rows, f"blank_label: {blank} alphabet_size: 3", kind=kind, more="loss_weight: 3")
    net.forward()
    net.backward()
    losses, gradients = zip(
        *(by_hand(net.blobs["x0"].data[:, n], [c for c in row if c != blank], blank) for n, row in enumerate(rows)),
        strict=True,
    )
    assert float(net.blobs["y0"].data) == pytest.approx(np.mean(losses))
    np.testing.assert_allclose(net.blobs["x0"].diff, 3 / 4 * np.stack(gradients, 1), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("delay", [0, 1])
def test_sequences_that_end_before_the_last_frame(delay, merge, engine) -> None:
    indicators = np.array([[0, 1, 0], [1, 1, 1], [1, 1, 1], [1, 0, 1], [0, 1, 1]], float)
    labels = np.array([[0, 1, 1], [1, -1, 1], [-1, 0, -1], [0, 0, 0], [0, 0, 0]], float)
    param = f"output_delay: {delay} ctc_merge_repeated: {str(merge).lower()}"
    net = net_of(engine, labels, param, indicators, steps=5)
    net.forward()
    net.backward()
    loss, gradient = 0.0, np.zeros((5, 3, 3))
    for n, (end, row) in enumerate([(4, [0, 1]), (3, [1]), (5, [1, 1])]):
        part, slope = by_hand(net.blobs["x0"].data[delay:end, n], row, 2, merge)
        loss += part / 3
        gradient[delay:end, n] = slope / 3
    assert float(net.blobs["y0"].data) == pytest.approx(loss)
    np.testing.assert_allclose(net.blobs["x0"].diff, gradient, rtol=1e-6, atol=1e-9)


def test_long_sequences_agree_with_torch(engine) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    steps, sequences, classes = 60, 5, 12
    labels = rng.integers(0, classes - 1, (sequences, 20))
    labels[1, 7:] = labels[3, 1:] = classes - 1
    param = f"blank_label: {classes - 1}"
    net = net_of(engine, labels, param, steps=steps, classes=classes, dtype="float32")
    net.blobs["x0"].data[...] = rng.standard_normal((steps, sequences, classes)) * 5
    net.forward()
    net.backward()
    scores = torch.tensor(net.blobs["x0"].data, dtype=torch.float64, requires_grad=True)
    loss = torch.nn.functional.ctc_loss(
        scores.log_softmax(2),
        torch.tensor(labels),
        torch.full((sequences,), steps),
        torch.tensor((labels < classes - 1).sum(1)),
        blank=classes - 1,
        reduction="sum",
    )
    (loss / sequences).backward()
    assert float(net.blobs["y0"].data) == pytest.approx(loss.item() / sequences, rel=1e-5)
    np.testing.assert_allclose(net.blobs["x0"].diff, scores.grad.numpy(), atol=1e-6)


def test_the_frames_that_are_read(engine) -> None:
    net = net_of(engine, [[1, 0]], "time_step: 2")
    net.forward()
    net.backward()
    loss, gradient = by_hand(net.blobs["x0"].data[:2, 0], [1], 0)
    assert float(net.blobs["y0"].data) == pytest.approx(loss)
    np.testing.assert_allclose(net.blobs["x0"].diff[:2, 0], gradient, rtol=1e-6)
    assert not net.blobs["x0"].diff[2:].any()


def test_labels_that_need_more_frames(engine) -> None:
    """Two of a label need a blank between them."""
    net = net_of(engine, [[1, 1, 1], [1, 2, 1]])
    net.forward()
    net.backward()
    loss, _ = by_hand(net.blobs["x0"].data[:, 1], [1, 2, 1], 0)
    assert float(net.blobs["y0"].data) == pytest.approx(loss / 2)
    assert not net.blobs["x0"].diff[:, 0].any()
    with pytest.raises(LayerError, match="sequence 0 has 4 frames, and its labels need 5"):
        net_of(engine, [[1], [1], [1], [-1]], indicators=[[0], [1], [1], [1]]).forward()


def test_labels_of_which_equal_ones_count_once(engine) -> None:
    losses = []
    for rows, param in (([[1, 1, 2]], "preprocess_collapse_repeated: true"), ([[1, 2, 0]], "")):
        net = net_of(engine, rows, param)
        net.forward()
        losses.append(float(net.blobs["y0"].data))
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("kw", "what"),
    [
        ({"labels": [[1, 5]]}, "label 5 of sequence 0 is none of the classes 0 to 2"),
        ({"labels": [[1, -1]]}, "label -1 of sequence 0 is none of the classes 0 to 2"),
        ({"labels": [[1]], "param": "alphabet_size: 4"}, "alphabet_size is 4, and there are 3 classes"),
        ({"labels": [[1]], "param": "time_step: 5"}, "time_step is 5, and there are 4 frames"),
        ({"labels": [[1]], "param": "blank_label: 3"}, "the blank is 3, and the classes are 0 to 2"),
        ({"labels": [[1]], "param": "output_delay: -1"}, "output_delay is -1"),
        ({"labels": [[1]], "indicators": [[1]]}, "the indicators have the shape (1, 1)"),
    ],
)
def test_what_is_refused(kw, what, engine) -> None:
    with pytest.raises(LayerError) as error:
        net_of(engine, **kw).forward()
    assert what in str(error.value)


def test_as_many_labels_as_sequences(engine) -> None:
    with pytest.raises(LayerError, match=r"the labels have the shape \(3, 1\)"):
        make_layer_net('type: "CTCLoss"', [Bottom((4, 2, 3)), Bottom((3, 1))], engine=engine)


def test_it_cannot_be_compiled(make_net, engine) -> None:
    if engine == "numpy":
        pytest.skip("only torch compiles")
    net = make_net(
        """layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 1 dim: 3 } } }
           layer { name: "l" type: "Input" top: "l" input_param { shape { dim: 1 dim: 2 } } }
           layer { name: "loss" type: "CTCLoss" bottom: "x" bottom: "l" top: "loss" }""",
        TEST,
        compile=True,
    )
    with pytest.raises(EngineError, match=r"CTCLoss.*cannot be compiled: it computes on the host"):
        net.forward()
