"""Tests for every layer that reads batches: the same seed gives the same run, runs resume, and threads end."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from caffe_lite import TRAIN, Net
from caffe_lite.blobs.unknown import Undetermined, UnknownSize
from caffe_lite.errors import DataError, LayerError
from caffe_lite.layers.common.batch_layer import BatchLayer
from tests.data.annotated_files import random_annotated_lmdb
from tests.data.database_files import image_lmdb, random_images
from tests.data.hdf5_files import hdf5_list
from tests.data.image_files import image_list, pair_list
from tests.data.window_files import random_windows

MakeNet = Callable[..., Net]
RANDOM = "transform_param { crop_size: 4 mirror: true scale: 0.5 }"


def data(folder: Path, count: int) -> str:
    source = image_lmdb(folder / "lmdb", random_images(count))
    return f'type: "Data" {RANDOM} data_param {{ source: "{source.as_posix()}" backend: LMDB batch_size: 3 }}'


def image_data(folder: Path, count: int) -> str:
    source = image_list(folder / "images", random_images(count))
    return f'type: "ImageData" {RANDOM} image_data_param {{ source: "{source.as_posix()}" batch_size: 3 }}'


def shuffled(folder: Path, count: int) -> str:
    return image_data(folder, count).replace("batch_size: 3", "batch_size: 3 shuffle: true rand_skip: 2")


def hdf5_data(folder: Path, count: int) -> str:
    source = hdf5_list(folder, [count - 1, 1])
    return f'type: "HDF5Data" hdf5_data_param {{ source: "{source.as_posix()}" batch_size: 3 }}'


def hdf5_shuffled(folder: Path, count: int) -> str:
    return hdf5_data(folder, count).replace("batch_size: 3", "batch_size: 3 shuffle: true")


def window_data(folder: Path, count: int) -> str:
    source = random_windows(folder / "windows", count)
    return (
        'type: "WindowData" transform_param { crop_size: 6 mirror: true } '
        f'window_data_param {{ source: "{source.as_posix()}" batch_size: 3 context_pad: 1 fg_fraction: 0.5 }}'
    )


def annotated_data(folder: Path, count: int) -> str:
    source = random_annotated_lmdb(folder / "lmdb", count)
    return (
        'type: "AnnotatedData" transform_param { mirror: true expand_param { max_expand_ratio: 2 } '
        "resize_param { height: 9 width: 8 interp_mode: LINEAR interp_mode: AREA } "
        "noise_param { saltpepper: true saltpepper_param { fraction: 0.1 value: 9 } } "
        "distort_param { hue_prob: 0.5 hue_delta: 9 contrast_prob: 0.5 contrast_lower: 0.5 contrast_upper: 2 } } "
        "annotated_data_param { batch_sampler { sampler { min_scale: 0.3 } max_trials: 5 } } "
        f'data_param {{ source: "{source.as_posix()}" backend: LMDB batch_size: 3 }}'
    )


def _pairs(folder: Path, count: int) -> str:
    """Write a list with so many lines, whose pairs are those of five."""
    source = pair_list(folder / "pairs", random_images(5), random_images(5, (1, 6, 7))[:, 0])
    lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
    source.write_text("".join(lines[i % 5] for i in range(count)), encoding="utf-8")
    return source.as_posix()


def dense_image_data(folder: Path, count: int) -> str:
    return (
        f'type: "DenseImageData" dense_image_data_param {{ source: "{_pairs(folder, count)}" batch_size: 3 '
        "shuffle: true rand_skip: 2 mirror: true crop_height: 4 crop_width: 5 }"
    )


def image_seg_data(folder: Path, count: int) -> str:
    return (
        'type: "ImageSegData" transform_param { crop_size: 8 mirror: true scale_factors: 0.5 scale_factors: 2 } '
        f'image_data_param {{ source: "{_pairs(folder, count)}" batch_size: 3 label_type: PIXEL }}'
    )


def seg_data(folder: Path, count: int) -> str:
    return (
        'type: "SegData" transform_param { stride: 2 mirror: true scale_ratios: 0.5 scale_ratios: 2 } '
        f'seg_data_param {{ source: "{_pairs(folder, count)}" balance: true }}'
    )


SOURCES = [data, annotated_data, image_data, shuffled, hdf5_data, hdf5_shuffled, window_data]
SOURCES += [dense_image_data, image_seg_data, seg_data]


@pytest.fixture(params=SOURCES, ids=lambda source: source.__name__)
def make_source(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[int], str]:
    """Return ``make_source(count)``, which makes a layer that reads so many images from its own files."""

    def make(count: int) -> str:
        folder = tmp_path / f"of_{count}"
        folder.mkdir(exist_ok=True)
        return f'layer {{ name: "source" top: "data" top: "label" {request.param(folder, count)} }}'

    return make


@pytest.fixture
def text(make_source: Callable[[int], str]) -> str:
    return make_source(10)


def batch(net: Net) -> list[np.ndarray]:
    net.forward()
    return [np.copy(net.blobs[name].data) for name in ("data", "label")]


def assert_equal(one: list[list[np.ndarray]], other: list[list[np.ndarray]]) -> None:
    for arrays, others in zip(one, other, strict=True):
        for array, again in zip(arrays, others, strict=True):
            np.testing.assert_array_equal(array, again)


def threads() -> int:
    return sum(thread.name == "caffe_lite prefetch" for thread in threading.enumerate())


def test_one_seed_gives_one_run(make_net: MakeNet, text: str) -> None:
    runs = [[batch(net) for _ in range(8)] for net in (make_net(text, seed=seed) for seed in (5, 5, 6))]
    assert_equal(runs[0], runs[1])
    differs = not all(np.array_equal(one, other) for one, other in zip(runs[0][0], runs[2][0], strict=True))
    assert differs == ("mirror" in text or "shuffle" in text)


@pytest.mark.parametrize("stop_after", [0, 1, 3, 7, 20])
def test_a_run_resumed_sees_the_batches_it_would_have_seen(make_net: MakeNet, text: str, stop_after: int) -> None:
    net = make_net(text, seed=5)
    for _ in range(stop_after):
        net.forward()
    state = json.loads(json.dumps(net.state()))
    expected = [batch(net) for _ in range(9)]
    for ahead in (0, 2):  # a fresh net, and one that has run and read ahead
        resumed = make_net(text, seed=99)
        for _ in range(ahead):
            resumed.forward()
        resumed.restore_state(state)
        assert json.loads(json.dumps(resumed.state())) == state
        assert_equal([batch(resumed) for _ in range(9)], expected)


def test_the_state_stays_small(make_net: MakeNet, make_source: Callable[[int], str]) -> None:
    net = make_net(make_source(300))
    net.forward()
    assert len(json.dumps(net.state())) < 1500


def test_resuming_with_another_source_is_refused(make_net: MakeNet, make_source: Callable[[int], str]) -> None:
    net = make_net(make_source(10))
    net.forward()
    with pytest.raises(DataError) as caught:
        make_net(make_source(2)).restore_state(net.state())
    assert 'layer "source" (' in str(caught.value)


@pytest.mark.parametrize("state", [{}, {"rng": {}}, {"order": {}, "rng": 3}, {"next_key": "x"}, [], None])
def test_a_state_of_another_kind_is_refused(make_net: MakeNet, text: str, state: object) -> None:
    net = make_net(text)
    with pytest.raises(LayerError, match="the snapshot holds the place in a source of another kind"):
        net.nodes[0].layer.restore_state(state)


def test_it_reads_ahead_and_close_ends_the_thread(make_net: MakeNet, text: str) -> None:
    net = make_net(text)
    assert threads() == 0
    net.forward()
    assert threads() == 1
    net.close()
    assert threads() == 0
    net.close()


def test_prefetch_of_0_is_refused(make_net: MakeNet, text: str) -> None:
    text = (
        text.replace(" data_param {", " data_param { prefetch: 0")
        if " data_param {" in text
        else text[:-1] + ("data_param { prefetch: 0 } }")
    )
    with pytest.raises(LayerError, match="prefetch is 0"):
        make_net(text)


def test_tops_are_in_the_dtype_of_the_net(make_net: MakeNet, text: str) -> None:
    assert all(array.dtype == np.float64 for array in batch(make_net(text, dtype="float64")))


def test_what_is_foreseen_of_the_shapes_comes_true(make_net: MakeNet, text: str, tmp_path: Path) -> None:
    """The outline does not look at the source; for HDF5Data it knows nothing."""
    net = make_net(text)
    param = net.nodes[0].layer.param
    assert isinstance(net.nodes[0].layer, BatchLayer)
    shutil.rmtree(tmp_path / "of_10")
    layer = type(net.nodes[0].layer)(param, net.ops, TRAIN, net.rng, None)
    if param.type == "HDF5Data":
        with pytest.raises(Undetermined):
            layer.foresee()
        return
    for shape, blob in zip(layer.foresee()[:2], net.blobs.values(), strict=True):  # a third top is optional
        assert [n for n in shape if not isinstance(n, UnknownSize)]
        assert all(isinstance(n, UnknownSize) or n == m for n, m in zip(shape, blob.shape, strict=True))
