"""The sizes that image_data_param asks for, by hand."""

from __future__ import annotations

import pytest
from google.protobuf import text_format

from caffe_lite.data.images.listed_size import check_listed_size, has_one_size, listed_size
from caffe_lite.errors import LayerError
from caffe_lite.proto.caffe_pb2 import ImageDataParameter


def param(text: str) -> ImageDataParameter:
    return text_format.Parse(text, ImageDataParameter())


@pytest.mark.parametrize(
    ("text", "size", "wanted"),
    [
        ("", (5, 7), (5, 7)),
        ("new_height: 3 new_width: 9", (5, 7), (3, 9)),
        ("new_height: 3 new_width: 9 min_height: 8 min_width: 8", (5, 7), (3, 9)),
        ("short_side: 4", (10, 19), (4, 7)),
        ("short_side: 4", (19, 10), (7, 4)),
        ("short_side: 4 new_height: 3 new_width: 9", (8, 8), (4, 4)),
        ("min_height: 5 min_width: 7", (5, 7), (5, 7)),
        ("min_height: 10 min_width: 7", (5, 7), (10, 14)),
        ("min_height: 5 min_width: 14", (5, 7), (10, 14)),
        ("min_height: 8 min_width: 10", (5, 7), (8, 11)),  # 3 is lacking in both: the height counts
        ("min_height: 8 min_width: 11", (5, 7), (8, 11)),  # 4 is lacking in the width: 5 * 11 / 7 = 7.86
        ("min_height: 1 min_width: 2", (9, 1), (18, 2)),
    ],
)
def test_sizes(text: str, size: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert listed_size(param(text), *size) == wanted


def test_only_new_sizes_make_all_images_equal() -> None:
    assert has_one_size(param("new_height: 3 new_width: 9"))
    assert not any(map(has_one_size, map(param, ("", "short_side: 3", "new_height: 3 new_width: 9 short_side: 3"))))


@pytest.mark.parametrize("prefix", ["new", "min"])
def test_one_of_two_sizes(prefix: str) -> None:
    with pytest.raises(LayerError, match=f"one of {prefix}_height and {prefix}_width is given. Give both, or none"):
        check_listed_size(param(f"{prefix}_width: 3"))
