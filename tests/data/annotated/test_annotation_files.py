"""Annotation files as VOC, COCO and people write them, and faulty ones."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from caffe_lite.data.annotated.annotation_files import Box, read_boxes
from caffe_lite.errors import DataError

LABELS = {"cat": 3, "diningtable": 11, "18": 18}

VOC = """<annotation>
  <folder>VOC2007</folder> <filename>000005.jpg</filename>
  <size> <width>200</width> <height>100</height> <depth>3</depth> </size>
  <object>
    <name>cat</name> <pose>Left</pose> <truncated>0</truncated> <difficult>1</difficult>
    <bndbox> <xmin>50</xmin> <ymin>25</ymin> <xmax>150</xmax> <ymax>75</ymax> </bndbox>
    <part> <name>head</name> <bndbox> <xmin>1</xmin> <ymin>2</ymin> <xmax>3</xmax> <ymax>4</ymax> </bndbox> </part>
  </object>
  <object>
    <name> diningtable </name>
    <bndbox> <xmax>100</xmax> <xmin>12.5</xmin> <ymax>100</ymax> <ymin>0</ymin> </bndbox>
  </object>
</annotation>
"""
COCO = """{"image": {"height": 100, "width": 200, "id": 1},
 "annotation": [{"category_id": 18, "bbox": [50, 25, 100, 50], "iscrowd": 1, "area": 5},
                {"category_id": "cat", "bbox": [0.0, 0.5, 20, 99.5]}]}"""


def boxes(folder: Path, content: str, kind: str, size: tuple[int, int] = (100, 200)) -> list[Box]:
    path = folder / f"a.{kind}"
    path.write_text(content, encoding="utf-8")
    return read_boxes(str(path), kind, *size, LABELS)


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        ("xml", VOC, [(3, 0.25, 0.25, 0.75, 0.75, True), (11, 0.0625, 0, 0.5, 1, False)]),
        ("json", COCO, [(18, 0.25, 0.25, 0.75, 0.75, True), (3, 0, 0.005, 0.1, 1, False)]),
        (
            "txt",
            "7 50 25 150 75\n\n-1 0 0.5 20 100 \n",
            [(7, 0.25, 0.25, 0.75, 0.75, False), (-1, 0, 0.005, 0.1, 1, False)],
        ),
        ("xml", "<annotation><size><width>2</width><height>1</height></size></annotation>", []),
        ("json", '{"annotation": [], "image": {"height": 100, "width": 200}}', []),
        ("txt", "", []),
    ],
)
def test_boxes_as_fractions(tmp_path: Path, kind: str, content: str, expected: list[tuple]) -> None:
    assert boxes(tmp_path, content, kind) == expected


def test_the_size_that_the_file_states_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "a.xml"
    assert boxes(tmp_path, VOC, "xml", (100, 400))[0][:3] == (3, 0.25, 0.25)
    assert caplog.messages == [f"{file} inconsistent image width."]
    caplog.clear()
    without = VOC.replace("<size>", "<sizes>").replace("</size>", "</sizes>")
    assert boxes(tmp_path, without, "xml", (100, 400))[0][:3] == (3, 0.125, 0.25)
    assert caplog.messages == [f"{file} does not state the size of the image"]


@pytest.mark.parametrize(
    ("line", "warnings"),
    [
        ("1 0 0 200 100", []),
        ("1 0 0 201 100", ["exceeds image boundary."]),
        ("1 0 -1 20 100", ["exceeds image boundary."]),
        ("1 30 0 20 100", ["irregular."]),
        ("1 30 101 20 100", ["exceeds image boundary.", "irregular."]),
    ],
)
def test_odd_boxes_are_noted(tmp_path: Path, line: str, warnings: list[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "caffe_lite")
    assert len(boxes(tmp_path, line, "txt")) == 1
    assert caplog.messages == [f"{tmp_path / 'a.txt'} bounding box {warning}" for warning in warnings]


@pytest.mark.parametrize(
    ("kind", "content", "place", "message"),
    [
        ("xml", VOC.replace(">cat<", ">cst<"), "", "the label map has no name 'cst'. Did you mean 'cat'?"),
        ("xml", VOC.replace(">cat<", ">aeroplane<"), "", "has no name 'aeroplane'. Add it there"),
        ("xml", VOC.replace("<xmin>50</xmin>", ""), "", "xmin is missing. It must be a number"),
        ("xml", VOC.replace("<xmin>50<", "<xmin>many<"), "", "xmin is 'many'. It must be a number"),
        ("xml", VOC.replace("<width>200<", "<width>0<"), "", "the image is 100 x 0 (H x W) in it"),
        ("xml", "<annotation>\n<size>", ":2:7", "it is not XML: no element found"),
        ("json", "{]", ":1:2", "it is not JSON"),
        ("json", "[]", "", "it has another form"),
        ("json", '{"annotation": [{"bbox": [1, 2, 3, 4]}]}', "", "it has another form: 'category_id'. It must be {"),
        ("json", '{"annotation": [{"category_id": 18, "bbox": [1, 2, 3]}]}', "", "it has another form"),
        ("json", '{"annotation": [{"category_id": 1, "bbox": [1, 2, 3, 4]}]}', "", "has no name '1'"),
        ("txt", "1 2 3 4 5\n1 2 3 4", ":2:1", "'1 2 3 4' has another form. Write a label and xmin, ymin"),
        ("txt", "cat 2 3 4 5", ":1:1", "'cat 2 3 4 5' has another form"),
        ("txt", "1 2 3 4 five", ":1:1", "a corner is 'five'. It must be a number"),
    ],
)
def test_faulty_files(tmp_path: Path, kind: str, content: str, place: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        boxes(tmp_path, content, kind)
    assert str(caught.value).startswith(f"{tmp_path / 'a'}.{kind}{place}: ")
    assert message in str(caught.value)
