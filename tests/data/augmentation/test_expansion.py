from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from caffe_lite.data.augmentation.expansion import check_expansion, expand
from caffe_lite.errors import DataError, LayerError
from caffe_lite.proto.caffe_pb2 import ExpansionParameter


def param(text: str) -> ExpansionParameter:
    return text_format.Parse(text, ExpansionParameter())


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(("mean", "filled"), [([104, 117, 122.6], [104, 117, 123]), ([9], [9, 9, 9])])
def test_an_image_lies_somewhere_in_a_larger_one(dtype: type, mean: list[float], filled: list[int]) -> None:
    image = np.full((3, 10, 20), 200, dtype)
    color = np.array(filled if dtype == np.uint8 else np.broadcast_to(np.float32(mean), 3))[:, None]
    rng = np.random.default_rng(0)
    heights, lefts = set(), set()
    for _ in range(200):
        found = expand(param("max_expand_ratio: 4"), image, mean, rng)
        assert found is not None
        expanded, window = found
        _, height, width = expanded.shape
        place = (expanded == 200).all(0)
        rows, columns = np.nonzero(place)
        top, left = rows.min(), columns.min()
        assert place.sum() == 200
        assert (place[top : top + 10, left : left + 20]).all()
        assert (expanded[:, ~place] == color).all()
        np.testing.assert_allclose(window, [-left / 20, -top / 10, (width - left) / 20, (height - top) / 10], rtol=1e-6)
        heights.add(height)
        lefts.add(int(left))
    assert min(heights) < 12
    assert max(heights) > 37
    assert min(lefts) < 3
    assert max(lefts) > 45


def test_how_often() -> None:
    image, rng = np.zeros((1, 5, 5), np.uint8), np.random.default_rng(0)
    expanded = sum(expand(param("prob: 0.25 max_expand_ratio: 2"), image, [0], rng) is not None for _ in range(1000))
    assert 200 < expanded < 300
    assert expand(param(""), image, [0], rng) is None


def test_what_cannot_be_done() -> None:
    with pytest.raises(LayerError, match=r"max_expand_ratio in expand_param is 0\.5. It must be at least 1"):
        check_expansion(param("max_expand_ratio: 0.5"))
    with pytest.raises(DataError, match="mean_value is given 2 times, the image has 3 channels"):
        expand(param("max_expand_ratio: 3"), np.zeros((3, 5, 5), np.uint8), [1, 2], np.random.default_rng(0))
