from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe_lite import TEST, Net
from caffe_lite.data.databases.opening import open_database
from caffe_lite.io import datum_to_array
from caffe_lite.proto.caffe_pb2 import DataParameter, Datum


@pytest.fixture
def expected(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Write ``weights.caffemodel``; return the values of data, ip1 and ip2 in the next five batches of ten."""
    monkeypatch.chdir(folder)
    net = Net("net.prototxt", TEST, engine="numpy")
    net.save("weights.caffemodel")
    batches = []
    for _ in range(5):
        net.forward()
        batches.append({name: np.copy(net.blobs[name].data) for name in ("data", "ip1", "ip2")})
    net.close()
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def features(path: Path, backend: int) -> np.ndarray:
    database = open_database(str(path), backend)
    try:
        records = [(key, Datum.FromString(value)) for key, value in database.records()]
    finally:
        database.close()
    assert [key for key, _ in records] == [b"%010d" % i for i in range(len(records))]
    assert not any(datum.data or datum.encoded or datum.HasField("label") for _, datum in records)
    return np.array([datum_to_array(datum) for _, datum in records])


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("backend", ["lmdb", "leveldb"])
def test_features_of_several_blobs(caffe, folder, expected, backend, engine):
    if engine == "torch":
        pytest.importorskip("torch")
    words = ["weights.caffemodel", "net.prototxt", "data,ip1,ip2", "data_db,ip1_db,ip2_db", "5", backend]
    result = caffe("extract-features", *words, f"--engine={engine}")
    assert result.returncode == 0, result.stderr
    said = [line.split("] ", 1)[-1] for line in result.stderr.splitlines()]
    assert said[-4:] == [
        *(f"Extracted features of 50 query images for feature blob {name}" for name in ("data", "ip1", "ip2")),
        "Successfully extracted the features!",
    ]
    for name, values in expected.items():
        shape = (50, *values.shape[1:], *(1,) * (4 - values.ndim))
        found = features(folder / f"{name}_db", DataParameter.DB.Value(backend.upper()))
        np.testing.assert_allclose(found, values.reshape(shape), rtol=1e-5, atol=1e-6)


def test_they_can_be_trained_on(caffe, folder, expected):
    assert (
        caffe("extract-features", "weights.caffemodel", "net.prototxt", "ip1", "f", "1", "LMDB", "CPU").returncode == 0
    )
    (folder / "features.prototxt").write_text(
        'layer { name: "f" type: "Data" top: "f" data_param { source: "f" backend: LMDB batch_size: 10 } }'
    )
    net = Net(folder / "features.prototxt", TEST, engine="numpy")
    np.testing.assert_allclose(net.forward()["f"][:, :, 0, 0], expected["ip1"][:10], rtol=1e-6)
    net.close()


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["ip1,ip2", "a", "2", "lmdb"], 2, "as many databases as blobs: there are 2 blobs and 1 databases"),
        (["ip1,ip2", "a,a", "2", "lmdb"], 2, "give each blob a database of its own"),
        (["ip1", "a", "0", "lmdb"], 2, "'0' is not a whole number of at least 1"),
        (["ip1", "a", "2", "hdf5"], 2, "invalid choice: 'hdf5'"),
        (["ip1", "train_lmdb", "2", "lmdb"], 1, "train_lmdb: it exists already"),
        (["ip11", "a", "2", "lmdb"], 1, "the net has no blob 'ip11'. Did you mean ip1?"),
        (["zzz", "a", "2", "lmdb"], 1, "the net has no blob 'zzz'. It has data, label, "),
        (["ip1", "a", "2", "lmdb", "GPU", "99"], 1, "GPU"),
    ],
)
def test_errors(caffe, folder, expected, words, status, message):
    before = sorted(folder.iterdir())
    result = caffe("extract-features", "weights.caffemodel", "net.prototxt", *words)
    assert result.returncode == status
    assert message in result.stderr.splitlines()[-1]
    assert sorted(folder.iterdir()) == before


def test_a_run_that_fails_leaves_nothing(caffe, folder, expected):
    net = (folder / "net.prototxt").read_text()
    (folder / "five.prototxt").write_text(
        net + 'layer { name: "r" type: "Reshape" bottom: "ip1" top: "five" '
        "reshape_param { shape { dim: 10 dim: 1 dim: 1 dim: 6 dim: 1 } } }"
    )
    before = sorted(folder.iterdir())
    result = caffe("extract-features", "weights.caffemodel", "five.prototxt", "ip1,five", "a,b", "2", "lmdb")
    assert result.returncode == 1
    assert "the blob 'five' has 5 axes, a database takes at most (N, C, H, W). Add a Reshape" in result.stderr
    assert sorted(folder.iterdir()) == before
