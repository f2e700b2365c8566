from __future__ import annotations

import numpy as np
import pytest

from caffe_lite import TEST, TRAIN
from caffe_lite.errors import LayerError

from .gradient import Bottom, check, make_net, positive


def pooling(params: str, bottom: Bottom, engine: str, tops: int = 1, phase: int = TRAIN, seed: int = 0):
    layer = f'type: "Pooling" pooling_param {{ {params} }}'
    return make_net(layer, [bottom], tops, engine=engine, phase=phase, seed=seed)


def planes(*rows) -> Bottom:
    x = np.array([[rows]], float)
    return Bottom(x.shape, lambda rng: x)


def run(net, dy=None):
    """Return y of a forward pass, and dx of a backward pass from dy (ones)."""
    net.forward()
    y = net.blobs["y0"].data.copy()
    net.blobs["y0"].diff[...] = 1 if dy is None else dy
    net.backward()
    return y, net.blobs["x0"].diff


@pytest.mark.parametrize(
    ("params", "shape", "out"),
    [
        ("kernel_size: 3 stride: 2", (2, 3, 8, 7), (4, 3)),
        ("kernel_size: 3 stride: 2 round_mode: FLOOR", (2, 3, 8, 7), (3, 3)),
        ("kernel_size: 3 stride: 2 ceil_mode: false", (2, 3, 8, 7), (3, 3)),
        ("kernel_size: 2 stride: 2 pad: 1", (2, 3, 5, 4), (3, 3)),
        ("kernel_h: 2 kernel_w: 3 stride_h: 1 stride_w: 3 pad_h: 1 pad_w: 2", (1, 1, 4, 6), (5, 3)),
        ("kernel_size: 5 stride: 3", (1, 1, 3, 4), (1, 1)),
        ("global_pooling: true", (2, 3, 6, 5), (1, 1)),
        ("global_pooling: true pad: 0 stride: 1 engine: CUDNN", (2, 3, 6, 5), (1, 1)),
    ],
)
@pytest.mark.parametrize("pool", ["MAX", "AVE"])
def test_shapes_and_gradients(engine, pool, params, shape, out) -> None:
    net = pooling(f"pool: {pool} {params}", Bottom(shape), engine)
    assert net.blobs["y0"].shape == (*shape[:2], *out)
    check(net)


def test_a_mask_names_the_first_of_the_largest(engine) -> None:
    net = pooling("kernel_size: 2 stride: 2", planes([1, 5, 2], [5, 5, 2], [-3, -4, -9]), engine, tops=2)
    y, dx = run(net)
    assert y.tolist() == [[[[5, 2], [-3, -9]]]]
    assert net.blobs["y1"].data.tolist() == [[[[1, 2], [6, 8]]]]
    assert dx.tolist() == [[[[0, 1, 1], [0, 0, 0], [1, 0, 1]]]]


def test_the_mask_of_padded_windows_counts_without_the_padding(engine) -> None:
    net = pooling("kernel_size: 2 stride: 2 pad: 1", planes([-1, -2, -3], [-4, -5, -6], [-7, -8, -9]), engine, tops=2)
    net.forward()
    assert net.blobs["y0"].data.tolist() == [[[[-1, -2], [-4, -5]]]]
    assert net.blobs["y1"].data.tolist() == [[[[0, 1], [3, 4]]]]


@pytest.mark.parametrize("pool", ["MAX", "AVE", "STOCHASTIC"])
@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_a_window_past_the_edge_is_empty(engine, pool, phase) -> None:
    net = pooling(
        f"pool: {pool} kernel_size: 1 stride: 3", planes([7, 2, 2], [2, 2, 2], [2, 2, 2]), engine, phase=phase
    )
    y, dx = run(net)
    assert y.tolist() == [[[[7, 0], [0, 0]]]]
    assert dx.tolist() == [[[[1, 0, 0], [0, 0, 0], [0, 0, 0]]]]


def test_the_mask_of_an_empty_window(engine) -> None:
    net = pooling("kernel_size: 1 stride: 3", planes([-7, 2, 2], [2, 2, 2], [2, 2, 2]), engine, tops=2)
    net.forward()
    assert net.blobs["y1"].data.tolist() == [[[[0, -1], [-1, -1]]]]


def test_a_mean_counts_the_padding_and_nothing_beyond(engine) -> None:
    net = pooling("pool: AVE kernel_size: 3 stride: 2 pad: 1", planes([12] * 4, [12] * 4, [12] * 4, [12] * 4), engine)
    net.forward()
    # Windows start at -1, 1 and 3. Of their 3 rows, 2, 3 and 1 are in the image; 3, 3 and 2 are in image and padding.
    part = np.array([2 / 3, 1, 1 / 2])
    np.testing.assert_allclose(net.blobs["y0"].data[0, 0], 12 * np.outer(part, part))


