from __future__ import annotations

import numpy as np
import pytest

from caffe_lite import TEST, TRAIN
from caffe_lite.errors import EngineError, LayerError
from caffe_lite.layers.common.augmentation import NAMES

from .gradient import Bottom
from .gradient import make_net as make_layer_net

CROP = "crop_width: 9 crop_height: 7"
VECTORS = [0.51, 0.56, 0.65, 0.79, 0.01, -0.62, 0.35, -0.83, 0.44]


def images(*shape):
    return Bottom(shape, lambda rng: rng.uniform(0, 1, shape))


def row(**coefficients):
    """Return coefficients as blobs hold them."""
    factors = ("zoom", "gamma", "contrast", "color", "pow", "mult", "lmult_pow", "lmult_mult")
    row = np.zeros(42)
    for name, value in coefficients.items():
        row[NAMES.index(name)] = np.log(value) if name.startswith(factors) else value
    return row


def given(*rows):
    return Bottom((len(rows), 42, 1, 1), lambda rng: np.stack(rows).reshape(-1, 42, 1, 1))


def net(engine, param, bottoms, phase=TRAIN, tops=1, more="", **kw):
    layer = f'type: "DataAugmentation" augmentation_param {{ {param} }} {more}'
    return make_layer_net(layer, bottoms, tops, engine=engine, phase=phase, **kw)


def fresh(n):
    """Set the number of passes and the means, which make_layer_net has filled, to 0."""
    for blob in n.params["under_test"]:
        blob.data[...] = 0
    return n


def run(engine, param, bottoms, **kw):
    n = net(engine, param, bottoms, **kw)
    n.forward()
    return n.blobs["x0"].data, n.blobs["y0"].data


def test_there_are_the_coefficients_of_the_original() -> None:
    assert len(NAMES) == 42
    assert [NAMES[i] for i in (0, 5, 6, 11, 12, 15, 21, 29, 30, 33, 34, 41)] == [
        *("mirror", "zoom_y", "gamma", "color3", "pow_nomean0", "add_nomean0", "pow_withmean0", "mult_withmean2"),
        *("lmult_pow", "col_angle", "fog_amount", "noise"),
    ]


