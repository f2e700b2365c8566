from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom, check, make_net


def lrn(params: str, shape: tuple[int, ...], engine: str):
    return make_net(f'type: "LRN" lrn_param {{ {params} }}', [Bottom(shape)], engine=engine)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_across_channels(engine, size) -> None:
    net = lrn(f"local_size: {size} alpha: 0.5 beta: 0.6 k: 2", (2, 4, 3, 2), engine)
    net.forward()
    x = net.blobs["x0"].data
    half = size // 2
    for c in range(4):
        around = x[:, max(0, c - half) : c + half + 1]
        scale = 2 + 0.5 / size * (around**2).sum(1)
        np.testing.assert_allclose(net.blobs["y0"].data[:, c], x[:, c] * scale ** -np.float32(0.6), rtol=1e-7)
    check(net)


@pytest.mark.parametrize(("size", "shape"), [(1, (2, 3, 3, 2)), (3, (2, 2, 5, 4)), (5, (1, 2, 3, 3))])
def test_within_a_channel(engine, size, shape) -> None:
    net = lrn(f"local_size: {size} alpha: 0.5 beta: 0.6 norm_region: WITHIN_CHANNEL", shape, engine)
    net.forward()
    x, y = net.blobs["x0"].data, net.blobs["y0"].data
    half = size // 2
    for h, w in np.ndindex(*shape[2:]):
        rows, columns = (range(max(0, i - half), min(n, i + half + 1)) for i, n in zip((h, w), shape[2:], strict=True))
        total = (x[:, :, rows.start : rows.stop, columns.start : columns.stop] ** 2).sum((2, 3))
        # Every window is within image and padding, so the mean is over all size * size values.
        scale = 1 + 0.5 * total / size**2
        np.testing.assert_allclose(y[:, :, h, w], x[:, :, h, w] * scale ** -np.float32(0.6), rtol=1e-7)
    check(net)


def test_within_a_channel_k_has_no_meaning(engine) -> None:
    nets = [lrn(f"norm_region: WITHIN_CHANNEL k: {k}", (1, 2, 4, 4), engine) for k in (1, 7)]
    for net in nets:
        net.forward()
    np.testing.assert_array_equal(nets[0].blobs["y0"].data, nets[1].blobs["y0"].data)


@pytest.mark.parametrize("region", ["ACROSS_CHANNELS", "WITHIN_CHANNEL"])
def test_default_sizes(engine, region) -> None:
    implied = lrn(f"norm_region: {region}", (1, 6, 6, 6), engine)
    explicit = lrn(f"norm_region: {region} local_size: 5 alpha: 1 beta: 0.75 k: 1", (1, 6, 6, 6), engine)
    implied.forward()
    explicit.forward()
    np.testing.assert_array_equal(implied.blobs["y0"].data, explicit.blobs["y0"].data)


@pytest.mark.parametrize(
    ("params", "shape", "message"),
    [
        ("local_size: 4", (1, 2, 3, 3), "local_size is 4. It must be odd, so that it has a middle"),
        ("local_size: 0 norm_region: WITHIN_CHANNEL", (1, 2, 3, 3), "local_size is 0"),
        ("", (2, 3), "the bottom's shape (2, 3) has 2 axes. LRN needs 4: (N, C, H, W)"),
    ],
)
def test_what_makes_no_sense(engine, params, shape, message) -> None:
    with pytest.raises(LayerError) as caught:
        lrn(params, shape, engine)
    assert str(caught.value).startswith(f'layer "under_test" (LRN): {message}')


def test_pooling_may_follow_in_the_layer(make_net) -> None:
    bottom = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [2, 5, 6, 7] } } }'
    pooling = "pooling_param { kernel_size: 3 stride: 2 }"
    one = make_net(f"""{bottom}
        layer {{ name: "y" type: "LRN" bottom: "x" top: "y" lrn_param {{ fuse_type: FUSED_POOL_MAX {pooling} }} }}""")
    two = make_net(f"""{bottom}
        layer {{ name: "n" type: "LRN" bottom: "x" top: "n" }}
        layer {{ name: "y" type: "Pooling" bottom: "n" top: "y" {pooling} }}""")
    x = np.random.default_rng(0).standard_normal((2, 5, 6, 7))
    np.testing.assert_array_equal(one.forward(x=x)["y"], two.forward(x=x)["y"])


def test_only_max_pooling_may_follow(make_net) -> None:
    with pytest.raises(LayerError, match="not plain MAX pooling"):
        make_net("""layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [1, 5, 6, 7] } } }
            layer { name: "y" type: "LRN" bottom: "x" top: "y"
              lrn_param { fuse_type: FUSED_POOL_MAX pooling_param { pool: AVE kernel_size: 2 } } }""")
