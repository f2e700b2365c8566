"""The MemoryData layer, and the arrays that a script gives it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from caffe_lite import TEST, Net
from caffe_lite.errors import LayerError, NetError

MakeNet = Callable[..., Net]
LAYER = """
layer { name: "memory" type: "MemoryData" top: "data" top: "label"
        memory_data_param { batch_size: 3 channels: 2 height: 4 width: 5 } }
"""


@pytest.fixture
def net(make_net: MakeNet) -> Net:
    return make_net(LAYER, TEST)


def rows(count: int) -> tuple[np.ndarray, np.ndarray]:
    data = np.random.default_rng(count).normal(size=(count, 2, 4, 5)).astype(np.float32)
    return data, np.arange(count, dtype=np.float32)


def test_batches_go_around(net: Net) -> None:
    data, labels = rows(9)
    net.set_input_arrays(data, labels)
    for step in range(8):
        net.forward()
        at = slice(step % 3 * 3, step % 3 * 3 + 3)
        assert (net.blobs["data"].data == data[at]).all()
        assert (net.blobs["label"].data.ravel() == labels[at]).all()


def test_shapes_are_those_of_the_original(net: Net) -> None:
    assert (net.blobs["data"].shape, net.blobs["label"].shape) == ((3, 2, 4, 5), (3,))
    net.set_input_arrays(*rows(3))
    net.forward()
    assert (net.blobs["data"].shape, net.blobs["label"].shape) == ((3, 2, 4, 5), (3, 1, 1, 1))


def test_new_arrays_start_at_their_first_row(net: Net) -> None:
    net.set_input_arrays(*rows(9))
    net.forward()
    data, labels = rows(6)
    net.set_input_arrays(data, labels[:, None, None, None])
    assert (net.forward()["data"] == data[:3]).all()


def test_what_is_written_into_the_arrays_counts(net: Net) -> None:
    data, labels = rows(3)
    net.set_input_arrays(data, labels)
    net.forward()
    data[...] = 5
    labels[...] = 7
    net.forward()
    assert (net.blobs["data"].data == 5).all()
    assert (net.blobs["label"].data == 7).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda a: a.astype(np.float64),
        lambda a: a.astype(">f4"),
        np.asfortranarray,
        lambda a: a.tolist(),
        lambda a: a[::-1].copy()[::-1],
        lambda a: np.frombuffer(a.tobytes(), np.float32).reshape(a.shape),
    ],
    ids=["double", "big-endian", "fortran", "list", "backwards", "read-only"],
)
def test_arrays_of_any_kind(net: Net, make: Callable[[np.ndarray], Any]) -> None:
    data, labels = rows(6)
    net.set_input_arrays(make(data), make(labels))
    for at in (slice(0, 3), slice(3, 6)):
        net.forward()
        assert (net.blobs["data"].data == data[at]).all()
        assert (net.blobs["label"].data.ravel() == labels[at]).all()


def test_a_net_trains_from_it(make_net: MakeNet) -> None:
    net = make_net(
        LAYER + 'layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 7 '
        'weight_filler { type: "xavier" } } }'
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }'
    )
    net.set_input_arrays(*rows(6))
    losses = [float(net.forward()["loss"]) for _ in range(4)]
    assert losses[:2] == losses[2:]
    net.backward()
    assert np.any(net.params["fc"][0].diff)


def test_a_snapshot_holds_the_place(make_net: MakeNet, net: Net) -> None:
    data, labels = rows(9)
    net.set_input_arrays(data, labels)
    net.forward()
    state = json.loads(json.dumps(net.state()))
    resumed = make_net(LAYER, TEST)
    with pytest.raises(LayerError, match="the snapshot was made with other arrays, or with none"):
        resumed.restore_state(state)
    resumed.set_input_arrays(data, labels)
    resumed.restore_state(state)
    assert (resumed.forward()["data"] == data[3:6]).all()
    with pytest.raises(LayerError, match="the snapshot was made with other arrays"):
        resumed.nodes[0].layer.restore_state({"next_key": "00"})


def test_a_pass_without_arrays_says_what_to_do(net: Net) -> None:
    with pytest.raises(LayerError) as caught:
        net.forward()
    assert str(caught.value).endswith(
        'layer "memory" (MemoryData): it has no data yet. '
        "In a script, call net.set_input_arrays(data, labels) before the first pass."
    )


@pytest.mark.parametrize(
    ("data", "labels", "message"),
    [
        (np.ones((3, 2, 4, 6)), np.ones(3), "data is of shape (3, 2, 4, 6), not (n, 2, 4, 5)"),
        (np.ones((3, 40)), np.ones(3), "data is of shape (3, 40), not (n, 2, 4, 5)"),
        (np.ones((4, 2, 4, 5)), np.ones(4), "there are 4 rows, which is no multiple of batch_size 3"),
        (np.ones((0, 2, 4, 5)), np.ones(0), "there are 0 rows, which is no multiple of batch_size 3"),
        (np.ones((3, 2, 4, 5)), np.ones(2), "labels is of shape (2,), data has 3 rows. Give one label per row"),
        (np.ones((3, 2, 4, 5)), np.ones((3, 2)), "labels is of shape (3, 2), data has 3 rows"),
        (np.ones((3, 2, 4, 5)), np.ones((1, 3)), "labels is of shape (1, 3), data has 3 rows"),
        (np.ones((3, 2, 4, 5)), np.float32(3), "labels is of shape (), data has 3 rows"),
        ("cat", np.ones(3), "data and labels must be arrays of numbers"),
        (None, None, "data is of shape (), not (n, 2, 4, 5)"),
        ([[1], [1, 2]], [1, 2], "data and labels must be arrays of numbers"),
    ],
)
def test_arrays_that_do_not_fit(net: Net, data: Any, labels: Any, message: str) -> None:
    with pytest.raises(LayerError) as caught:
        net.set_input_arrays(data, labels)
    assert message in str(caught.value)
    assert 'net.prototxt:2:1, layer "memory" (MemoryData): ' in str(caught.value)


def test_nothing_is_transformed_and_it_says_so(make_net: MakeNet, caplog: pytest.LogCaptureFixture) -> None:
    net = make_net(LAYER.replace("memory_data_param", "transform_param { scale: 2 } memory_data_param"))
    data, labels = rows(3)
    net.set_input_arrays(data, labels)
    assert caplog.messages == ["MemoryData does not transform array data on Reset()"]
    net.forward()
    assert (net.blobs["data"].data == data).all()


def test_a_size_that_is_missing(make_net: MakeNet) -> None:
    with pytest.raises(LayerError, match=r"batch_size, channels, height, width are \(3, 2, 0, 5\)"):
        make_net(LAYER.replace("height: 4", ""))


def test_a_net_without_the_layer(make_net: MakeNet) -> None:
    net = make_net('layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }')
    with pytest.raises(NetError, match="the net has no MemoryData layer"):
        net.set_input_arrays(*rows(3))


# -- dim -------------------------------------------------------------------------------------------------------------

VOLUMES = """
layer { name: "volumes" type: "MemoryData" top: "data" top: "label"
        memory_data_param { dim: 2 dim: 1 dim: 3 dim: 4 dim: 5 } }
