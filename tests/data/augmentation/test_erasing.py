"""erase_ratio: how often, how large, where, and with what."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from caffe_lite.data.augmentation.erasing import Erasure, check_erasing, draw_erasure
from caffe_lite.errors import DataError, LayerError
from caffe_lite.proto.caffe_pb2 import TransformationParameter


def param(text: str) -> TransformationParameter:
    return text_format.Parse(text, TransformationParameter())


def drawn(text: str, count: int = 400) -> list[Erasure | None]:
    rng = np.random.default_rng(0)
    return [draw_erasure(param(text), (3, 30, 50), rng) for _ in range(count)]


def test_rectangles_lie_within_the_crop_and_their_bounds() -> None:
    found = [e for e in drawn("erase_ratio: 1 scale_min: 0.1 scale_max: 0.5 aspect_min: 0.5 aspect_max: 2") if e]
    assert len(found) == 400
    tops, lefts = np.array([(e.top, e.left) for e in found]).T
    heights, widths = np.array([e.noise.shape[1:] for e in found]).T
    assert {e.noise.shape[0] for e in found} == {3}
    assert 5 <= widths.min() < 7 and 20 < widths.max() <= 25
    assert (heights > 0.5 * widths - 1).all() and (heights <= 2 * widths).all()
    assert tops.min() == lefts.min() == 0 and (tops + heights).max() == 30 and (lefts + widths).max() == 50
    values = np.concatenate([e.noise.ravel() for e in found])
    assert (values.min(), values.max()) == (0, 254)
    assert abs(values.mean() - 127) < 1


def test_a_part_of_the_crops_is_erased() -> None:
    assert 0.2 < np.mean([e is not None for e in drawn("erase_ratio: 0.25")]) < 0.3


def test_the_rest_of_a_crop_stays() -> None:
    crop = np.arange(2 * 4 * 5, dtype=np.uint8).reshape(2, 4, 5)
    erased = Erasure(1, 2, np.full((2, 2, 3), 99)).erase(crop)
    assert (erased[:, 1:3, 2:5] == 99).all()
    changed = erased != crop
    assert changed.sum() == 12 and changed[:, 1:3, 2:5].all()
    assert crop[0, 1, 2] == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scale_min: 0.5", "scale_min in transform_param is 0.5, scale_max 0.4"),
        ("aspect_min: 0", "aspect_min in transform_param is 0, aspect_max 3"),
        ("erase_ratio: 0.5 scale_min: 0.4 aspect_min: 2.5", "the smallest rectangle to erase is as large as the crop"),
    ],
)
def test_what_cannot_be_drawn(text: str, message: str) -> None:
    with pytest.raises(LayerError, match=message):
        check_erasing(param(text))


def test_a_crop_that_no_rectangle_fits_into() -> None:
    wide = param("erase_ratio: 1 scale_min: 0.3 aspect_min: 0.5")
    assert draw_erasure(wide, (3, 200, 400), np.random.default_rng(0)) is not None
    with pytest.raises(DataError, match="the smallest rectangle to erase is higher than the crop, 59 x 400"):
        draw_erasure(wide, (3, 59, 400), np.random.default_rng(0))
