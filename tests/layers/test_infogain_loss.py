from __future__ import annotations

from math import log
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite.errors import DataError, LayerError
from caffe_lite.inspection.check import check as check_file
from caffe_lite.io import array_to_blobproto

from .gradient import Bottom, check, labels
from .gradient import make_net as make_layer_net

MATRIX = np.array([[1, 0.5, 0], [0, 2, -0.25], [0.1, 0.2, 0.3]])


def by_hand(x: np.ndarray, label: np.ndarray, matrix: np.ndarray, ignore: int | None) -> tuple[float, int]:
    """Return the sum over all labels, and the number that are not ignored; x is (N, K, inner)."""
    total, valid = 0.0, 0
    for n, p in np.ndindex(label.shape):
        if label[n, p] != ignore:
            exps = np.exp(x[n, :, p])
            total -= sum(matrix[label[n, p], k] * log(e / exps.sum()) for k, e in enumerate(exps))
            valid += 1
    return total, valid


@settings(deadline=None, max_examples=25)
@given(
    data=st.data(),
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple),
    ignore=st.none() | st.integers(-1, 2),
    normalization=st.sampled_from(["", "FULL", "VALID", "BATCH_SIZE", "NONE"]),
)
def test_any_axis_and_normalization(data, shape, ignore, normalization, engine) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1), "axis")
    first = axis % len(shape)
    classes, rest = shape[first], (*shape[:first], *shape[first + 1 :])
    fields = [f"ignore_label: {ignore}"] if ignore is not None else []
    fields += [f"normalization: {normalization}"] if normalization else []
    layer = f'type: "InfogainLoss" infogain_loss_param {{ axis: {axis} }} loss_param {{ {" ".join(fields)} }}'
    bottoms = [Bottom(shape), labels(classes, *rest), Bottom((1, 1, classes, classes))]
    net = make_layer_net(layer, bottoms, 2, engine=engine)
    check(net)
    net.forward()
    x, label, matrix = (net.blobs[f"x{i}"].data for i in range(3))
    outer = int(np.prod(shape[:first], dtype=int))
    label = label.reshape(outer, -1).astype(int)
    total, valid = by_hand(x.reshape(outer, classes, -1), label, matrix[0, 0], ignore)
    divisor = {"FULL": label.size, "BATCH_SIZE": outer, "NONE": 1}.get(normalization, valid)
    assert float(net.blobs["y0"].data) == pytest.approx(total / max(1, divisor), rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(net.blobs["y1"].data, np.exp(x) / np.exp(x).sum(first, keepdims=True))


def loss_net(make_net, more: str = "", tops: str = "", classes: int = 3, kind: str = "InfogainLoss"):
    return make_net(f"""force_backward: true
        layer {{ name: "in" type: "Input" top: "x" top: "label"
                 input_param {{ shape {{ dim: 2 dim: {classes} }} shape {{ dim: 2 }} }} }}
        layer {{ name: "loss" type: "{kind}" bottom: "x" bottom: "label" top: "loss" {tops} {more} }}""")


def write(path: Path, matrix: np.ndarray) -> None:
    path.write_bytes(array_to_blobproto(matrix).SerializeToString())


@pytest.mark.parametrize("shape", [(1, 1, 3, 3), (3, 3)])
def test_a_matrix_in_a_file_beside_the_prototxt(make_net, tmp_path, shape) -> None:
    write(tmp_path / "gain.binaryproto", MATRIX.reshape(shape))
    net = loss_net(make_net, 'infogain_loss_param { source: "gain.binaryproto" }', 'top: "prob"')
    x, label = np.array([[1, -1, 0.5], [0, 0, 2]]), np.array([1, 2])
    total, _ = by_hand(x[..., None], label[:, None], MATRIX, None)
    assert net.forward(x=x, label=label)["loss"] == pytest.approx(total / 2, rel=1e-6)
    net.backward()
    prob = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    expected = (prob * MATRIX[label].sum(1, keepdims=True) - MATRIX[label]) / 2
    np.testing.assert_allclose(net.blobs["x"].diff, expected, rtol=1e-5)
    np.testing.assert_allclose(net.blobs["prob"].data, prob, rtol=1e-6)


def test_with_the_unit_matrix_it_is_softmax_with_loss(make_net, tmp_path) -> None:
    write(tmp_path / "gain.binaryproto", np.eye(3))
    results = []
    for kind in ("InfogainLoss", "SoftmaxWithLoss"):
        net = loss_net(make_net, 'infogain_loss_param { source: "gain.binaryproto" }', kind=kind)
        net.forward(x=np.array([[1, -1, 0.5], [0, 0, 2]]), label=np.array([1, 2]))
        net.backward()
        results.append((net.blobs["loss"].data, net.blobs["x"].diff))
    for mine, other in zip(*results, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6)


def test_a_probability_of_zero_counts_as_1e_20(make_net, tmp_path) -> None:
    write(tmp_path / "gain.binaryproto", np.eye(3))
    net = loss_net(make_net, 'infogain_loss_param { source: "gain.binaryproto" }')
    loss = net.forward(x=np.array([[1e4, 0, -1e4], [1e4, 0, -1e4]]), label=np.array([2, 0]))["loss"]
    assert loss == pytest.approx(-log(1e-20) / 2, rel=1e-6)
    net.backward()
    np.testing.assert_array_equal(net.blobs["x"].diff, [[0.5, 0, -0.5], [0, 0, 0]])


def test_what_is_ignored_cannot_spoil_the_rest(make_net, tmp_path) -> None:
    write(tmp_path / "gain.binaryproto", MATRIX)
    param = 'infogain_loss_param { source: "gain.binaryproto" } loss_param { ignore_label: -1 }'
    net = loss_net(make_net, param)
    x = np.array([[1, -1, 0.5], [np.nan, 0, 2]])
    total, _ = by_hand(x[:1, :, None], np.array([[1]]), MATRIX, None)
    assert net.forward(x=x, label=np.array([1, -1]))["loss"] == pytest.approx(total, rel=1e-6)
    net.backward()
    assert net.blobs["x"].diff[0].any() and not net.blobs["x"].diff[1].any()


def test_a_label_that_is_no_class(make_net, tmp_path) -> None:
    write(tmp_path / "gain.binaryproto", MATRIX)
    net = loss_net(make_net, 'infogain_loss_param { source: "gain.binaryproto" }')
    with pytest.raises(LayerError, match="label 3 of sample 1 is none of the classes 0 to 2"):
        net.forward(x=np.zeros((2, 3)), label=np.array([0, 3]))


def test_without_a_matrix(make_net) -> None:
    with pytest.raises(LayerError, match=r"there is no infogain matrix\. Give it as third bottom, or as source: in"):
        loss_net(make_net)


def test_a_matrix_of_another_size(make_net, tmp_path) -> None:
    write(tmp_path / "gain.binaryproto", MATRIX)
    with pytest.raises(
        LayerError, match=r"has the shape \(3, 3\), and the scores \(2, 4\) have 4 classes along axis 1"
    ):
        loss_net(make_net, 'infogain_loss_param { source: "gain.binaryproto" }', classes=4)


@pytest.mark.parametrize(
    ("content", "what"),
    [(None, "there is no source 'gain.binaryproto': looked for"), (b"\xff\xff", "is not a BlobProto")],
)
def test_a_broken_file_is_named(make_net, tmp_path, content, what) -> None:
    if content is not None:
        (tmp_path / "gain.binaryproto").write_bytes(content)
    with pytest.raises(DataError, match=what) as error:
        loss_net(make_net, 'infogain_loss_param { source: "gain.binaryproto" }')
    assert 'layer "loss" (InfogainLoss)' in str(error.value)


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize(("labels", "problems"), [("dim: 2", 0), ("dim: 2 dim: 3", 1)])
def test_its_shapes_are_checked_without_the_file(tmp_path, there, labels, problems) -> None:
    if there:
        write(tmp_path / "gain.binaryproto", MATRIX)
    path = tmp_path / "net.prototxt"
    path.write_text(f"""
        layer {{ name: "in" type: "Input" top: "x" top: "label"
                 input_param {{ shape {{ dim: 2 dim: 3 }} shape {{ {labels} }} }} }}
        layer {{ name: "loss" type: "InfogainLoss" bottom: "x" bottom: "label" top: "loss"
                 infogain_loss_param {{ source: "gain.binaryproto" }} }}""")
    checked = check_file(path)
    assert [problem.layer for problem in checked.problems] == ["loss"] * problems
