from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from caffe_lite.errors import CaffeError, MissingExtra, WeightsError
from caffe_lite.io import array_to_blobproto
from caffe_lite.net import weights
from caffe_lite.net.weights import LayerWeights, read_weights, write_hdf5, write_message
from caffe_lite.proto import caffe_pb2

GOLDEN = Path(__file__).parents[1] / "golden" / "solvers"


def net_with(*blobs: np.ndarray, name: str = "ip") -> caffe_pb2.NetParameter:
    net = caffe_pb2.NetParameter(name="test")
    net.layer.add(name=name, type="InnerProduct", blobs=[array_to_blobproto(blob) for blob in blobs])
    return net


def same(a: list[np.ndarray | None], b: list[np.ndarray | None]) -> bool:
    return len(a) == len(b) and all(
        x is y if x is None or y is None else np.array_equal(x, y) for x, y in zip(a, b, strict=True)
    )


def test_both_forms_of_the_original_hold_the_same_weights() -> None:
    binary = {layer.name: layer for layer in read_weights(GOLDEN / "sgd/s_iter_6.caffemodel")}
    hdf5 = {layer.name: layer for layer in read_weights(GOLDEN / "sgd/s_iter_6.caffemodel.h5")}
    assert list(binary) == ["data", "ip1", "act", "ip2", "loss"]
    assert set(hdf5) == set(binary)
    assert binary["ip1"].type == "InnerProduct"
    assert [blob.shape for blob in binary["ip1"].blobs if blob is not None] == [(5, 4), (5,)]
    for name in binary:
        assert same(binary[name].blobs, hdf5[name].blobs)


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    (tmp_path / "a.caffemodel").write_bytes((GOLDEN / "sgd/s_iter_6.caffemodel.h5").read_bytes())
    (tmp_path / "a.h5").write_bytes((GOLDEN / "sgd/s_iter_6.caffemodel").read_bytes())
    assert len(read_weights(tmp_path / "a.caffemodel")) == len(read_weights(tmp_path / "a.h5")) == 5


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    w, b = np.random.default_rng(0).normal(size=(3, 4)).astype("f"), np.arange(3, dtype="f")
    write_message(tmp_path / "a.caffemodel", net_with(w, b))
    write_hdf5(tmp_path / "a.h5", [LayerWeights("ip", "InnerProduct", [w, b])])
    for name in ("a.caffemodel", "a.h5"):
        (layer,) = read_weights(tmp_path / name)
        assert layer.name == "ip" and same(layer.blobs, [w, b])


