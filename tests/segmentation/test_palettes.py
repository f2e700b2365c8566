"""Palettes: published colours, and files of each form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe_lite.errors import DataError
from caffe_lite.segmentation.palettes import palette_of
from tests.data.image_files import palette_png

cv2 = pytest.importorskip("cv2")

COLORS = np.array([(1, 2, 3), (40, 50, 60), (255, 0, 9)], np.uint8)  # R, G, B


def test_the_colours_of_voc() -> None:
    voc = palette_of("voc")
    assert voc.shape == (256, 3)
    assert voc[:5].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]
    assert voc[[15, 20, 255]].tolist() == [[192, 128, 128], [0, 64, 128], [224, 224, 192]]


def test_the_colours_of_cityscapes() -> None:
    colors = palette_of("cityscapes")
    assert colors[[0, 10, 18]].tolist() == [[128, 64, 128], [70, 130, 180], [119, 11, 32]]
    assert not colors[19:].any()
    assert len(np.unique(colors[:19], axis=0)) == 19


def test_files(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("1 2 3\n\n40, 50, 60\n255 0 9\n")
    (tmp_path / "indexed.png").write_bytes(palette_png(np.zeros((2, 2), int), COLORS))
    cv2.imwrite(str(tmp_path / "strip.png"), COLORS[None, :, ::-1])
    for path in tmp_path.iterdir():
        np.testing.assert_array_equal(palette_of(str(path)), COLORS, err_msg=path.name)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"1 2 3\n1 2\n", "a.txt: the palette cannot be used: line 2 is '1 2'. Write R, G and B"),
        ("a.txt", b"1 2 256", "line 1 is '1 2 256'"),
        ("a.txt", b"\n", "a.txt: the palette has 0 colours. Give it 1 to 256"),
        ("a.png", b"no image", "the palette cannot be used: OpenCV cannot decode its image"),
        ("a.png", cv2.imencode(".png", np.zeros((20, 20, 3), np.uint8))[1].tobytes(), "the palette has 400 colours"),
        ("a.png", None, "the palette cannot be read: No such file"),
    ],
)
def test_files_that_cannot_be(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        palette_of(str(tmp_path / name))
    assert message in str(caught.value)