@pytest.mark.parametrize("mirror", [0, 1])
def test_transformation(engine, mirror) -> None:
    import cv2

    c = {"mirror": mirror, "dx": 0.1, "dy": -0.05, "angle": 0.3, "zoom_x": 1.3, "zoom_y": 0.9}
    x, y = run(engine, CROP, [images(2, 2, 20, 24), given(row(**c), row())])

    def step(*rows):
        return np.array([*rows, [0, 0, 1]], float)

    matrix = (
        step([1, 0, 12], [0, 1, 10])
        @ np.diag([1 / c["zoom_x"], 1 / c["zoom_y"], 1])
        @ step([1, 0, c["dx"] * 9], [0, 1, c["dy"] * 7])
        @ step([np.cos(0.3), -np.sin(0.3), 0], [np.sin(0.3), np.cos(0.3), 0])
        @ step([-1 if mirror else 1, 0, 0], [0, 1, 0])
        @ step([1, 0, -4.5], [0, 1, -3.5])
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for channel in range(2):
        wanted = cv2.warpAffine(x[0, channel], matrix[:2], (9, 7), flags=flags)
        np.testing.assert_allclose(y[0, channel], wanted, atol=0.04)  # cv2 rounds places to 1/32 of a pixel
        middle = x[1, channel, 6:14, 7:17]  # 24 - 9 is odd, and so is 20 - 7
        between = (middle[:-1, :-1] + middle[1:, :-1] + middle[:-1, 1:] + middle[1:, 1:]) / 4
        np.testing.assert_allclose(y[1, channel], between)


def test_last_pixels_are_mixed_with_those_before(engine) -> None:
    x, y = run(engine, "crop_width: 6 crop_height: 1", [images(1, 1, 1, 6)], phase=TEST)
    np.testing.assert_allclose(y[..., :5], x[..., :5])
    np.testing.assert_allclose(y[..., 5], 0.95 * x[..., 5] + 0.05 * x[..., 4])


def test_colours(engine) -> None:
    c = {"gamma": 1.5, "brightness": 0.1, "contrast": 0.8, "color1": 1.2, "color2": 0.9, "color3": 0.7}
    x, y = run(engine, "crop_width: 4 crop_height: 4 max_multiplier: 0.7", [images(1, 3, 6, 6), given(row(**c))])
    for (i, j), _ in np.ndenumerate(y[0, 0]):
        before = x[0, :, i + 1, j + 1]
        pixel = before * [1.2, 0.9, 0.7]
        pixel = np.minimum(pixel * before.sum() / (pixel.sum() + 0.01), 1) ** 1.5 + 0.1
        np.testing.assert_allclose(y[0, :, i, j], np.clip(0.5 + (pixel - 0.5) * 0.8, 0, 0.7), rtol=1e-6)


def test_colours_in_eigenspace(engine) -> None:
    c = {
        "pow_nomean0": 1.2,
        "add_nomean1": 0.1,
        "mult_nomean2": 1.3,
        "add_withmean0": 0.05,
        "pow_withmean0": 1.1,
        "pow_withmean1": 0.9,
    }
    c |= {"add_withmean1": 0.02, "mult_withmean1": 1.1, "col_angle": 0.4}
    c |= {"lmult_pow": 1.1, "lmult_add": -0.02, "lmult_mult": 0.9}
    vectors = " ".join(f"chromatic_eigvec: {v}" for v in VECTORS)
    param = f"crop_width: 4 crop_height: 4 {vectors} max_multiplier: 1"
    x, y = run(engine, param, [images(1, 3, 6, 6), given(row(**c))])
    e = np.array(VECTORS).reshape(3, 3)
    pixels = x.transpose(0, 2, 3, 1)
    mean, largest = pixels.mean((0, 1, 2)), abs(pixels @ e.T).max((0, 1, 2))
    whole = np.linalg.norm(largest)
    for (i, j), _ in np.ndenumerate(y[0, 0]):
        a, b, d = e @ (x[0, :, i + 1, j + 1] - mean) / largest
        v = np.array([np.sign(a) * abs(a) ** 1.2, b + 0.1, d * 1.3]) + e @ mean / largest
        v[0] = np.sign(v[0]) * abs(v[0]) ** 1.1 + 0.05
        s = np.hypot(v[1], v[2])
        s1 = max(s**0.9 + 0.02, 0) * 1.1
        v[1:] = np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]]) @ v[1:]
        v *= largest
        length = max((np.linalg.norm(v) / whole) ** 1.1 - 0.02, 0) * 0.9 * whole
        v[1:] *= s1 / s
        v = np.minimum(v / np.linalg.norm(v) * length, largest)
        np.testing.assert_allclose(y[0, :, i, j], np.clip(e.T @ v, 0, 1), rtol=1e-5, atol=1e-6)


def test_shadow_and_noise(engine) -> None:
    c = row(shadow_angle=0.5, shadow_distance=1, shadow_strength=0.2)
    x, y = run(engine, "crop_width: 30 crop_height: 20", [images(2, 2, 22, 32), given(c, row(noise=0.5))])
    x = x[:, :, 1:-1, 1:-1]
    for (i, j), _ in np.ndenumerate(y[0, 0]):
        dark = (j - 15) * np.cos(0.5) + (i - 10) * np.sin(0.5) > 1
        np.testing.assert_allclose(y[0, :, i, j], np.maximum(x[0, :, i, j] - 0.2 * dark, 0), atol=1e-9)
    noise = y[1] - x[1]
    assert abs(noise.mean()) < 0.05 and abs(noise.std() - 0.5) < 0.05


DRAWN = """crop_width: 4 crop_height: 4 mirror { rand_type: "bernoulli" prob: 0.5 } translate { spread: 0.1 }
    rotate { spread: 0.2 } zoom { rand_type: "gaussian" exp: true spread: 0.1 mean: 0.2 }
    squeeze { exp: true spread: 0.1 } gamma { rand_type: "gaussian_bernoulli" exp: true spread: 0.2 prob: 0.5 }
    color { exp: true spread: 0.1 } noise { spread: 0.01 mean: 0.02 }"""


def drawn(engine, param=DRAWN, seed=1, phase=TRAIN, num=40, **kw):
    n = fresh(net(engine, param, [images(num, 3, 9, 9)], phase, 2, seed=seed, **kw))
    n.forward()
    return n, dict(zip(NAMES, n.blobs["y1"].data.reshape(num, 42).T.copy(), strict=True))


