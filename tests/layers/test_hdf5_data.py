"""The HDF5Data layer: the original's batches, any shapes and types, shuffling, and faulty files."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caffe_lite import TEST, Net
from caffe_lite.errors import CaffeError, DataError, LayerError
from tests.data.hdf5_files import hdf5_list, write_hdf5

h5py = pytest.importorskip("h5py")

GOLDEN = Path(__file__).parents[1] / "golden" / "data"
MakeNet = Callable[..., Net]


def hdf5_layer(source: Path, batch_size: int = 4, more: str = "", tops: str = 'top: "data" top: "label"') -> str:
    return (
        f'layer {{ name: "rows" type: "HDF5Data" {tops} '
        f'hdf5_data_param {{ source: "{source.as_posix()}" batch_size: {batch_size} {more} }} }}'
    )


def batch(net: Net) -> tuple[np.ndarray, np.ndarray]:
    net.forward()
    return np.copy(net.blobs["data"].data), np.copy(net.blobs["label"].data)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Write files of 4, 1 and 5 rows, with labels 0 to 9."""
    return hdf5_list(tmp_path, [4, 1, 5])


@pytest.mark.parametrize("inside", [True, False])
def test_batches_are_those_of_the_original(
    inside: bool, engine: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They are the same from the folder of the prototxt and from any other."""
    monkeypatch.chdir(GOLDEN if inside else tmp_path)
    net = Net(GOLDEN / "hdf5.prototxt", TEST, engine=engine)
    with np.load(GOLDEN / "hdf5.npz") as recorded:
        for step in range(4):
            data, labels = batch(net)
            assert (data == recorded[f"step{step}/data"]).all()
            assert (labels == recorded[f"step{step}/label"]).all()
    net.close()


@pytest.mark.parametrize("batch_size", [1, 3, 10, 23])
@pytest.mark.parametrize("rows", [[10], [4, 1, 5]])
def test_many_epochs_go_around_without_a_gap(
    make_net: MakeNet, tmp_path: Path, rows: list[int], batch_size: int
) -> None:
    net = make_net(hdf5_layer(hdf5_list(tmp_path, rows), batch_size))
    for step in range(20):
        data, labels = batch(net)
        expected = (np.arange(batch_size) + step * batch_size) % 10
        assert (labels == expected).all()
        assert (data == expected[:, None, None] + np.zeros((2, 3))).all()


@pytest.mark.parametrize("rows", [[10], [4, 1, 5]])
def test_a_shuffled_epoch_has_each_row_once(make_net: MakeNet, tmp_path: Path, rows: list[int]) -> None:
    net = make_net(hdf5_layer(hdf5_list(tmp_path, rows), 5, "shuffle: true"), seed=1)
    epochs = []
    for _ in range(6):
        parts = [batch(net), batch(net)]
        labels = np.concatenate([labels for _, labels in parts])
        assert (np.concatenate([data for data, _ in parts])[:, 1, 2] == labels).all()
        assert sorted(labels) == list(range(10))
        epochs.append(tuple(labels))
    assert len(set(epochs)) == 6
    file_of = np.repeat(np.arange(len(rows)), rows)
    for epoch in epochs:  # the rows of a file stay together
        changes = np.diff(file_of[list(map(int, epoch))]) != 0
        assert changes.sum() == len(rows) - 1


def test_tops_of_any_number_and_shape_and_type(make_net: MakeNet, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "float64": rng.normal(size=(6, 2, 1, 3, 2, 2)),
        "float16": rng.normal(size=(6, 3)).astype(np.float16),
        "uint8": rng.integers(0, 256, (6, 4), np.uint8),
        "int64": rng.integers(-(2**62), 2**62, (6,)),
        "big": rng.normal(size=6).astype(">f4"),
        "huge": np.full(6, 1e300),
        "inner/most": np.arange(6, dtype=np.int16),
    }
    write_hdf5(tmp_path / "a.h5", **arrays)
    (tmp_path / "list.txt").write_text((tmp_path / "a.h5").as_posix(), encoding="utf-8")
    net = make_net(hdf5_layer(tmp_path / "list.txt", 6, tops=" ".join(f'top: "{name}"' for name in arrays)))
    net.forward()
    with np.errstate(over="ignore"):
        for name, array in arrays.items():
            assert net.blobs[name].shape == array.shape
            np.testing.assert_array_equal(net.blobs[name].data, array.astype(np.float32), err_msg=name)


def test_several_files_on_one_line(make_net: MakeNet, source: Path) -> None:
    source.write_text(source.read_text(encoding="utf-8").replace("\n", " "), encoding="utf-8")
    assert (batch(make_net(hdf5_layer(source, 10)))[1] == range(10)).all()


def test_what_is_written_into_a_top_stays_there(make_net: MakeNet, tmp_path: Path) -> None:
    net = make_net(hdf5_layer(hdf5_list(tmp_path, [4]), 4))
    for _ in range(7):
        assert (batch(net)[1] == range(4)).all()
        net.blobs["label"].data[...] = 99


def test_the_log_says_how_many_files_there_are(
    make_net: MakeNet, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "caffe_lite")
    make_net(hdf5_layer(source))
    assert f"Loading list of HDF5 filenames from: {source.as_posix()}" in caplog.messages
    assert "Number of HDF5 files: 3" in caplog.messages


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (("batch_size: 4", ""), LayerError, "batch_size is 0. Give hdf5_data_param a batch_size"),
        (("source: ", "source: '' #"), LayerError, "there is no source"),
        (("list.txt", "lost.txt"), DataError, "there is no file"),
        (("hdf5_data", "transform_param { } hdf5_data"), LayerError, "HDF5Data transforms nothing. Remove"),
        (('top: "label"', 'top: "labels"'), DataError, "it has no dataset 'labels'; it holds data, label. Each top"),
        (('top: "label"', 'top: "/"'), DataError, "it has no dataset '/'; it holds data, label"),
    ],
)
def test_errors_name_the_layer(
    make_net: MakeNet, source: Path, change: tuple[str, str], kind: type[CaffeError], message: str
) -> None:
    text = hdf5_layer(source).replace("batch_size", "\nbatch_size")
    assert change[0] in text
    with pytest.raises(kind) as caught:
        make_net(text.replace(*change))
    assert 'layer "rows" (HDF5Data): ' in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"data": np.ones((3, 2)), "label": np.ones(2)}, "dataset 'label' has 2 rows, 'data' has 3. Each row"),
        ({"data": np.ones((0, 2)), "label": np.ones(0)}, "its datasets have no rows. Take it out of the list"),
        (
            {"data": np.ones((3, 2)), "label": np.float32(3)},
            "dataset 'label' is of type float32 and shape (), not rows",
        ),
        ({"data": np.ones((3, 2)), "label": np.array([b"a"] * 3)}, "dataset 'label' is of type |S1 and shape (3,)"),
        ({"data": np.ones((3, 2)), "label": np.ones(3, bool)}, "dataset 'label' is of type bool and shape (3,)"),
        ({"data": np.ones((3, 2)), "label/x": np.ones(3)}, "it has no dataset 'label'; it holds data, label"),
    ],
)
def test_datasets_that_do_not_fit(make_net: MakeNet, tmp_path: Path, arrays: dict, message: str) -> None:
    write_hdf5(tmp_path / "a.h5", **arrays)
    (tmp_path / "list.txt").write_text((tmp_path / "a.h5").as_posix(), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        make_net(hdf5_layer(tmp_path / "list.txt"))
    place = f'{(tmp_path / "a.h5").as_posix()}, layer "rows" (HDF5Data): '
    assert str(caught.value).startswith(place + message)


def test_data_in_other_files_or_larger_than_their_own(make_net: MakeNet, source: Path) -> None:
    folder = source.parent
    (folder / "part0.h5").rename(folder / "whole.h5")
    with h5py.File(folder / "part0.h5", "w") as file:
        file["data"] = h5py.ExternalLink("whole.h5", "data")
        file["label"] = h5py.ExternalLink("whole.h5", "label")
    with pytest.raises(DataError, match=r"part0\.h5.*: /data is a link to another file"):
        make_net(hdf5_layer(source))
    with h5py.File(folder / "part0.h5", "w") as file:
        file.create_dataset("data", (2**40, 2, 3), "f4", chunks=(2**10, 2, 3), compression="gzip")
        file["label"] = np.zeros(4)
    with pytest.raises(DataError, match=r"/data of the shape \(1099511627776, 2, 3\) is larger than the file"):
        make_net(hdf5_layer(source))


def test_rows_of_another_shape_in_a_later_file(make_net: MakeNet, source: Path) -> None:
    (source.parent / "part2.h5").unlink()
    write_hdf5(source.parent / "part2.h5", data=np.ones((5, 3, 2)), label=np.ones(5))
    net = make_net(hdf5_layer(source, 2))
    net.forward()
    net.forward()
    with pytest.raises(DataError) as caught:
        net.forward()
    assert "part2.h5, layer \"rows\" (HDF5Data): a row of 'data' is 3 x 2" in str(caught.value)
    assert "in the files before 2 x 3. All files of a list need rows of one shape" in str(caught.value)


def test_lists_that_are_not_as_they_should_be(make_net: MakeNet, source: Path) -> None:
    text = hdf5_layer(source)
    files = source.read_text(encoding="utf-8")
    for content, message in [
        ("", 'list.txt, layer "rows" (HDF5Data): the list of HDF5 files is empty'),
        (f"{files}\nno.h5\n", "list.txt:5:1, layer \"rows\" (HDF5Data): there is no HDF5 file 'no.h5': looked for "),
        (f"{source.parent.as_posix()}\n", 'list.txt:1:1, layer "rows" (HDF5Data): the HDF5 file '),
        ("a\0b", "list.txt:1:1, "),
        (f"{source.as_posix()}\n", 'list.txt, layer "rows" (HDF5Data): the HDF5 file is damaged or cut short'),
    ]:
        source.write_text(content, encoding="utf-8")
        with pytest.raises(DataError) as caught:
            make_net(text)
        assert message in str(caught.value)


def test_a_file_where_its_list_should_be(make_net: MakeNet, source: Path) -> None:
    with pytest.raises(DataError) as caught:
        make_net(hdf5_layer(source.parent / "part0.h5"))
    assert (
        'part0.h5, layer "rows" (HDF5Data): this is an HDF5 file, not a list of them. List it in a text file.'
        in str(caught.value)
    )


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_ends_in_an_error_or_in_a_batch(data: st.DataObject, tmp_path: Path, make_net: MakeNet) -> None:
    """Bytes are changed or cut off, in the list or in a file."""
    for kind in ("contiguous", "chunked"):
        path = tmp_path / f"{kind}.h5"
        with h5py.File(path, "w") as file:
            for name, shape in (("data", (6, 2, 3)), ("label", (6,))):
                options = {"chunks": True, "compression": "gzip"} if kind == "chunked" else {}
                file.create_dataset(name, data=np.zeros(shape, np.float32), **options)
    victim = tmp_path / "victim.h5"
    shutil.copy(tmp_path / f"{data.draw(st.sampled_from(['contiguous', 'chunked']))}.h5", victim)
    source = tmp_path / "list.txt"
    source.write_text(victim.as_posix(), encoding="utf-8")
    target = data.draw(st.sampled_from([victim, victim, victim, source]))
    content = bytearray(target.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[at] = data.draw(st.integers(0, 255))
    else:
        del content[at:]
    target.write_bytes(content)
    try:
        values, labels = batch(make_net(hdf5_layer(source)))
    except CaffeError:
        return
    assert len(values) == len(labels) == 4
