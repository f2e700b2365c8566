"""The command, with the arguments of SSD's create_annoset.py."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from caffe_lite.data.databases.opening import open_database
from caffe_lite.proto.caffe_pb2 import AnnotatedDatum, DataParameter

cv2 = pytest.importorskip("cv2")


@pytest.fixture
def pairs(folder: Path) -> None:
    (folder / "pictures").mkdir()
    for number in range(4):
        assert cv2.imwrite(str(folder / "pictures" / f"{number}.jpg"), np.full((20, 40, 3), 50 * number, np.uint8))
        (folder / "pictures" / f"{number}.txt").write_text(f"{number} 0 0 10 10\n")
    (folder / "list.txt").write_text("".join(f"{number}.jpg {number}.txt\n" for number in range(4)))
    (folder / "map.prototxt").write_text('item { name: "a" label: 1 }')


def records(path: Path) -> list[AnnotatedDatum]:
    database = open_database(str(path), DataParameter.LMDB)
    try:
        return [AnnotatedDatum.FromString(value) for _, value in database.records()]
    finally:
        database.close()


def test_arguments_of_ssds_script(caffe, folder, pairs):
    words = "--anno-type=detection --label-type=txt --label-map-file=map.prototxt --min-dim=0 --max-dim=0 "
    words += "--resize-width=10 --resize-height=5 --check-label --encode-type=jpg --encoded --redo"
    result = caffe("create-annoset", *words.split(), "pictures", "list.txt", "out_lmdb", "examples/mine")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "Wrote 4 images to out_lmdb\n"
    written = records(folder / "out_lmdb")
    assert [record.annotation_group[0].group_label for record in written] == [0, 1, 2, 3]
    assert {(record.datum.height, record.datum.width) for record in written} == {(5, 10)}
    box = written[0].annotation_group[0].annotation[0].bbox
    assert (box.xmin, box.ymin, box.xmax, box.ymax) == (0, 0, 0.25, 0.5)
    link = folder / "examples" / "mine" / "out_lmdb"
    assert link.is_symlink()
    assert os.path.samefile(link, folder / "out_lmdb")
    again = caffe("create-annoset", *words.split(), "pictures", "list.txt", "out_lmdb", "examples/mine")
    assert again.returncode == 0, again.stderr
    assert len(records(link)) == 4


def test_gflags_of_convert_annoset(caffe, folder, pairs):
    words = "--anno_type=detection --label_type=txt --label_map_file=map.prototxt --check_label=True --gray=True "
    words += "--shuffle=False --check_size=False --encoded=False --backend=lmdb"
    result = caffe("create-annoset", *words.split(), "pictures/", "list.txt", "out_lmdb")
    assert result.returncode == 0, result.stderr
    assert [record.datum.channels for record in records(folder / "out_lmdb")] == [1] * 4


def test_what_is_refused(caffe, folder, pairs):
    for words, message in [
        ("--anno-type detection", "annotations of the kind xml hold names"),
        ("--anno-type boxes", "argument --anno-type: invalid choice: 'boxes'"),
        ("--resize-width 5", "--resize-width and --resize-height work together only"),
        ("--anno-type detection --label-map-file nowhere", "nowhere"),
        ("", "list.txt:1:1: the label '0.txt' is not a whole number"),
    ]:
        result = caffe("create-annoset", *words.split(), "pictures", "list.txt", "out_lmdb")
        assert result.returncode in (1, 2)
        assert message in result.stderr
        assert "Traceback" not in result.stderr
    assert not (folder / "out_lmdb").exists()