def test_global_pooling_follows_the_image(engine) -> None:
    net = pooling("pool: AVE global_pooling: true", Bottom((2, 3, 6, 5)), engine)
    net.blobs["x0"].reshape(1, 3, 2, 9)
    net.blobs["x0"].data[...] = np.arange(54.0).reshape(1, 3, 2, 9)
    net.forward()
    np.testing.assert_allclose(net.blobs["y0"].data.ravel(), [8.5, 26.5, 44.5])
    check(net)


def test_stochastic_draws_in_proportion(engine) -> None:
    x = np.broadcast_to(np.array([[0.0, 1.0], [3.0, 4.0]]), (4000, 1, 2, 2))
    net = pooling("pool: STOCHASTIC kernel_size: 2", Bottom(x.shape, lambda rng: x), engine)
    y, dx = run(net)
    frequency = [(y == value).mean() for value in (0, 1, 3, 4)]
    # Standard deviations are below 0.008.
    np.testing.assert_allclose(frequency, [0, 1 / 8, 3 / 8, 4 / 8], atol=0.03)
    assert frequency[0] == 0
    np.testing.assert_array_equal(dx.reshape(4000, 4) @ [0, 1, 3, 4], y.ravel())
    assert (dx.sum((1, 2, 3)) == 1).all()


