from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite.errors import LayerError

from .cascade import run


def by_hand(losses, images, each, count) -> list[int]:
    order = sorted(range(len(losses)), key=lambda i: -losses[i])
    chosen: list[int] = []
    for image in range(count):
        chosen += [i for i in order if images[i] == image][:each]
    chosen += [i for i in order if i not in chosen][: each * count - len(chosen)]
    return sorted(chosen)


@settings(deadline=None, max_examples=30)
@given(
    losses=st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.5]), max_size=12),
    each=st.integers(1, 4),
    count=st.integers(1, 3),
    ones=st.sampled_from([(), (1,), (1, 1, 1)]),
    seed=st.integers(0, 3),
)
def test_the_hardest_pass(losses, each, count, ones, seed, engine) -> None:
    rng, n = np.random.default_rng(seed), len(losses)
    regions = np.concatenate([rng.integers(count, size=(n, 1)), rng.uniform(0, 9, (n, 4))], 1)
    more = rng.normal(0, 1, (n, 2, 3))
    layer = f'type: "HardMining" hard_mining_param {{ num_roi_per_image: {each} num_image: {count} }}'
    arrays = [np.array(losses).reshape(n, *ones), regions, more]
    _, tops = run(layer, arrays, 2, engine=engine, dtype="float64")
    chosen = by_hand(losses, regions[:, 0], each, count)
    np.testing.assert_array_equal(tops[0], regions[chosen])
    np.testing.assert_array_equal(tops[1], more[chosen])


@pytest.mark.parametrize(
    ("param", "shapes", "tops", "what"),
    [
        ("num_image: 0", [(2, 1), (2, 5)], 1, "num_roi_per_image or num_image is 0"),
        ("", [(2, 2), (2, 5)], 1, "the losses have the shape (2, 2)"),
        ("", [(2, 1), (2, 4)], 1, "the regions have the shape (2, 4)"),
        ("", [(2, 1), (2, 5)], 2, "2 bottoms and 2 tops"),
        ("num_image: 1", [(2, 1), (2, 5)], 1, "region 1 is of image 1"),
    ],
)
def test_errors(engine, param, shapes, tops, what) -> None:
    arrays = [np.zeros(shape) for shape in shapes]
    arrays[1][1] = 1
    with pytest.raises(LayerError) as error:
        run(f'type: "HardMining" hard_mining_param {{ {param} }}', arrays, tops, engine=engine)
    assert what in str(error.value)
