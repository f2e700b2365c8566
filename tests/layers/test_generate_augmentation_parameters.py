from __future__ import annotations

import numpy as np
import pytest

from caffe_lite import TEST, TRAIN
from caffe_lite.errors import LayerError
from caffe_lite.layers.common.augmentation import NAMES

from .gradient import Bottom
from .gradient import make_net as make_layer_net

IMAGES, CROPS = Bottom((3, 3, 20, 30)), Bottom((3, 3, 10, 10))
DX, BRIGHTNESS, NOISE = (NAMES.index(name) for name in ("dx", "brightness", "noise"))
ROWS = np.zeros((3, 42, 1, 1))
ROWS[:, [DX, BRIGHTNESS, NOISE], 0, 0] = [0.1, 0.2, 0.3]
COEFFICIENTS = Bottom(ROWS.shape, lambda rng: ROWS)
DRAWN = "translate_x { mean: 0.05 } brightness { mean: 0.5 } gamma { mean: 2 }"


def net(engine, param, bottoms, phase=TRAIN, more=""):
    layer = f'type: "GenerateAugmentationParameters" augmentation_param {{ {param} }} {more}'
    return make_layer_net(layer, bottoms, engine=engine, phase=phase)


def run(*args, **kw):
    n = net(*args, **kw)
    n.forward()
    return n.blobs["y0"].data.reshape(3, 42)


@pytest.mark.parametrize(
    ("mode", "wanted"), [("add", [0.15, 0.7, 0.3]), ("replace", [0.05, 0.5, 0.3]), ("regenerate", [0.05, 0.5, 0])]
)
def test_modes(engine, mode, wanted) -> None:
    rows = run(engine, f'mode: "{mode}" {DRAWN}', [COEFFICIENTS, IMAGES, CROPS])
    np.testing.assert_allclose(rows[:, [DX, BRIGHTNESS, NOISE]], np.tile(wanted, (3, 1)), rtol=1e-6)
    np.testing.assert_allclose(rows[:, NAMES.index("gamma")], np.log(2))
    assert np.count_nonzero(rows) == 3 * (3 if mode == "regenerate" else 4)


def test_sizes_without_crops(engine) -> None:
    size = "crop_width: 10 crop_height: 10"
    np.testing.assert_allclose(run(engine, f"{size} {DRAWN}", [IMAGES])[:, DX], 0.05)
    alone = run(engine, f"{size} {DRAWN} bottomwidth: 30 bottomheight: 20", [COEFFICIENTS])
    np.testing.assert_allclose(alone[:, DX], 0.15, rtol=1e-6)
    tight = run(engine, f"{size} {DRAWN} bottomwidth: 12 bottomheight: 20", [COEFFICIENTS])
    np.testing.assert_allclose(tight[:, DX], 0.1, rtol=1e-6)


def test_nothing_is_drawn_in_test(engine) -> None:
    param, bottoms = DRAWN, [COEFFICIENTS, IMAGES, CROPS]
    np.testing.assert_allclose(run(engine, param, bottoms, TEST), ROWS.reshape(3, 42))
    assert not run(engine, f'mode: "regenerate" {param}', bottoms, TEST).any()


def test_a_resumed_net_goes_on_with_the_schedule(engine) -> None:
    more = "coeff_schedule_param { half_life: 1 initial_coeff: 0 final_coeff: 1 }"
    n, resumed = (net(engine, "noise { spread: 1 }", [COEFFICIENTS, IMAGES, CROPS], more=more) for _ in range(2))
    n.forward()
    resumed.restore_state(n.state())
    for each in (n, resumed):
        each.forward()
    np.testing.assert_array_equal(resumed.blobs["y0"].data, n.blobs["y0"].data)


@pytest.mark.parametrize(
    ("param", "bottoms", "message"),
    [
        ("", [COEFFICIENTS, IMAGES], "two bottoms"),
        ('mode: "mix"', [COEFFICIENTS, IMAGES, CROPS], "mode is 'mix'"),
        ("", [IMAGES], "no crop_width"),
        ("crop_width: 1 crop_height: 1", [COEFFICIENTS], "no bottomwidth"),
        ("", [Bottom((3, 41)), IMAGES, CROPS], "the coefficients have the shape"),
        ("", [COEFFICIENTS, COEFFICIENTS, Bottom((3, 4))], "the images and crops have the shapes"),
    ],
)
def test_errors(param, bottoms, message) -> None:
    with pytest.raises(LayerError, match=message):
        run("numpy", param, bottoms)
