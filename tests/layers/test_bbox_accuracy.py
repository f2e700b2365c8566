from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .cascade import moved, norm, overlap, random_regions, run

MEAN, STD = (0, 0.1, 0, -0.1), (0.1, 0.1, 0.2, 0.2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("tops", [1, 2])
@pytest.mark.parametrize("cls_aware", [True, False])
def test_means_by_hand(engine, cls_aware, tops, dtype) -> None:
    rng, count = np.random.default_rng(0), 30
    regions = random_regions(rng, count)
    objects = np.zeros((count, 6))
    objects[:, 1:5] = regions[:, 1:] + rng.normal(0, 5, (count, 4))
    objects[:, 0] = rng.integers(0, 4, count)
    objects[:, 5] = rng.uniform(0.5, 1.2, count)
    deltas = rng.normal(0, 1, (count, 16 if cls_aware else 8))
    layer = f'type: "BboxAccuracy" {norm(MEAN, STD, f"cls_aware: {str(cls_aware).lower()}")}'
    _, found = run(layer, [deltas, regions, objects], tops, engine=engine, dtype=dtype)
    after, before = [], []
    for delta, region, thing in zip(deltas, regions, objects, strict=True):
        if thing[0] > 0 and thing[5] <= 0.975:
            column = 4 * int(thing[0]) if cls_aware else 4
            after.append(overlap(moved(region[1:], delta[column : column + 4], MEAN, STD), thing[1:5]))
            before.append(overlap(region[1:], thing[1:5]))
    assert 5 < len(after) < 20
    for top, values in zip(found, (after, before), strict=False):
        assert top.shape == (1, 1, 1, 1)
        np.testing.assert_allclose(top.item(), np.mean(values), rtol=1e-4)


@pytest.mark.parametrize("count", [0, 3])
def test_nothing_counts(engine, count) -> None:
    arrays = [np.zeros((count, 8)), np.zeros((count, 5)), np.zeros((count, 6))]
    _, found = run('type: "BboxAccuracy"', arrays, 2, engine=engine)
    assert [top.item() for top in found] == [-1, -1]


@pytest.mark.parametrize(
    ("shapes", "cls_aware", "what"),
    [
        ([(2, 12), (2, 5), (2, 6)], "false", "the deltas have the shape (2, 12). Give (N, 8, 1, 1)"),
        ([(2, 9), (2, 5), (2, 6)], "true", "the deltas have the shape (2, 9)"),
        ([(2, 8), (2, 4), (2, 6)], "true", "the regions have the shape (2, 4)"),
        ([(2, 8), (2, 5), (2, 5)], "true", "the objects have the shape (2, 5)"),
        ([(2, 8), (3, 5), (2, 6)], "true", "differ in their first axis"),
        ([(2, 8), (2, 5), (2, 6)], "true", "there is an object of class 2, and deltas for 2 classes"),
    ],
)
def test_errors(engine, shapes, cls_aware, what) -> None:
    arrays = [np.zeros(shape) for shape in shapes]
    arrays[2][:, 0] = 2
    with pytest.raises(LayerError) as error:
        run(f'type: "BboxAccuracy" bbox_reg_param {{ cls_aware: {cls_aware} }}', arrays, 2, engine=engine)
    assert what in str(error.value)
