from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom, make_net

SHAPE = (2, 3, 4, 5)


def run(engine, weighted, mask, x):
    pixels = mask.sum((2, 3))
    bottoms = [Bottom(SHAPE, lambda rng: x), Bottom(SHAPE, lambda rng: mask)]
    if weighted:
        bottoms.append(Bottom((2, 3), lambda rng: pixels))
    text = 'type: "YoloSeg" loss_weight: 1 yolo_seg_param { object_scale: 0.2 num_class: 7 use_hardsigmoid: true }'
    net = make_net(text, bottoms, engine=engine)
    net.forward()
    net.backward()
    return float(net.blobs["y0"].data), net.blobs["x0"].diff


@pytest.mark.parametrize("weighted", [False, True])
def test_each_pixel(weighted: bool, engine: str) -> None:
    rng = np.random.default_rng(0)
    x, mask = rng.normal(0, 1, SHAPE), rng.choice([0, 0.4, 0.8, 1], SHAPE)
    loss, diff = run(engine, weighted, mask, x)
    total = 0.0
    for n, c, j, i in np.ndindex(*SHAPE):
        count = mask[:, c].sum()
        factor = 2 - count / (2 * 20 - count) if weighted and mask[n, c, j, i] > 0.5 else 1
        d = 0.2 * factor * (1 / (1 + np.exp(-x[n, c, j, i])) - mask[n, c, j, i])
        np.testing.assert_allclose(diff[n, c, j, i], d / 2, rtol=1e-6)
        total += d * d
    assert loss == pytest.approx(total / 2)


def test_a_class_that_fills_all_images(engine: str) -> None:
    loss, diff = run(engine, True, np.ones(SHAPE), np.zeros(SHAPE))
    np.testing.assert_allclose(diff, -0.2 * 2 * 0.5 / 2)
    assert loss == pytest.approx(0.04 * 60)


@pytest.mark.parametrize(
    ("shapes", "what"),
    [
        ([(2, 3, 4, 5), (2, 3, 4, 4)], "the maps .* and the masks"),
        ([(2, 3, 4, 5), (2, 3, 4, 5), (2, 4)], "the numbers of pixels"),
    ],
)
def test_mistakes(shapes: list[tuple[int, ...]], what: str) -> None:
    with pytest.raises(LayerError, match=what):
        make_net('type: "YoloSeg"', [Bottom(shape) for shape in shapes], engine="numpy")
