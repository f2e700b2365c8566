"""Blobs of an engine that shares no memory with the host, as on a GPU: the copy changed last is valid."""

from __future__ import annotations

import numpy as np
import pytest

import caffe_lite
from caffe_lite.blobs import Blob
from caffe_lite.blobs.reshaped import ReshapedBlob
from caffe_lite.pycaffe.blob import HostBlob

torch = pytest.importorskip("torch")
torch_ops = pytest.importorskip("caffe_lite.ops.torch.engine", exc_type=ImportError)

NET = """
layer { name: "input" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "left" type: "InnerProduct" bottom: "x" top: "left"
  inner_product_param { num_output: 2 weight_filler { type: "constant" value: 1 } } }
layer { name: "right" type: "Power" bottom: "x" top: "right" power_param { scale: 3 } }
"""


@pytest.fixture(params=["apart", "cuda"])
def ops(request):
    if request.param == "cuda":
        if not torch.cuda.is_available():
            pytest.skip("torch finds no GPU")
        return torch_ops.TorchOps(device="cuda:0")
    ops = torch_ops.TorchOps()
    ops.shares_memory = False
    return ops


@pytest.fixture
def net(ops, tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    return caffe_lite.Net(path, caffe_lite.TEST, engine=ops)


def test_what_the_user_writes_reaches_the_engine(ops):
    blob = Blob(ops, (2, 2))
    HostBlob(blob).data[...] = [[1, 2], [3, 4]]
    HostBlob(blob).data[0, 0] = 5
    HostBlob(blob).diff[...] = 7
    assert blob.has_diff
    assert blob.data.tolist() == [[5, 2], [3, 4]] and blob.diff.tolist() == [[7, 7], [7, 7]]


def test_what_the_engine_binds_afterwards_holds(ops):
    blob = Blob(ops, (2,))
    HostBlob(blob).data[...] = 1
    blob.data = ops.full((2,), 2)
    assert HostBlob(blob).data.tolist() == [2, 2]


def test_what_the_engine_writes_in_place_is_read_anew(ops):
    blob = Blob(ops, (2,))
    seen = HostBlob(blob).data
    weight = blob.data
    weight += 3
    assert seen.tolist() == [0, 0]
    assert HostBlob(blob).data.tolist() == [3, 3]


def test_a_copy_that_the_user_keeps_counts_whenever_the_engine_reads(ops):
    blob = Blob(ops, (2,))
    kept = HostBlob(blob).data
    for value in (1, 2):
        kept[...] = value
        assert blob.data.tolist() == [value] * 2
    assert HostBlob(blob).data is kept
    blob.data.add_(1)
    kept[...] = 9
    assert blob.data.tolist() == [3, 3]


def test_reshaped_blobs_have_one_memory(ops):
    owner = Blob(ops, (2, 3))
    HostBlob(ReshapedBlob(owner, (3, 2))).data[0, 0] = 9
    HostBlob(ReshapedBlob(owner, (3, 2))).diff[2, 1] = 8
    assert owner.data[0, 0] == 9 and owner.diff[1, 2] == 8


def test_views_of_results_cannot_be_written_to(ops):
    with pytest.raises(ValueError, match="read-only"):
        ops.host_view(ops.full((2,), 1))[0] = 2


def test_a_net_computes_with_what_was_written(net):
    net.blobs["x"].data[...] = [[1, 2, 3], [4, 5, 6]]
    net.params["left"][0].data[1] = 2
    net.forward()
    np.testing.assert_array_equal(net.blobs["left"].data, [[6, 12], [15, 30]])
    net.params["left"][0].data[...] *= 10
    net.forward()
    np.testing.assert_array_equal(net.blobs["left"].data, [[60, 120], [150, 300]])
    np.testing.assert_array_equal(net.blobs["right"].data, [[3, 6, 9], [12, 15, 18]])


def test_a_blob_written_through_another_that_shares_its_array(net):
    net.forward()
    net.blobs["x"].data[...] = 1
    net.forward(start="left")  # reads the top of a split, not x itself
    np.testing.assert_array_equal(net.blobs["left"].data, np.full((2, 2), 3))