def test_draws(engine) -> None:
    n, c = drawn(engine)
    assert set(c["mirror"]) == {0, 1}
    assert abs(c["dx"]).max() <= 0.1 and abs(c["dy"]).max() <= 0.1 and not np.allclose(c["dx"], c["dy"])
    assert 0.1 < abs(c["angle"]).max() <= 0.2
    assert 0.1 < ((c["zoom_x"] + c["zoom_y"]) / 2).mean() < 0.3
    assert 0.05 < abs(c["zoom_x"] - c["zoom_y"]).max() <= 0.2
    assert 8 < np.count_nonzero(c["gamma"] == 0) < 32
    assert not c["pow_nomean0"].any() and not c["brightness"].any()
    first = n.blobs["y0"].data.copy()
    np.testing.assert_array_equal(drawn(engine)[0].blobs["y0"].data, first)
    assert not np.array_equal(drawn(engine, seed=2)[0].blobs["y0"].data, first)
    n.forward()
    assert not np.array_equal(n.blobs["y0"].data, first)


def test_coefficients_that_come_out_can_go_in(engine) -> None:
    n, _ = drawn(engine, DRAWN.partition("noise")[0])
    x, y, c = (n.blobs[name].data.copy() for name in ("x0", "y0", "y1"))
    _, again = run(engine, "crop_width: 4 crop_height: 4", [Bottom(x.shape, lambda _: x), Bottom(c.shape, lambda _: c)])
    np.testing.assert_array_equal(again, y)


def test_test_draws_only_if_it_is_to(engine) -> None:
    n, c = drawn(engine, phase=TEST)
    assert not np.stack(list(c.values())).any()
    x = n.blobs["x0"].data
    between = (x[:, :, 2:6] + x[:, :, 3:7]) / 2
    np.testing.assert_allclose(n.blobs["y0"].data, (between[..., 2:6] + between[..., 3:7]) / 2)
    assert drawn(engine, f"{DRAWN} augment_during_test: true", phase=TEST)[1]["dx"].any()


def test_schedule(engine) -> None:
    param = (
        "crop_width: 1 crop_height: 1 brightness { spread: 1 } contrast { exp: true spread: 1 apply_schedule: false }"
    )
    n, c = drawn(engine, param, more="coeff_schedule_param { half_life: 2 initial_coeff: 0 final_coeff: 0.1 }")
    assert 0.02 < abs(c["brightness"]).max() < 0.027 and abs(c["contrast"]).max() > 0.8
    n.forward()
    assert n.params["under_test"][0].data.item() == 2
    assert 0.045 < abs(n.blobs["y1"].data[:, NAMES.index("brightness")]).max() <= 0.05001


def test_transformations_that_leave_the_image_are_left_out(engine) -> None:
    _, c = drawn(engine, "crop_width: 8 crop_height: 8 translate_x { mean: 1 } brightness { mean: 0.5 }", num=1)
    assert c["dx"] == 0 and c["brightness"] == 0.5
    assert drawn(engine, "crop_width: 1 crop_height: 1 translate_x { mean: 1 }", num=1)[1]["dx"] == 1


@pytest.mark.parametrize("each", [True, False])
def test_mean(engine, each) -> None:
    n = fresh(net(engine, f"recompute_mean: 2 mean_per_pixel: {str(each).lower()}", [images(4, 2, 3, 5)]))
    seen = []
    for _ in range(3):
        x = n.blobs["x0"].data
        x[...] = np.random.default_rng(len(seen)).uniform(0, 1, x.shape)
        seen.append(x.copy())
        n.forward()
        mean = np.concatenate(seen[:2]).mean(0) if each else np.concatenate(seen[:2]).mean((0, 2, 3))[:, None, None]
        np.testing.assert_allclose(n.blobs["y0"].data, x - mean)
    assert [blob.data.shape for blob in n.params["under_test"]] == [(1, 1, 1, 1), (1, 2, 3, 5), (1, 2, 1, 1)]


def test_given_mean(engine, caplog) -> None:
    mean = "mean: 0.1 mean: 0.2 mean: 0.3"
    x, y = run(engine, f"{mean} mean_per_pixel: false", [images(2, 3, 2, 2)])
    np.testing.assert_allclose(y, x - np.array([0.1, 0.2, 0.3])[:, None, None])
    x, y = run(engine, mean, [images(2, 3, 2, 2)])
    np.testing.assert_array_equal(y, x)
    assert "mean has no effect" in caplog.text


