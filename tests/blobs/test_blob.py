import os
import subprocess
import sys

import numpy as np
import pytest

from caffe_lite.blobs import Blob
from caffe_lite.blobs.reshaped import ReshapedBlob
from caffe_lite.errors import BlobTooLarge, CaffeError, NetError
from caffe_lite.pycaffe.blob import HostBlob, HostBlobs


def host(ops, array):
    return ops.host_view(array)


def test_a_new_blob_reads_as_zeros_and_has_no_gradient(ops):
    blob = Blob(ops, (2, 3))
    assert (blob.shape, blob.count, blob.num_axes, blob.has_diff) == ((2, 3), 6, 2, False)
    np.testing.assert_array_equal(host(ops, blob.data), np.zeros((2, 3)))
    assert not blob.has_diff
    np.testing.assert_array_equal(host(ops, blob.diff), np.zeros((2, 3)))
    assert blob.data.dtype == blob.diff.dtype == ops.dtype


def test_a_scalar_counts_one(ops):
    blob = Blob(ops)
    assert (blob.shape, blob.count, blob.num_axes) == ((), 1, 0)
    assert isinstance(blob.data, ops.array_type)


def test_assigning_binds_the_array(ops):
    first, second, array = Blob(ops, (2,)), Blob(ops, (2,)), ops.full((2,), 4)
    first.data = second.data = array
    assert first.data is array and second.data is array


def test_an_array_of_another_shape_is_a_mistake_of_the_layer(ops):
    with pytest.raises(AssertionError, match=r"an array of \(3,\) in a blob of \(2,\)"):
        Blob(ops, (2,)).data = ops.zeros((3,))


def test_reshape_keeps_the_arrays_only_of_an_equal_shape(ops):
    blob = Blob(ops, (2, 3))
    blob.data = array = ops.full((2, 3), 4)
    blob.diff = ops.full((2, 3), 5)
    blob.Reshape([2, 3])
    assert blob.data is array and blob.has_diff
    blob.Reshape((np.int64(3), 2))
    assert blob.shape == (3, 2) and all(type(n) is int for n in blob.shape)
    assert not blob.has_diff
    np.testing.assert_array_equal(host(ops, blob.data), np.zeros((3, 2)))


def test_gradients_add_up_without_writing_into_any(ops):
    blob, first, second = Blob(ops, (2,)), ops.full((2,), 1), ops.full((2,), 2)
    blob.add_diff(first)
    assert blob.diff is first
    blob.add_diff(second)
    np.testing.assert_array_equal(host(ops, blob.diff), [3, 3])
    np.testing.assert_array_equal(host(ops, first), [1, 1])
    blob.clear_diff()
    assert not blob.has_diff
    blob.add_diff(second)
    assert blob.diff is second


def test_a_blob_under_another_shape_has_the_same_storage(ops):
    owner = Blob(ops, (2, 3))
    other = ReshapedBlob(owner, (3, 2))
    assert other.shape == (3, 2)
    other.data = ops.asarray(np.arange(6).reshape(3, 2))
    np.testing.assert_array_equal(host(ops, owner.data), np.arange(6).reshape(2, 3))
    HostBlob(other).data[0, 0] = 9
    assert host(ops, owner.data)[0, 0] == 9
    owner.add_diff(ops.full((2, 3), 1))
    assert other.has_diff
    other.add_diff(ops.full((3, 2), 2))
    np.testing.assert_array_equal(host(ops, owner.diff), np.full((2, 3), 3))
    other.diff = ops.full((3, 2), 7)
    np.testing.assert_array_equal(host(ops, other.diff), np.full((3, 2), 7))
    other.clear_diff()
    assert not owner.has_diff and not other.has_diff


def test_a_user_writes_into_the_arrays_in_place(ops):
    blob = Blob(ops, (2, 3))
    shown = HostBlob(blob)
    shown.data[...] = 1
    shown.data[0] *= 5
    shown.diff[:, 1] = 2
    np.testing.assert_array_equal(host(ops, blob.data), [[5, 5, 5], [1, 1, 1]])
    np.testing.assert_array_equal(host(ops, blob.diff), [[0, 2, 0], [0, 2, 0]])


