from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from caffe_lite import TEST
from caffe_lite.errors import LayerError

SIZES = 'layer { name: "in" type: "Input" top: "map" top: "image" input_param { shape { dim: 2 dim: 8 dim: 2 dim: 3 }'
SIZES += " shape { dim: 2 dim: 3 dim: 200 dim: 300 } } }\n"


def priors(make_net, param, layer_type="PriorBox", **kw):
    layer = f'layer {{ name: "priors" type: "{layer_type}" bottom: "map" bottom: "image" top: "priors" '
    net = make_net(f"{SIZES}{layer} prior_box_param {{ {param} }} }}", TEST, **kw)
    return net.forward()["priors"]


def by_hand(sizes, step=(100, 100), image=(200, 300), offset=0.5) -> list[float]:
    """All boxes of a map of 2 x 3 places, one number after the other."""
    numbers = []
    for h in range(2):
        for w in range(3):
            x, y = (w + offset) * step[1], (h + offset) * step[0]
            for width, height in sizes:
                numbers += [(x - width / 2) / image[1], (y - height / 2) / image[0]]
                numbers += [(x + width / 2) / image[1], (y + height / 2) / image[0]]
    return numbers


@pytest.mark.parametrize(
    ("param", "sizes"),
    [
        ("min_size: 60", [(60, 60)]),
        ("min_size: 60 max_size: 111", [(60, 60), (sqrt(60 * 111),) * 2]),
        ("min_size: 60.8 max_size: 111.9", [(60, 60), (sqrt(60 * 111),) * 2]),
        ("min_size: 10 min_size: 20 aspect_ratio: 4", [(10, 10), (20, 5), (5, 20), (20, 20), (40, 10), (10, 40)]),
        ("min_size: 10 aspect_ratio: 4 flip: false", [(10, 10), (20, 5)]),
        ("min_size: 10 aspect_ratio: 1 aspect_ratio: 4 aspect_ratio: 0.25", [(10, 10), (20, 5), (5, 20)]),
        (
            "min_size: 10 min_size: 30 max_size: 40 max_size: 50 aspect_ratio: 4 flip: false",
            [(10, 10), (20, 20), (20, 5), (30, 30), (sqrt(1500),) * 2, (60, 15)],
        ),
        ("min_size: 15 max_size: 20 reduce_boxes: true", [(7.5, 7.5), (sqrt(300),) * 2]),
    ],
)
def test_boxes(make_net, param, sizes) -> None:
    found = priors(make_net, param)
    assert found.shape == (1, 2, 6 * len(sizes) * 4)
    np.testing.assert_allclose(found[0, 0], by_hand(sizes), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found[0, 1], 0.1)


@pytest.mark.parametrize(
    ("param", "places"),
    [
        ("step: 64", {"step": (64, 64)}),
        ("step_h: 32 step_w: 64", {"step": (32, 64)}),
        ("img_size: 600", {"step": (300, 200), "image": (600, 600)}),
        ("img_h: 400 img_w: 150 step: 16", {"step": (16, 16), "image": (400, 150)}),
        ("offset: 0", {"offset": 0}),
    ],
)
def test_places(make_net, param, places) -> None:
    found = priors(make_net, f"min_size: 40 {param}")
    np.testing.assert_allclose(found[0, 0], by_hand([(40, 40)], **places), rtol=1e-6)


def test_clip_and_variances(make_net) -> None:
    found = priors(make_net, "min_size: 150 clip: true variance: 0.1 variance: 0.2 variance: 0.3 variance: 0.4")
    np.testing.assert_allclose(found[0, 0], np.clip(by_hand([(150, 150)]), 0, 1), rtol=1e-6)
    np.testing.assert_allclose(found[0, 1], [0.1, 0.2, 0.3, 0.4] * 6)
    np.testing.assert_allclose(priors(make_net, "min_size: 5 variance: 0.7")[0, 1], 0.7)


def test_float64(make_net) -> None:
    found = priors(make_net, "min_size: 40", dtype="float64")
    assert found.dtype == np.float64
    np.testing.assert_allclose(found[0, 0], by_hand([(40, 40)]), rtol=1e-12)


@pytest.mark.parametrize(
    ("param", "what"),
    [
        ("", "min_size is not given"),
        ("min_size: 0.5", "min_size is 0.5"),
        ("min_size: 10 max_size: 10", "max_size is 10, and min_size 10"),
        ("min_size: 10 max_size: 20 max_size: 30", "max_size is 20, 30, and min_size 10"),
        ("min_size: 10 aspect_ratio: 0", "aspect_ratio is 0"),
        ("min_size: 10 variance: 0.1 variance: 0.2", "variance is 0.1, 0.2"),
        ("min_size: 10 variance: 0", "variance is 0"),
        ("min_size: 10 step: 0", "step is 0"),
        ("min_size: 10 step: 8 step_w: 8", "of step, step_h and step_w it has step and step_w"),
        ("min_size: 10 img_h: 8", "of img_size, img_h and img_w it has img_h"),
        ("min_size: 10 faceboxes: true", "faceboxes is set, a field of synopsys' Caffe"),
        ("min_size: 10 box_width: 3", "box_width is set, a field of synopsys' Caffe"),
    ],
)
def test_what_is_refused(make_net, param, what) -> None:
    with pytest.raises(LayerError) as error:
        priors(make_net, param)
    assert what in str(error.value)


def test_bottoms_need_four_axes(make_net) -> None:
    with pytest.raises(LayerError, match=r"the image's shape \(2, 3\) has 2 axes"):
        make_net("""
            layer { name: "in" type: "Input" top: "map" top: "image"
                    input_param { shape { dim: 2 dim: 8 dim: 2 dim: 3 } shape { dim: 2 dim: 3 } } }
            layer { name: "priors" type: "PriorBox" bottom: "map" bottom: "image" top: "priors"
                    prior_box_param { min_size: 3 } }""")
