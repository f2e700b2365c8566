"""The HDF5Output layer: the file that it writes, pass after pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from caffe_lite import TEST, TRAIN, Net, ranks
from caffe_lite.errors import CaffeError, LayerError
from tests.data.hdf5_files import hdf5_list

h5py = pytest.importorskip("h5py")

MakeNet = Callable[..., Net]


def output_net(file: Path, data: str = "dim: 4 dim: 2 dim: 3", label: str = "dim: 4") -> str:
    return (
        f'layer {{ name: "in" type: "Input" top: "x" top: "y" '
        f"input_param {{ shape {{ {data} }} shape {{ {label} }} }} }}\n"
        f'layer {{ name: "out" type: "HDF5Output" bottom: "x" bottom: "y" '
        f'hdf5_output_param {{ file_name: "{file.as_posix()}" }} }}'
    )


def run(net: Net, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    arrays = []
    for name in ("x", "y"):
        net.blobs[name].data[...] = rng.normal(size=net.blobs[name].shape)
        arrays.append(np.copy(net.blobs[name].data))
    net.forward()
    return arrays[0], arrays[1]


def read(file: Path) -> tuple[np.ndarray, np.ndarray]:
    with h5py.File(file, "r") as stream:
        assert list(stream) == ["data", "label"]
        return stream["data"][()], stream["label"][()]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_pass_writes_what_the_original_does(make_net: MakeNet, tmp_path: Path, dtype: str) -> None:
    file = tmp_path / "out.h5"
    net = make_net(output_net(file), TEST, dtype=dtype)
    assert not file.exists()
    x, y = run(net, 0)
    data, label = read(file)
    assert data.dtype == label.dtype == dtype
    assert (data.shape, label.shape) == ((4, 2, 3, 1), (4, 1, 1, 1))
    assert (data[..., 0] == x).all()
    assert (label[:, 0, 0, 0] == y).all()


def test_further_passes_append_their_rows(make_net: MakeNet, tmp_path: Path) -> None:
    file = tmp_path / "out.h5"
    net = make_net(output_net(file), TEST)
    passes = []
    for i in range(3):
        passes.append(run(net, i))
        data, label = read(file)
        assert (data[..., 0] == np.concatenate([x for x, _ in passes])).all()
        assert (label[:, 0, 0, 0] == np.concatenate([y for _, y in passes])).all()
    net.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.prototxt", "out.h5"]


def test_batches_of_nothing_add_nothing(make_net: MakeNet, tmp_path: Path) -> None:
    file = tmp_path / "out.h5"
    net = make_net(output_net(file), TEST)
    for value, count in enumerate((0, 4, 0, 4), 1):
        for blob in net.blobs.values():
            blob.reshape(count, *blob.shape[1:])
            blob.data[...] = value
        net.forward()
        rows = [2] * 4 * (value >= 2) + [4] * 4 * (value == 4)
        data, label = read(file)
        assert data[:, 0, 0, 0].tolist() == label[:, 0, 0, 0].tolist() == rows


def test_a_new_net_writes_the_file_anew(make_net: MakeNet, tmp_path: Path) -> None:
    file = tmp_path / "out.h5"
    run(make_net(output_net(file)), 0)
    x, _ = run(make_net(output_net(file)), 1)
    assert (read(file)[0][..., 0] == x).all()


@pytest.mark.parametrize(
    ("data", "label", "shapes"),
    [
        ("dim: 4 dim: 2 dim: 3 dim: 2 dim: 1 dim: 2", "dim: 4 dim: 3", ((4, 2, 3, 2, 1, 2), (4, 3, 1, 1))),
        ("", "", ((1, 1, 1, 1), (1, 1, 1, 1))),
        ("dim: 4 dim: 0", "dim: 4", ((4, 0, 1, 1), (4, 1, 1, 1))),
    ],
)
def test_shapes(make_net: MakeNet, tmp_path: Path, data: str, label: str, shapes: tuple) -> None:
    net = make_net(output_net(tmp_path / "out.h5", data, label))
    run(net, 0)
    assert tuple(array.shape for array in read(tmp_path / "out.h5")) == shapes


def test_from_hdf5_to_hdf5(make_net: MakeNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HDF5Data reads the files that it writes."""
    monkeypatch.chdir(tmp_path)
    text = (
        'layer { name: "in" type: "HDF5Data" top: "data" top: "label" '
        'hdf5_data_param { source: "list.txt" batch_size: 3 } }'
        'layer { name: "out" type: "HDF5Output" bottom: "data" bottom: "label" '
        'hdf5_output_param { file_name: "out.h5" } }'
    )
    hdf5_list(tmp_path, [4, 5])
    net = make_net(text)
    for _ in range(3):
        net.forward()
    assert (read(tmp_path / "out.h5")[1].ravel() == range(9)).all()
    (tmp_path / "list.txt").write_text("out.h5", encoding="utf-8")
    again = make_net(text.replace('"out.h5"', '"again.h5"'))
    for _ in range(3):
        again.forward()
    for first, second in zip(read(tmp_path / "out.h5"), read(tmp_path / "again.h5"), strict=True):
        assert (first == second).all()