def test_assigning_copies_the_values_in(ops):
    blob, values = Blob(ops, (2,)), np.array([1.0, 2.0])
    array = blob.data
    HostBlob(blob).data = values
    HostBlob(blob).diff = 3
    values[:] = 0
    assert blob.data is array
    np.testing.assert_array_equal(host(ops, array), [1, 2])
    np.testing.assert_array_equal(host(ops, blob.diff), [3, 3])
    with pytest.raises(ValueError, match="broadcast"):
        HostBlob(blob).data = np.zeros(3)


@pytest.mark.parametrize(
    ("shape", "legacy"), [((2, 3, 4, 5), (2, 3, 4, 5)), ((2, 3), (2, 3, 1, 1)), ((), (1, 1, 1, 1))]
)
def test_the_four_axes_of_old(ops, shape, legacy):
    shown = HostBlob(Blob(ops, shape))
    assert (shown.num, shown.channels, shown.height, shown.width) == legacy
    assert shown.shape == shape and shown.count == np.prod(legacy)


def test_a_user_reshapes(ops):
    shown = HostBlob(Blob(ops, (2, 3)))
    shown.reshape(4, 1)
    assert shown.shape == shown.data.shape == (4, 1)
    shown.reshape(np.int64(4), 1.0)
    for wrong in (((2, 2),), (2.5, 2), ("2",)):
        with pytest.raises(TypeError, match=r"Give a whole number per axis: reshape\(\*shape\)"):
            shown.reshape(*wrong)
    with pytest.raises(NetError, match="there is no blob of shape"):
        shown.reshape(-1, 2)
    assert repr(shown) == "<Blob 4 x 1>" and repr(HostBlob(Blob(ops))) == "<Blob scalar>"


def test_a_layers_blobs_as_a_live_sequence(ops):
    blobs = [Blob(ops, (2,))]
    shown = HostBlobs(blobs, ops)
    added = shown.add_blob(3, 4)
    added.data[...] = 6
    assert len(shown) == len(blobs) == 2
    assert [blob.shape for blob in shown] == [(2,), (3, 4)]
    assert shown[-1].data[0, 0] == 6 and [blob.shape for blob in shown[1:]] == [(3, 4)]
    with pytest.raises(IndexError):
        shown[2]


def test_a_blob_that_no_array_can_hold(make_net):
    """The libraries' own limits apply to the product of the sizes without the 0."""
    shape = (0, 2**31 - 1, 2**31 - 1, 4)
    net = make_net(NET % " ".join(f"dim: {n}" for n in shape))
    for read in (lambda: net.blobs["x"].data, lambda: net.blobs["x"].diff):
        with pytest.raises(BlobTooLarge) as caught:
            read()
        assert isinstance(caught.value, CaffeError) and isinstance(caught.value, MemoryError)
        assert f"net.prototxt:1:1: there is no room for blob 'x' of shape {shape}, which takes 0 b" in str(caught.value)


NET = 'layer { name: "in" type: "Input" top: "x" input_param { shape { %s } } }'
READ = """
import resource, sys
import caffe_lite as caffe
net = caffe.Net("net.prototxt", caffe.TEST, engine=sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + 4 * 2**30,) * 2)
for read in (lambda: net.blobs["x"].data, lambda: net.blobs["x"].diff, net.forward):
    try:
        read()
    except caffe.CaffeError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no limit to the memory of a process")
def test_a_blob_for_which_there_is_no_memory(engine, tmp_path):
    (tmp_path / "net.prototxt").write_text(
        NET % "dim: 2147483647" + ' layer { name: "r" type: "TanH" bottom: "x" top: "y" }'
    )
    command = [sys.executable, "-c", READ, engine]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""}, capture_output=True, text=True)
    room = "net.prototxt:1:1: there is no room for blob 'x' of shape (2147483647,), which takes 8,589,934,588 bytes"
    first, second, third = done.stdout.splitlines()
    assert first.startswith(room) and second.startswith(room), done.stderr
    assert "there is no room for blob 'x'" in third