def test_hdf5_has_the_layout_of_the_original(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")

    def layout(path: Path) -> dict[str, object]:
        found: dict[str, object] = {}
        with h5py.File(path) as file:
            file.visititems(lambda name, item: found.update({name: getattr(item, "dtype", None)}))
        return found

    original = GOLDEN / "sgd/s_iter_6.caffemodel.h5"
    write_hdf5(tmp_path / "a.h5", read_weights(original))
    assert layout(tmp_path / "a.h5") == layout(original)


def test_hdf5_holds_diffs_shared_blobs_and_names_with_slashes(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    ones, twos = np.ones((2, 2), "f"), np.full(2, 2, "f")
    layers = [
        LayerWeights("a", "InnerProduct", [ones], [twos]),
        LayerWeights("a/1x1", "InnerProduct", [None, twos], [ones, ones]),
        LayerWeights("b/relu", "ReLU", []),
        *(LayerWeights(f"many{i}", "X", [np.full(1, k, "f") for k in range(12)]) for i in range(1)),
    ]
    write_hdf5(tmp_path / "a.h5", layers)
    with h5py.File(tmp_path / "a.h5") as file:
        assert np.array_equal(file["diff/a/0"], twos) and sorted(file["diff/a/1x1"]) == ["0", "1"]
        assert list(file["data/a/1x1"]) == ["1"]
    back = {layer.name: layer.blobs for layer in read_weights(tmp_path / "a.h5")}
    assert back.keys() == {"a", "a/1x1", "b/relu", "many0"}
    for layer in layers:
        assert same(back[layer.name], layer.blobs)


@pytest.mark.parametrize("name", ["", "/a", "a//b", "a/.", ".."])
def test_a_name_that_hdf5_cannot_hold_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(WeightsError, match="HDF5 cannot hold"):
        write_hdf5(tmp_path / "a.h5", [LayerWeights(name, "X", [])])
    assert not list(tmp_path.iterdir())


def test_files_of_older_versions_are_read(tmp_path: Path) -> None:
    blob = caffe_pb2.BlobProto(num=1, channels=1, height=2, width=3, data=range(6))
    v1 = caffe_pb2.NetParameter()
    v1.layers.add(name="ip", type=caffe_pb2.V1LayerParameter.INNER_PRODUCT, blobs=[blob])
    v0 = caffe_pb2.NetParameter()
    v0.layers.add().layer.CopyFrom(caffe_pb2.V0LayerParameter(name="ip", type="innerproduct", blobs=[blob]))
    for net, type_name in ((v1, "InnerProduct"), (v0, "InnerProduct")):
        write_message(tmp_path / "old.caffemodel", net)
        (layer,) = read_weights(tmp_path / "old.caffemodel")
        assert (layer.name, layer.type) == ("ip", type_name)
        assert same(layer.blobs, [np.arange(6, dtype="f").reshape(1, 1, 2, 3)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>not found</html>", "web page"),
        (b'name: "LeNet"\nlayer { name: "data" }\n', "It is text"),
        (bytes(range(256)) * 40, "damaged or cut short"),
        (caffe_pb2.NetParameter(name="no layers").SerializeToString(), "no layers"),
        (net_with(np.ones((30, 40))).SerializeToString()[:-7], "damaged or cut short"),
        ((GOLDEN / "sgd/s_iter_6.caffemodel.h5").read_bytes()[:-700], "damaged or cut short"),
        ((GOLDEN / "sgd/s_iter_6.caffemodel.h5").read_bytes()[:8], "damaged or cut short"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken.caffemodel"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message) as caught:
        read_weights(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is no such file"):
        read_weights(tmp_path / "missing.caffemodel")
    with pytest.raises(WeightsError, match="cannot read it"):
        read_weights(tmp_path)


def test_a_blob_of_a_wrong_size_names_the_layer(tmp_path: Path) -> None:
    net = net_with(np.ones((2, 3)))
    net.layer[0].blobs[0].shape.dim[0] = 3
    write_message(tmp_path / "a.caffemodel", net)
    with pytest.raises(WeightsError, match=r'layer "ip" \(InnerProduct\): .*shape \(3, 3\) holds 6 values'):
        read_weights(tmp_path / "a.caffemodel")


def test_hdf5_files_of_others_are_refused(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["weights"] = np.ones(3)
    with pytest.raises(WeightsError, match="no group data"):
        read_weights(path)
    with h5py.File(path, "w") as file:
        file["data/conv1/kernel"] = np.ones(3)
    with pytest.raises(WeightsError, match='layer "conv1": it holds kernel'):
        read_weights(path)


def test_weights_too_large_for_protobuf_are_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "PROTOBUF_LIMIT", len(net_with(np.ones(250)).SerializeToString()))
    write_message(tmp_path / "fits.caffemodel", net_with(np.ones(250)))
    with pytest.raises(WeightsError, match="HDF5"):
        write_message(tmp_path / "large.caffemodel", net_with(np.ones(251)))
    assert [path.name for path in tmp_path.iterdir()] == ["fits.caffemodel"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write_hdf5(path, [LayerWeights("ip", "", [np.ones(3, "f")])])
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_hdf5(path, [LayerWeights("ip", "", [np.array([object()])])])
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(CaffeError, match="mkdir -p"):
        write_message(tmp_path / "missing" / "a.caffemodel", net_with(np.ones(3)))


def test_without_h5py_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtra, match=r"pip install 'caffe-lite\[data\]'"):
        read_weights(GOLDEN / "sgd/s_iter_6.caffemodel.h5")
    with pytest.raises(MissingExtra):
        write_hdf5(tmp_path / "a.h5", [])


@pytest.mark.parametrize("name", ["s_iter_6.solverstate", "s_iter_6.solverstate.h5"])
def test_a_solver_s_state_is_no_weights_and_gets_a_hint_of_its_own(name: str) -> None:
    with pytest.raises(WeightsError, match=r"the state of a solver, .* Resume from it .*--snapshot.*caffemodel"):
        read_weights(GOLDEN / "adam" / name)


def test_a_file_larger_than_protobuf_s_limit_is_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "large.caffemodel"
    path.write_bytes(b"\x0a\x00")
    os.truncate(path, 2**31)  # takes no space on the disk
    with pytest.raises(WeightsError, match=r"it has 2\.0 GB, files of protobuf hold 2 GB at most"):
        read_weights(path)


@pytest.mark.parametrize(
    ("kind", "raw", "message"),
    [
        ("FLOAT16", b"123", "holds 3 bytes of the type FLOAT16"),
        ("INT", b"1234", "holds 4 bytes of the type INT"),
        ("FLOAT", b"12345678", "holds 2 values in data, not 1"),
    ],
)
def test_raw_bytes_that_are_no_array_are_refused(tmp_path: Path, kind: str, raw: bytes, message: str) -> None:
    net = net_with()
    net.layer[0].blobs.add(raw_data=raw, raw_data_type=kind, shape=caffe_pb2.BlobShape(dim=[1]))
    write_message(tmp_path / "a.caffemodel", net)
    with pytest.raises(WeightsError, match=message):
        read_weights(tmp_path / "a.caffemodel")


def test_doubles_are_read_whichever_way_they_are_stored(tmp_path: Path) -> None:
    net, values = net_with(), np.array([1 / 3, 1e300])
    net.layer[0].blobs.add(double_data=values, shape=caffe_pb2.BlobShape(dim=[2]))
    net.layer[0].blobs.add(raw_data=values.tobytes(), raw_data_type="DOUBLE", shape=caffe_pb2.BlobShape(dim=[2]))
    write_message(tmp_path / "a.caffemodel", net)
    (layer,) = read_weights(tmp_path / "a.caffemodel")
    assert same(layer.blobs, [values, values]) and all(b is not None and b.dtype == np.float64 for b in layer.blobs)


def test_a_blob_of_too_many_axes_is_refused(tmp_path: Path) -> None:
    net = net_with(np.ones(1))
    net.layer[0].blobs[0].shape.dim[:] = [1] * 33
    write_message(tmp_path / "a.caffemodel", net)
    with pytest.raises(WeightsError, match="33 axes"):
        read_weights(tmp_path / "a.caffemodel")


def test_a_group_inside_itself_is_refused(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("data/a")
        group["again"] = file["data"]
    with pytest.raises(WeightsError, match="contains itself"):
        read_weights(tmp_path / "a.h5")


def test_a_dataset_that_claims_more_than_the_file_holds_is_not_read(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data/a/0", (2**20, 2**20), "f4")  # never written: HDF5 allocates no space
    with pytest.raises(WeightsError, match="larger than the file"):
        read_weights(tmp_path / "a.h5")


def test_hdf5_weights_in_other_files_are_refused(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    write_hdf5(tmp_path / "whole.h5", [LayerWeights("ip", "InnerProduct", [np.ones((2, 3), np.float32)])])
    for name in ("data", "data/ip", "data/ip/0"):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file[name] = h5py.ExternalLink("whole.h5", name)
        with pytest.raises(WeightsError, match=rf"a\.h5: /{name} is a link to another file"):
            read_weights(tmp_path / "a.h5")


def test_hdf5_weights_larger_than_their_file(tmp_path: Path) -> None:
    """A few kilobytes declare a terabyte of values that were never written."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data/ip/0", (2**20, 2**18), "f4", fillvalue=1)
    with pytest.raises(WeightsError, match=r"a\.h5: .*/data/ip/0 of the shape .* is larger than the file"):
        read_weights(tmp_path / "a.h5")
