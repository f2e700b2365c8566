"""Training from each kind of source, resumed as if it had never stopped, and writing results to HDF5."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.data.database_files import random_images
from tests.data.hdf5_files import write_hdf5
from tests.data.image_files import image_list
from tests.data.window_files import random_windows

h5py = pytest.importorskip("h5py")

LAYERS = {
    "ImageData": """
        transform_param { scale: 0.01 mirror: true crop_size: 5 }
        image_data_param { source: "images/list.txt" root_folder: "images/" batch_size: 4 shuffle: true rand_skip: 5 }
    """,
    "HDF5Data": 'hdf5_data_param { source: "list.txt" batch_size: 5 shuffle: true }',
    "WindowData": """
        transform_param { mirror: true crop_size: 6 mean_value: 100 }
        window_data_param { source: "windows/windows.txt" batch_size: 4 context_pad: 1 scale: 0.01 fg_fraction: 0.5 }
    """,
}
NET = """
layer {{ name: "source" type: "{type}" top: "data" top: "label" {parameters} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param {{ num_output: 12 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "drop" type: "Dropout" bottom: "ip" top: "drop" }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "drop" bottom: "label" top: "loss" }}
"""
SOLVER = """
net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" momentum: 0.9 max_iter: 14 snapshot: 7 snapshot_prefix: "run"
random_seed: 3 solver_mode: CPU
"""


@pytest.fixture
def sources(folder: Path) -> Path:
    """Add images, HDF5 files and windows to the folder of the net; all paths in the lists are relative to it."""
    source = image_list(folder / "images", random_images(11))
    source.write_text("".join(f"im{i}.png {i}\n" for i in range(11)), encoding="utf-8")
    rng = np.random.default_rng(0)
    for name, rows in (("a.h5", 7), ("b.h5", 6)):
        write_hdf5(folder / name, data=rng.normal(size=(rows, 3, 2)), label=rng.integers(0, 12, rows))
    (folder / "list.txt").write_text("a.h5\nb.h5\n", encoding="utf-8")
    windows = random_windows(folder / "windows", 5)
    windows.write_text(windows.read_text(encoding="utf-8").replace(f"{folder.as_posix()}/", ""), encoding="utf-8")
    (folder / "solver.prototxt").write_text(SOLVER, encoding="utf-8")
    return folder


@pytest.mark.parametrize(("kind", "engine"), [*((kind, "numpy") for kind in LAYERS), ("ImageData", "torch")])
def test_resuming_is_as_if_never_stopped(caffe: Callable, sources: Path, kind: str, engine: str) -> None:
    (sources / "net.prototxt").write_text(NET.format(type=kind, parameters=LAYERS[kind]), encoding="utf-8")
    if engine == "torch":
        pytest.importorskip("torch")
    whole = caffe("train", "solver.prototxt", "--engine", engine)
    assert whole.returncode == 0, whole.stderr
    last = [sources / "run_iter_14.caffemodel", sources / "run_iter_14.solverstate"]
    expected = [file.read_bytes() for file in last]
    for file in last:
        file.unlink()
    resumed = caffe("train", "solver.prototxt", "--engine", engine, "--snapshot", "run_iter_7.solverstate")
    assert resumed.returncode == 0, resumed.stderr
    assert [file.read_bytes() for file in last] == expected


def test_memory_data_says_what_it_needs(caffe: Callable, sources: Path) -> None:
    parameters = "memory_data_param { batch_size: 4 channels: 1 height: 2 width: 3 }"
    (sources / "net.prototxt").write_text(NET.format(type="MemoryData", parameters=parameters), encoding="utf-8")
    result = caffe("train", "solver.prototxt")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        'caffe-lite: net.prototxt:2:1, layer "source" (MemoryData): it has no data yet. '
        "In a script, call net.set_input_arrays(data, labels) before the first pass."
    )


def test_results_of_many_batches_in_hdf5(caffe: Callable, sources: Path) -> None:
    """`caffe-lite test` with HDF5Output collects a net's results for all its data."""
    text = NET.format(type="HDF5Data", parameters='hdf5_data_param { source: "list.txt" batch_size: 13 }')
    output = """
    layer { name: "out" type: "HDF5Output" bottom: "drop" bottom: "label" hdf5_output_param { file_name: "out.h5" } }
    """
    (sources / "net.prototxt").write_text(text + output, encoding="utf-8")
    trained = caffe("train", "solver.prototxt", "--max-iter", "1", "--set", "snapshot=0")
    assert trained.returncode == 0, trained.stderr
    result = caffe("test", "--model", "net.prototxt", "--weights", "run_iter_1.caffemodel", "--iterations", "3")
    assert result.returncode == 0, result.stderr
    with h5py.File(sources / "out.h5", "r") as file:
        assert file["data"].shape == (39, 12, 1, 1)
        labels = file["label"][()].reshape(3, 13)
    with h5py.File(sources / "a.h5", "r") as a, h5py.File(sources / "b.h5", "r") as b:
        assert (labels == [*a["label"], *b["label"]]).all()
