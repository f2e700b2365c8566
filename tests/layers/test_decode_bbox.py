from __future__ import annotations

import numpy as np
import pytest

from caffe_lite import TEST, TRAIN
from caffe_lite.errors import LayerError

from .cascade import moved, norm, random_regions, run

MEAN, STD = (0.1, -0.2, 0.05, 0), (0.1, 0.1, 0.25, 0.5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ones", [(), (1, 1)])
@pytest.mark.parametrize("phase", [TRAIN, TEST])
@pytest.mark.parametrize("matches", [False, True])
def test_boxes_by_hand(engine, phase, ones, matches, dtype) -> None:
    rng = np.random.default_rng(0)
    regions, deltas = random_regions(rng, 40), rng.normal(0, 2, (40, 8))
    regions[:5, 3:] = regions[:5, 1:3]
    deltas[:5, 6:] = -1  # smaller than a pixel
    overlaps = np.concatenate([rng.uniform(0, 90, (40, 5)), rng.uniform(0, 1, (40, 1))], 1)
    arrays = [deltas, regions, overlaps][: 2 + matches]
    layer = f'type: "DecodeBBox" decode_bbox_param {{ gt_iou_thr: 0.75 }} {norm(MEAN, STD)}'
    arrays = [x.reshape(*x.shape, *ones) for x in arrays]
    _, (top,) = run(layer, arrays, engine=engine, phase=phase, dtype=dtype)
    wanted = []
    for region, delta, match in zip(regions, deltas, overlaps, strict=True):
        box = moved(region[1:], delta[4:], MEAN, STD)
        inverted = box[0] > box[2] or box[1] > box[3]
        if phase == TEST or not (inverted or (matches and match[5] >= 0.75)):
            wanted.append([region[0], *box])
    assert top.shape == (len(wanted), 5, 1, 1)
    assert phase == TEST or len(wanted) < 40
    np.testing.assert_allclose(top[:, :, 0, 0], wanted, rtol=1e-5 if dtype == "float32" else 1e-9, atol=1e-4)


@pytest.mark.parametrize("count", [0, 3])
def test_no_box_is_left(engine, count) -> None:
    arrays = [np.zeros((count, 8)), np.zeros((count, 5)), np.ones((count, 6))]
    net, (top,) = run('type: "DecodeBBox"', arrays, engine=engine)
    assert top.shape == (0, 5, 1, 1)
    net.backward()
    assert not net.blobs["x0"].diff.any()


def test_the_number_of_boxes_changes(engine) -> None:
    arrays = [np.zeros((2, 8)), np.array([[0, 1, 2, 3, 4], [1, 5, 6, 7, 8]]), np.zeros((2, 6))]
    net, (top,) = run('type: "DecodeBBox"', arrays, engine=engine)
    np.testing.assert_allclose(top[:, :, 0, 0], arrays[1])
    net.blobs["x2"].data[0, 5] = 0.96
    net.forward()
    np.testing.assert_allclose(net.blobs["y0"].data[:, :, 0, 0], arrays[1][1:])
    net.reshape()
    assert net.blobs["y0"].shape == (1, 5, 1, 1)


@pytest.mark.parametrize(
    ("shapes", "param", "what"),
    [
        ([(3, 4), (3, 5)], "", "the deltas have the shape (3, 4). Give (N, 8, 1, 1), or without the 1s"),
        ([(3, 8), (3, 6)], "", "the regions have the shape (3, 6)"),
        ([(3, 8), (2, 5)], "", "differ in their first axis"),
        ([(3, 8), (3, 5)], norm((0, 0), (1, 1, 1, 1)), "2 values bbox_mean and 4 values bbox_std"),
        ([(3, 8), (3, 5)], norm((0, 0, 0, 0), (1, 1, 0, 1)), "a bbox_std is 0"),
    ],
)
def test_errors(engine, shapes, param, what) -> None:
    with pytest.raises(LayerError) as error:
        run(f'type: "DecodeBBox" {param}', [np.zeros(shape) for shape in shapes], engine=engine)
    assert what in str(error.value)
