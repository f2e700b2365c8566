from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from caffe_lite.errors import DataError
from caffe_lite.layers.common.detection_files import in_pixels, read_name_sizes
from caffe_lite.proto.caffe_pb2 import ResizeParameter

BOXES = np.array([[0.25, 0.25, 0.5, 0.75], [-1, 0.5, 2, 0.625]])


@pytest.mark.parametrize(
    ("param", "wanted"),
    [
        (None, [[50, 25, 100, 75], [0, 50, 200, 62.5]]),
        ("height: 300 width: 300", [[50, 25, 100, 75], [0, 50, 200, 62.5]]),
        ("resize_mode: FIT_SMALL_SIZE height: 300 width: 300", [[50, 25, 100, 75], [0, 50, 200, 62.5]]),
        (
            "resize_mode: FIT_SMALL_SIZE height_scale: 80 width_scale: 160",
            [[40, 20, 80, 60], [0, 40, 200, 50]],
        ),
        # The image of 200 x 100 has filled the middle half of the height.
        ("resize_mode: FIT_LARGE_SIZE_AND_PAD height: 300 width: 300", [[50, 0, 100, 100], [0, 50, 200, 75]]),
        # It has filled the middle half of the width.
        ("resize_mode: FIT_LARGE_SIZE_AND_PAD height: 100 width: 400", [[0, 25, 100, 75], [0, 50, 200, 62.5]]),
    ],
)
def test_boxes_in_pixels(param, wanted) -> None:
    resize = None if param is None else text_format.Parse(param, ResizeParameter())
    found = in_pixels(BOXES, 100, 200, resize)
    np.testing.assert_allclose(found, wanted)
    assert in_pixels(BOXES.astype("f"), 100, 200, resize).dtype == np.float32


def test_a_box_in_the_padding_is_empty() -> None:
    resize = text_format.Parse("resize_mode: FIT_LARGE_SIZE_AND_PAD height: 300 width: 300", ResizeParameter())
    np.testing.assert_allclose(in_pixels(np.array([[0, 0, 1, 0.2]]), 100, 200, resize), [[0, 0, 200, 0]])


def test_names_and_sizes(tmp_path) -> None:
    path = tmp_path / "sizes.txt"
    path.write_text("a 3 4\n\n b/c.jpg\t500  375 \n")
    assert read_name_sizes(str(path), None, "") == [("a", 3, 4), ("b/c.jpg", 500, 375)]


@pytest.mark.parametrize("line", ["a 3", "a 3 4 5", "a 3 x", "a -3 4"])
def test_a_line_of_another_form(tmp_path, line) -> None:
    path = tmp_path / "sizes.txt"
    path.write_text(f"a 3 4\n{line}\n")
    with pytest.raises(DataError, match="has another form") as error:
        read_name_sizes(str(path), None, "")
    assert f"{path}:2" in str(error.value)