@pytest.mark.parametrize("each", [True, False])
def test_weights_of_other_sizes(engine, tmp_path, each) -> None:
    param = f"recompute_mean: 1 mean_per_pixel: {str(each).lower()}"
    n = fresh(net(engine, param, [images(1, 2, 3, 5)]))
    n.forward()
    n.save(str(tmp_path / "w.caffemodel"))
    mean = n.blobs["x0"].data.mean((0, 2, 3))[:, None, None]
    other = net(engine, param, [images(1, 2, 4, 4)])
    other.copy_from(str(tmp_path / "w.caffemodel"))
    other.forward()
    np.testing.assert_allclose(other.blobs["y0"].data, other.blobs["x0"].data - mean, atol=1e-6)
    plain = net(engine, "", [images(1, 2, 4, 4)])
    plain.copy_from(str(tmp_path / "w.caffemodel"))
    assert plain.params["under_test"][0].data.item() == 1


def compiled(make_net, engine, crop):
    if engine != "torch":
        pytest.skip("only torch compiles")
    text = f"""layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 1 dim: 3 dim: 4 dim: 5 }} }} }}
        layer {{ name: "y" type: "DataAugmentation" bottom: "x" top: "y"
            augmentation_param {{ recompute_mean: 1 {crop} }} }}"""
    return make_net(text, TEST, compile=True)


@pytest.mark.slow
def test_it_can_be_compiled_if_it_does_not_crop(make_net, engine) -> None:
    net = compiled(make_net, engine, "")
    for value, wanted in ((1, 0), (3, 2)):
        net.blobs["x"].data[...] = value
        assert (net.forward()["y"] == wanted).all()


def test_it_cannot_be_compiled_if_it_crops(make_net, engine) -> None:
    net = compiled(make_net, engine, "crop_width: 2 crop_height: 2")
    with pytest.raises(EngineError, match="cannot be compiled: it computes on the host"):
        net.forward()


def test_empty_batch(engine) -> None:
    n, _ = drawn(engine, f"{DRAWN} recompute_mean: 3", num=0)
    assert n.blobs["y0"].data.shape == (0, 3, 4, 4)
    assert not n.params["under_test"][1].data.any()


@pytest.mark.parametrize(
    ("param", "bottoms", "message"),
    [
        ("crop_width: 9 crop_height: 3", [(1, 3, 8, 8)], "larger than the image, 8 x 8"),
        ("crop_width: 0 crop_height: 3", [(1, 3, 8, 8)], "the crop is 0 x 3"),
        ("crop_width: 3", [(1, 3, 8, 8)], "one of crop_width and crop_height"),
        ("", [(1, 3)], "Give images"),
        ("", [(2, 3, 8, 8), (2, 41)], "the coefficients have the shape"),
        ('gamma { rand_type: "poisson" }', [(1, 3, 8, 8)], "the rand_type of gamma is 'poisson'"),
        ("gamma { prob: 2 }", [(1, 3, 8, 8)], "the prob of gamma is 2"),
        ("chromatic_eigvec: 1", [(1, 3, 8, 8)], "chromatic_eigvec has 1 values"),
        ("crop_width: 3 crop_height: 3 gamma { mean: 2 }", [(1, 2, 8, 8)], "images of 2 channels"),
        ("crop_width: 3 crop_height: 3 gamma { mean: -2 }", [(1, 3, 8, 8)], "a gamma of -2 was drawn"),
        ("crop_width: 3 crop_height: 3 zoom { mean: 0 }", [(1, 3, 8, 8)], "a zoom of 0"),
        ("crop_width: 3 crop_height: 3 lmult_add { mean: 1 }", [(1, 3, 8, 8)], "no chromatic_eigvec"),
        ("mean: 1 mean: 2 mean: 3 mean_per_pixel: false", [(1, 2, 8, 8)], "mean has 3 values for 2 channels"),
    ],
)
def test_errors(param, bottoms, message) -> None:
    with pytest.raises(LayerError, match=message):
        run("numpy", param, [images(*shape) for shape in bottoms])