layer { name: "rows" type: "MemoryData" top: "rows" memory_data_param { dim: 2 dim: 6 } }
"""


def test_batches_of_any_number_of_axes(make_net: MakeNet) -> None:
    net = make_net(VOLUMES, TEST)
    assert [blob.shape for blob in net.blobs.values()] == [(2, 1, 3, 4, 5), (2, 1, 1, 1, 1), (2, 6)]
    data, labels = np.arange(240.0).reshape(4, 1, 3, 4, 5), np.arange(4)
    net.set_input_arrays(data, labels)
    net.set_input_arrays(1, np.arange(12).reshape(2, 6), None)
    for at in (slice(0, 2), slice(2, 4), slice(0, 2)):
        net.forward()
        assert (net.blobs["data"].data == data[at]).all()
        assert (net.blobs["label"].data.ravel() == labels[at]).all()
        assert (net.blobs["rows"].data == np.arange(12).reshape(2, 6)).all()


def test_arrays_for_a_layer_that_has_none(make_net: MakeNet) -> None:
    net = make_net(VOLUMES + 'layer { name: "y" type: "Power" bottom: "rows" top: "y" }', TEST)
    with pytest.raises(RuntimeError, match=r'layer "y".*it takes no arrays'):
        net.set_input_arrays(2, np.ones((2, 6)), np.ones(2))
    with pytest.raises(LayerError, match=r"data is of shape \(2, 5\), not \(n, 6\)"):
        net.set_input_arrays(1, np.ones((2, 5)), None)
    with pytest.raises(LayerError, match=r"labels is of shape \(\), data has 2 rows"):
        net.set_input_arrays(0, np.ones((2, 1, 3, 4, 5)), None)


def test_a_size_of_0_in_dim(make_net: MakeNet) -> None:
    with pytest.raises(LayerError, match=r"the sizes in dim are \(2, 0\)"):
        make_net(VOLUMES.replace("dim: 6", "dim: 0"))
