"""Commands in several processes: they print and write what one process does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from caffe_lite import TEST, Net
from caffe_lite.data.databases.opening import open_database
from caffe_lite.proto.caffe_pb2 import DataParameter
from tests.cli.conftest import NET, command, environment, write_lmdb
from tests.cli.test_classify import DEPLOY
from tests.cli.test_detect import SSD
from tests.cli.test_segment import NET as SEGMENTER

pytest.importorskip("torch")

Caffe = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every process have as many threads, because their number may decide how sums are rounded."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def weights(folder: Path) -> str:
    """Write 47 images, so that batches go over the end, and weights without those of ip2, which are drawn anew."""
    write_lmdb(folder / "test_47", [index % 3 for index in range(47)])
    (folder / "net.prototxt").write_text(NET.replace("test_lmdb", "test_47"))
    save(folder / "net.prototxt", folder / "weights.caffemodel")
    return "weights.caffemodel"


def save(net: Path, weights: Path) -> None:
    made = Net(net, TEST, engine="numpy", seed=1)
    made.save(weights)
    made.close()


def scored(stderr: str) -> list[str]:
    """Return the lines about batches and means; other threads log when they begin to read from the start again."""
    lines = [line.partition("] ")[2] for line in stderr.splitlines() if re.match(r"[IWEF]\d{4} ", line)]
    at = next(i for i, line in enumerate(lines) if line.startswith("Running for"))
    return [line for line in lines[at:] if not line.startswith("Restarting data prefetching")]


def check_alike(caffe: Caffe, *words: str, workers: int = 3) -> str:
    """Run a command in one process and in several; return the standard output, which must be the same."""
    one, several = caffe(*words), caffe(*words, "--workers", str(workers))
    assert one.returncode == 0, one.stderr
    assert several.returncode == 0, several.stderr
    assert several.stdout == one.stdout
    assert one.stdout
    return one.stdout


@pytest.mark.slow
def test_scores(caffe: Caffe, weights: str) -> None:
    words = ("test", "--model", "net.prototxt", "--weights", weights, "--iterations", "7")
    one, several = caffe(*words), caffe(*words, "--workers", "3")
    assert several.returncode == 0, several.stderr
    lines = scored(one.stderr)
    assert scored(several.stderr) == lines
    assert len(lines) == 1 + 2 * 7 + 3


@pytest.mark.slow
def test_features(caffe: Caffe, folder: Path, weights: str) -> None:
    def records(suffix: str) -> list[list[tuple[bytes, bytes]]]:
        found = []
        for name in ("data", "ip2"):
            database = open_database(str(folder / f"{name}_{suffix}"), DataParameter.LMDB)
            found.append(list(database.records()))
            database.close()
        return found

    for suffix, more in (("one", ()), ("three", ("--workers", "3"))):
        words = (weights, "net.prototxt", "data,ip2", f"data_{suffix},ip2_{suffix}", "5", "lmdb", *more)
        result = caffe("extract-features", *words)
        assert result.returncode == 0, result.stderr
        assert result.stderr.count("Extracted features of 50 query images") == 2
    assert records("three") == records("one")
    assert len(records("one")[0]) == 50


@pytest.mark.slow
def test_the_order_and_the_parameters_are_those_of_the_first(caffe: Caffe, folder: Path) -> None:
    """A shuffled list is read as a whole, and every batch goes through the same weights, drawn because no file has any.

    The images are all equal but for their label, which is a feature, too.
    """
    cv2 = pytest.importorskip("cv2")
    cv2.imwrite(str(folder / "grey.png"), np.full((4, 4, 3), 100, np.uint8))
    (folder / "list.txt").write_text("".join(f"grey.png {label}\n" for label in range(12)))
    (folder / "drawn.prototxt").write_text(
        """layer { name: "images" type: "ImageData" top: "data" top: "label"
                   image_data_param { source: "list.txt" batch_size: 2 shuffle: true } }
           layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
                   inner_product_param { num_output: 1 weight_filler { type: "xavier" } } }"""
    )
    (folder / "other.prototxt").write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 } } }'
    )
    save(folder / "other.prototxt", folder / "other.caffemodel")
    words = ("other.caffemodel", "drawn.prototxt", "label,ip", "labels,ips", "6", "lmdb", "--workers", "3")
    result = caffe("extract-features", *words)
    assert result.returncode == 0, result.stderr
    labels, drawn = (features(folder / name) for name in ("labels", "ips"))
    assert sorted(labels) == list(range(12))
    assert labels != sorted(labels)
    assert len(set(drawn)) == 1


def features(path: Path) -> list[float]:
    from caffe_lite.proto.caffe_pb2 import Datum

    database = open_database(str(path), DataParameter.LMDB)
    found = [Datum.FromString(value).float_data[0] for _, value in database.records()]
    database.close()
    return found


JUDGE = """
layer {{
  name: "found" type: "HDF5Data" top: "found" top: "true" hdf5_data_param {{ source: "rows.txt" batch_size: 1 }}
}}
layer {{
  name: "map" type: "DetectionEvaluate" bottom: "found" bottom: "true" top: "map"
  detection_evaluate_param {{ num_classes: 3 {more} }}
}}
"""


@pytest.mark.slow
def test_average_precisions(caffe: Caffe, folder: Path) -> None:
    """The rows of each batch are of two images, whose sizes come from a list of five."""
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(0)
    found, true = rng.random((5, 1, 30, 7)).astype("f"), rng.random((5, 1, 20, 8)).astype("f")
    for rows in (found, true):
        rows[..., 0] = np.arange(rows.shape[2]) % 2
        rows[..., 1] = rng.integers(1, 3, rows.shape[:3])
        rows[..., 3:7] = np.concatenate([rows[..., 3:5] / 2, 0.5 + rows[..., 5:7] / 2], -1)
    true[..., 7] = 0
    with h5py.File(folder / "rows.h5", "w") as file:
        file["found"], file["true"] = found, true
    (folder / "rows.txt").write_text("rows.h5\n")
    (folder / "sizes.txt").write_text("".join(f"image{i} {2 + 3 * i} {20 - 3 * i}\n" for i in range(5)))
    (folder / "judge.prototxt").write_text(JUDGE.format(more='name_size_file: "sizes.txt" overlap_threshold: 0.6'))
    save(folder / "judge.prototxt", folder / "judge.caffemodel")
    words = ("test", "--model", "judge.prototxt", "--weights", "judge.caffemodel", "--iterations", "7")
    one, several = caffe(*words), caffe(*words, "--workers", "3")
    assert several.returncode == 0, several.stderr
    assert scored(several.stderr) == scored(one.stderr)
    assert len(scored(one.stderr)) == 5


# -- images ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(folder: Path) -> list[str]:
    """Write seven pictures and a video of three frames."""
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(0)
    (folder / "pictures").mkdir()
    for index in range(7):
        image = cv2.resize(rng.integers(0, 255, (4, 4, 3), np.uint8), (32, 32), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(folder / "pictures" / f"{index}.png"), image)
    video = cv2.VideoWriter(str(folder / "pictures" / "3b.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 5, (32, 32))
    for index in range(3):
        video.write(np.full((32, 32, 3), 80 * index, np.uint8))
    video.release()
    return ["pictures"]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.slow
def test_objects(caffe: Caffe, folder: Path, pictures: list[str]) -> None:
    (folder / "ssd.prototxt").write_text(SSD.format(transform=""))
    net = Net(folder / "ssd.prototxt", TEST, engine="numpy")
    net.params["conf"][0].data[...] = np.array([(0, 0, 0), (1, 0, 0), (0, 0, 1)])[:, :, None, None] / 20
    net.params["conf"][1].data[...] = [0, -7.5, -7.5]
    net.save(folder / "ssd.caffemodel")
    words = ("detect", "ssd.prototxt", "ssd.caffemodel", *pictures, "--out")
    one, several = caffe(*words, "one"), caffe(*words, "three", "--workers", "3")
    assert several.returncode == 0, several.stderr
    assert several.stdout == one.stdout
    assert "pictures/3b.mp4[2]: " in one.stdout
    assert files(folder / "three") == files(folder / "one")
    check_alike(caffe, *words[:4], "--json", workers=2)

    # A file that is no image is reported after what is in the images before it.
    (folder / "pictures" / "4.png").write_text("no image")
    one, several = caffe(*words[:4]), caffe(*words[:4], "--workers", "3")
    assert (several.returncode, one.returncode) == (1, 1)
    assert several.stdout == one.stdout
    assert "3b.mp4[2]" in one.stdout
    assert several.stderr.splitlines()[-1] == one.stderr.splitlines()[-1]


@pytest.mark.slow
def test_classes_of_pixels(caffe: Caffe, folder: Path, pictures: list[str]) -> None:
    (folder / "seg.prototxt").write_text(SEGMENTER.format(transform=""))
    save(folder / "seg.prototxt", folder / "seg.caffemodel")
    words = ("segment", "seg.prototxt", "seg.caffemodel", *pictures)
    one = caffe(*words, "--out", "maps_one", "--overlay", "over_one")
    several = caffe(*words, "--out", "maps_three", "--overlay", "over_three", "--workers", "3")
    assert several.returncode == 0, several.stderr
    assert several.stdout == one.stdout
    assert len(one.stdout.splitlines()) == 10
    assert files(folder / "maps_three") == files(folder / "maps_one")
    assert files(folder / "over_three") == files(folder / "over_one")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there are no /dev/full and no pipe that breaks")
def test_output_that_takes_no_more(folder: Path, pictures: list[str]) -> None:
    (folder / "seg.prototxt").write_text(SEGMENTER.format(transform=""))
    save(folder / "seg.prototxt", folder / "seg.caffemodel")
    words = command("segment", "seg.prototxt", "seg.caffemodel", *pictures, "--workers", "2")
    for full in (True, False):
        reader, writer = os.pipe()
        os.close(reader)
        with open("/dev/full", "wb") if full else os.fdopen(writer, "wb") as out:
            done = subprocess.run(
                words, cwd=folder, env=environment(), stdout=out, stderr=subprocess.PIPE, text=True, timeout=120
            )
        if full:
            os.close(writer)
        assert done.returncode == 1
        said = [line for line in done.stderr.splitlines() if "caffe-lite: " in line or "Error" in line]
        assert said == ["caffe-lite: cannot write to standard output: No space left on device."] * full


@pytest.mark.slow
def test_labels_of_images(caffe: Caffe, folder: Path) -> None:
    """Images are in the batches in which one process has them, so that the probabilities are equal bit by bit."""
    deploy = DEPLOY.format(channels=3).replace("dim: 2", "dim: 4")
    (folder / "deploy.prototxt").write_text(
        deploy.replace("num_output: 3", 'num_output: 3 weight_filler { type: "xavier" }')
    )
    save(folder / "deploy.prototxt", folder / "deploy.caffemodel")
    np.save(folder / "images.npy", np.random.default_rng(0).random((11, 9, 7, 3), np.float32))
    words = ("classify", "deploy.prototxt", "deploy.caffemodel", "images.npy", "--images-dim", "6,6", "--output")
    one, several = caffe(*words, "one.npy"), caffe(*words, "two.npy", "--workers", "2")
    assert several.returncode == 0, several.stderr
    assert several.stdout == one.stdout
    assert (folder / "one.npy").read_bytes() == (folder / "two.npy").read_bytes()
    assert len(np.load(folder / "one.npy")) == 11


# -- what cannot be divided --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_net_that_goes_on_from_batch_to_batch(caffe: Caffe, folder: Path, weights: str) -> None:
    """An LSTM whose sequences go on over batches is refused; one whose sequences begin with a batch is not."""
    net = """
        layer { name: "x" type: "DummyData" top: "x" top: "cont"
                dummy_data_param { shape { dim: 2 dim: 1 dim: 3 } shape { dim: 2 dim: 1 }
                                   data_filler { value: 1 } data_filler { value: %d } } }
        layer { name: "lstm" type: "LSTM" bottom: "x" bottom: "cont" top: "h"
                recurrent_param { num_output: 2 weight_filler { type: "xavier" } } }"""
    for cont in (0, 1):
        (folder / "lstm.prototxt").write_text(net % cont)
        words = ("test", "--model", "lstm.prototxt", "--weights", weights, "--iterations", "3", "--workers", "2")
        result = caffe(*words)
        assert result.returncode == cont, result.stderr
        if cont:
            last = result.stderr.splitlines()[-1]
            assert last.startswith('caffe-lite: lstm.prototxt:5:9, layer "lstm" (LSTM): what it computes depends'), last
            assert "without --workers" in last
            assert "Batch 0, h = " in result.stderr


@pytest.mark.slow
def test_a_layer_that_writes_a_file(caffe: Caffe, folder: Path, weights: str) -> None:
    pytest.importorskip("h5py")
    output = (
        'layer { name: "o" type: "HDF5Output" bottom: "data" bottom: "label" hdf5_output_param { file_name: "o.h5" } }'
    )
    (folder / "net.prototxt").write_text(NET + output)
    result = caffe("test", "--model", "net.prototxt", "--weights", weights, "--iterations", "3", "--workers", "2")
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert 'layer "o" (HDF5Output): it writes all batches into one file, and 2 workers have a part' in last
    assert not last.startswith("caffe-lite: worker")
    assert not (folder / "o.h5").exists()
