from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from caffe_lite.cli.arguments import Parser, spelled_with_dashes
from caffe_lite.cli.convert_imageset import add_arguments
from caffe_lite.data.databases.opening import open_database
from caffe_lite.proto.caffe_pb2 import DataParameter, Datum

from .conftest import command, environment

cv2 = pytest.importorskip("cv2")


@pytest.fixture
def images(folder: Path) -> np.ndarray:
    """Write twelve images of 5 x 4 pixels to ``pictures``, listed in ``list.txt`` with their numbers as labels."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 5, 4, 3), np.uint8)
    (folder / "pictures").mkdir()
    for i, image in enumerate(pixels):
        assert cv2.imwrite(str(folder / "pictures" / f"{i}.png"), image)
    (folder / "list.txt").write_text("".join(f"{i}.png {i}\n" for i in range(12)))
    return pixels


def records(path: Path, backend: int = DataParameter.LMDB) -> list[tuple[bytes, Datum]]:
    database = open_database(str(path), backend)
    try:
        return [(key, Datum.FromString(value)) for key, value in database.records()]
    finally:
        database.close()


def test_a_list_becomes_a_database(caffe, folder, images):
    result = caffe("convert-imageset", "pictures/", "list.txt", "out_lmdb")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "Wrote 12 images to out_lmdb\n"
    assert [line.split("] ")[1] for line in result.stderr.splitlines()] == [
        "A total of 12 images.",
        "Processed 12 files.",
    ]
    written = records(folder / "out_lmdb")
    assert [key for key, _ in written] == [f"{i:08d}_{i}.png".encode() for i in range(12)]
    assert [datum.label for _, datum in written] == list(range(12))
    for (_, datum), image in zip(written, images, strict=True):
        assert datum.data == image.transpose(2, 0, 1).tobytes()


def test_caffes_spelling_of_every_option(caffe, folder, images):
    """The options are spelled as in the scripts that come with Caffe."""
    options = (
        "--resize_height=8 -resize_width 6 --shuffle --gray=true -encoded=true --encode_type=jpg --backend=leveldb"
    )
    result = caffe("convert-imageset", *options.split(), "--check_size", "pictures/", "list.txt", "out_leveldb")
    assert result.returncode == 0, result.stderr
    written = records(folder / "out_leveldb", DataParameter.LEVELDB)
    assert sorted(datum.label for _, datum in written) == list(range(12))
    for _, datum in written:
        assert datum.encoded
        assert cv2.imdecode(np.frombuffer(datum.data, np.uint8), cv2.IMREAD_UNCHANGED).shape == (8, 6)


@pytest.mark.parametrize(
    ("words", "gray"),
    [
        ([], False),
        (["--gray"], True),
        (["-gray=1"], True),
        (["--gray=False"], False),
        (["--gray", "--nogray"], False),
        (["--gray=no", "--gray=yes"], True),
    ],
)
def test_switches(words, gray):
    parser = Parser("convert-imageset", None)
    add_arguments(parser)
    assert parser.parse(spelled_with_dashes([*words, "root", "list", "out"])).gray is gray


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--resize_width=9"], "--resize-width and --resize-height work together only: give both"),
        (["--backend=hdf5"], "invalid choice: 'hdf5'"),
        (["--gray=perhaps"], "ignored explicit argument 'perhaps'"),
        (["--resize_width=-1"], "'-1' is not a whole number of at least 0"),
        (["--encode_typ=png"], "Did you mean --encode-type?"),
    ],
)
def test_a_wrong_command_line(caffe, folder, images, words, message):
    result = caffe("convert-imageset", *words, "pictures/", "list.txt", "out")
    assert result.returncode == 2
    assert message in result.stderr
    assert not (folder / "out").exists()


def test_a_database_that_is_there_stays(caffe, folder, images):
    before = (folder / "train_lmdb" / "data.mdb").read_bytes()
    result = caffe("convert-imageset", "pictures/", "list.txt", "train_lmdb")
    assert result.returncode == 1
    assert result.stderr.startswith("caffe-lite: train_lmdb: it exists already")
    assert (folder / "train_lmdb" / "data.mdb").read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
@pytest.mark.parametrize("backend", ["lmdb", "leveldb"])
def test_ctrl_c_leaves_nothing(folder, images, backend):
    (folder / "list.txt").write_text("0.png 0\n" * 300_000)
    before = sorted(folder.iterdir())
    words = ["convert-imageset", "pictures/", "list.txt", "out", f"--backend={backend}"]
    with subprocess.Popen(command(*words), cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if "Processed 1000 files." in line:
                break
        assert len(list(folder.iterdir())) == len(before) + 1
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert sorted(folder.iterdir()) == before


@pytest.mark.skipif(sys.platform != "linux", reason="needs a pseudo-terminal as Linux has it")
def test_a_progress_bar_on_a_terminal(folder, images):
    import fcntl
    import pty
    import termios

    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))
    words = command("convert-imageset", "pictures/", "list.txt", "out")
    done = subprocess.run(words, cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=end, timeout=60)
    os.close(end)
    shown = b""
    try:
        while part := os.read(terminal, 65536):
            shown += part
    except OSError:  # Linux's sign that nobody writes any more
        pass
    os.close(terminal)
    assert done.returncode == 0
    assert "12/12" in shown.decode()
    assert "] Processed 12 files.\r\n" in shown.decode()