def test_gradients_pass_by(make_net: MakeNet, tmp_path: Path) -> None:
    """It adds no gradient, in training or where every gradient is requested."""
    net = make_net(
        "force_backward: true "
        + output_net(tmp_path / "out.h5", "dim: 4 dim: 2", "dim: 4 dim: 2")
        + 'layer { name: "loss" type: "EuclideanLoss" bottom: "x" bottom: "y" top: "loss" }',
        TRAIN,
    )
    x, y = run(net, 0)
    net.backward()
    np.testing.assert_allclose(net.blobs["x"].diff, (x - y) / 4, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("label", "dim: 5"), "its bottoms have 4 and 5 rows. Give it two blobs of one batch"),
        (("file", "nowhere/out.h5"), "there is no folder for file_name"),
    ],
)
def test_errors_name_the_layer(make_net: MakeNet, tmp_path: Path, change: tuple[str, str], message: str) -> None:
    values = {"file": tmp_path / "out.h5", "label": "dim: 4"}
    values[change[0]] = tmp_path / change[1] if change[0] == "file" else change[1]
    with pytest.raises(LayerError) as caught:
        make_net(output_net(**values))
    assert f'net.prototxt:2:1, layer "out" (HDF5Output): {message}' in str(caught.value)


def test_several_workers_would_write_one_file(make_net: MakeNet, tmp_path: Path) -> None:
    ranks.set_solver_count(2)
    try:
        with pytest.raises(LayerError, match="several workers train"):
            make_net(output_net(tmp_path / "out.h5"), TRAIN)
        make_net(output_net(tmp_path / "out.h5"), TEST)
    finally:
        ranks.set_solver_count(1)


def test_no_file_name(make_net: MakeNet, tmp_path: Path) -> None:
    with pytest.raises(LayerError, match="there is no file_name"):
        make_net(output_net(tmp_path).replace(f'file_name: "{tmp_path.as_posix()}"', ""))


def test_a_file_that_cannot_be_written(make_net: MakeNet, tmp_path: Path) -> None:
    net = make_net(output_net(tmp_path))
    with pytest.raises(CaffeError, match="cannot write this file: it is a folder"):
        net.forward()


@pytest.mark.parametrize("content", [None, b"", b"\x89HDF\r\n\x1a\n"])
def test_a_file_that_others_change_meanwhile(make_net: MakeNet, tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "out.h5"
    net = make_net(output_net(file))
    net.forward()
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(LayerError, match="cannot write "):
        net.forward()


def test_rows_of_another_shape(make_net: MakeNet, tmp_path: Path) -> None:
    net = make_net(output_net(tmp_path / "out.h5"))
    net.forward()
    net.blobs["x"].reshape(4, 2, 4)
    with pytest.raises(LayerError, match=r"has shape \(4, 2, 3, 1\) after 4 rows, which \(4, 2, 4, 1\) does not fit"):
        net.forward()
    assert read(tmp_path / "out.h5")[0].shape == (4, 2, 3, 1)