def test_stochastic_draws_anew_in_every_pass_and_again_from_a_seed(engine) -> None:
    first, second, other = (
        pooling("pool: STOCHASTIC kernel_size: 3", positive(50, 1, 3, 3), engine, seed=seed) for seed in (1, 1, 2)
    )
    other.blobs["x0"].data[...] = second.blobs["x0"].data[...] = first.blobs["x0"].data
    draws = [run(net)[0] for net in (first, second, other, first)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any() and (draws[0] != draws[3]).any()


def test_stochastic_in_test_expects_what_would_be_drawn(engine) -> None:
    net = pooling(
        "pool: STOCHASTIC kernel_size: 2 stride: 2", planes([1, 3, 0], [0, 4, 0], [2, 2, 5]), engine, phase=TEST
    )
    y, dx = run(net)
    np.testing.assert_allclose(y, [[[[26 / 8, 0], [2, 5]]]])
    assert np.isfinite(dx).all()


@pytest.mark.parametrize("phase", [TRAIN, TEST])
@pytest.mark.parametrize("params", ["kernel_size: 2 stride: 2", "kernel_size: 3 stride: 2", "global_pooling: true"])
def test_gradients_of_stochastic(engine, phase, params) -> None:
    check(pooling(f"pool: STOCHASTIC {params}", positive(2, 3, 6, 5), engine, phase=phase))


@pytest.mark.parametrize("pool", ["MAX", "AVE"])
@pytest.mark.parametrize(
    ("params", "shape", "windows"),
    [
        ("kernel_size: 2 dilation: 3 stride: 2", (2, 3, 8, 7), ((2, 2), (2, 2), (0, 0), (3, 3))),
        ("kernel_size: 3 dilation: 2 dilation: 1 pad: 1", (2, 3, 6, 7), ((3, 3), (1, 1), (1, 1), (2, 1))),
        ("kernel_size: 3 stride: 2 pad: 1", (2, 3, 7), ((3,), (2,), (1,), (1,))),
        (
            "kernel_size_3d: [1, 2, 3] stride_3d: [1, 2, 2] pad_3d: [0, 1, 1]",
            *((1, 2, 2, 5, 6), ((1, 2, 3), (1, 2, 2), (0, 1, 1), (1, 1, 1))),
        ),
        ("kernel_size_3d: 2 stride_3d: 2", (1, 2, 4, 3, 5), ((2, 2, 2), (2, 2, 2), (0, 0, 0), (1, 1, 1))),
    ],
)
def test_windows_with_gaps_and_of_more_axes(engine, pool, params, shape, windows) -> None:
    net = pooling(f"pool: {pool} {params}", Bottom(shape), engine, tops=2 if pool == "MAX" else 1)
    net.forward()
    x, y = net.blobs["x0"].data, net.blobs["y0"].data
    for place in np.ndindex(*y.shape):
        met, outside = [], 0
        for tap in np.ndindex(*windows[0]):
            at = tuple(p * s - pad + t * d for p, t, _, s, pad, d in zip(place[2:], tap, *windows, strict=True))
            if all(0 <= a < n for a, n in zip(at, x.shape[2:], strict=True)):
                met.append(at)
            elif all(a < n + pad for a, n, pad in zip(at, x.shape[2:], windows[2], strict=True)):
                outside += 1
        values = [x[(*place[:2], *at)] for at in met]
        if pool == "AVE":
            np.testing.assert_allclose(y[place], sum(values) / (len(met) + outside), atol=1e-12)
        else:
            assert y[place] == max(values)
            largest = met[int(np.argmax(values))]
            assert net.blobs["y1"].data[place] == np.ravel_multi_index(largest, x.shape[2:])
    check(net)


def test_sizes_may_be_given_for_each_axis(make_net) -> None:
    net = make_net("""
        layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [1, 2, 2, 4, 6] } } }
        layer { name: "y" type: "Pooling" bottom: "x" top: "y"
          pooling_param { kernel_size: 1 stride: 1 kernel_size: 2 kernel_size: 3 stride: 2 stride: 3 pad: 0 } }""")
    assert net.blobs["y"].shape == (1, 2, 2, 2, 2)
    x = np.arange(96.0).reshape(1, 2, 2, 4, 6)
    np.testing.assert_array_equal(net.forward(x=x)["y"], x[..., 1::2, 2::3])


@pytest.mark.parametrize(
    ("params", "shape", "message"),
    [
        ("", (1, 2, 5, 5), "no kernel_size is given. Give kernel_size, or both kernel_h and kernel_w"),
        ("kernel_w: 3", (1, 2, 5, 5), "kernel_size is 0 x 3, which must be at least 1 along every axis"),
        ("kernel_size: 3 kernel_h: 3 kernel_w: 3", (1, 2, 5, 5), "kernel_size is given together with kernel_h or"),
        ("kernel_size: 3 stride: 0", (1, 2, 5, 5), "stride is 0 x 0, which must be at least 1 along every axis"),
        ("kernel_size: 2 pad: 2", (1, 2, 5, 5), "pad 2 x 2 is not smaller than the kernel 2 x 2"),
        ("kernel_h: 3 kernel_w: 1 pad: 1", (1, 2, 5, 5), "pad 1 x 1 is not smaller than the kernel 3 x 1"),
        ("kernel_size: 2 pad: 1 pool: STOCHASTIC", (1, 2, 5, 5), "STOCHASTIC pooling takes no padding"),
        ("kernel_size: 7", (1, 2, 5, 5), "no window of 7 x 7 with pad 0 x 0 fits into an image of 5 x 5"),
        ("global_pooling: true kernel_size: 5", (1, 2, 5, 5), "global_pooling is set together with kernel_size"),
        ("global_pooling: true stride: 2 pad_h: 1", (1, 2, 5, 5), "global_pooling is set together with stride and"),
        ("kernel_size: 2", (1, 5), "the bottom's shape (1, 5) has 2 axes. Pooling needs 3 or more: (N, C, H, W)"),
        ("kernel_size_3d: [2, 2]", (1, 2, 5), "kernel_size is given 2 times for 1 spatial axes"),
        ("kernel_size: 2 dilation: 5", (1, 2, 5, 5), "no window of 2 x 2 with pad 0 x 0 and dilation 5 x 5 fits into"),
        ("kernel_h: 2 kernel_w: 2", (1, 2, 5, 5, 5), "kernel_h and kernel_w are for 2 spatial axes, the bottom has 3"),
    ],
)  # fmt: skip
def test_what_makes_no_sense(engine, params, shape, message) -> None:
    with pytest.raises(LayerError) as caught:
        pooling(params, Bottom(shape), engine)
    assert str(caught.value).startswith(f'layer "under_test" (Pooling): {message}')


@pytest.mark.parametrize("pool", ["AVE", "STOCHASTIC"])
def test_only_max_has_a_mask(engine, pool) -> None:
    with pytest.raises(LayerError, match=f"{pool} pooling has no mask for a second top"):
        pooling(f"pool: {pool} kernel_size: 2", Bottom((1, 2, 4, 4)), engine, tops=2)


@pytest.mark.parametrize("params", ["pool: AVE avg_include_pad: false", "pool: AVE_EXC_PAD", "pool: AVE_TF"])
def test_a_mean_may_leave_out_the_padding(engine, params) -> None:
    net = pooling(f"{params} kernel_size: 3 stride: 2 pad: 1", Bottom((2, 3, 5, 4)), engine)
    net.forward()
    x, y = net.blobs["x0"].data, net.blobs["y0"].data
    for h, w in np.ndindex(*y.shape[2:]):
        window = x[:, :, max(0, 2 * h - 1) : 2 * h + 2, max(0, 2 * w - 1) : 2 * w + 2]
        np.testing.assert_allclose(y[:, :, h, w], window.mean((2, 3)), atol=1e-12)
    check(net)
