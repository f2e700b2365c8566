from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom, make_net


def darknet(x, stride, reverse):
    """Darknet's order, one value after the other: ``reverse`` spreads the channels of x, or else gathers them."""
    n, c, h, w = x.shape
    inner = c // stride**2
    flat, out = x.ravel(), np.zeros(x.size)
    for b, k, j, i in np.ndindex(n, c, h, w):
        near = i + w * (j + h * (k + c * b))
        k2, offset = k % inner, k // inner
        i2, j2 = i * stride + offset % stride, j * stride + offset // stride
        far = i2 + w * stride * (j2 + h * stride * (k2 + inner * b))
        if reverse:
            out[far] = flat[near]
        else:
            out[near] = flat[far]
    if reverse:
        return out.reshape(n, inner, h * stride, w * stride)
    return out.reshape(n, c * stride**2, h // stride, w // stride)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("stride", "shape"), [(2, (2, 8, 4, 6)), (3, (1, 9, 3, 6)), (1, (2, 3, 2, 1))])
def test_the_order_is_darknets(reverse: bool, stride: int, shape: tuple[int, ...], engine: str) -> None:
    x = np.random.default_rng(0).permutation(np.prod(shape)).reshape(shape).astype(float)
    param = f"reorg_param {{ stride: {stride} reverse: {str(reverse).lower()} }}"
    net = make_net(f'type: "Reorg" {param}', [Bottom(shape, lambda rng: x)], engine=engine)
    net.forward()
    np.testing.assert_array_equal(net.blobs["y0"].data, darknet(x, stride, reverse))


def test_the_gradient_is_put_back(engine: str) -> None:
    """The original's is 0."""
    net = make_net('type: "Reorg" reorg_param { stride: 2 }', [Bottom((2, 4, 4, 6))], engine=engine)
    net.forward()
    net.blobs["y0"].diff[...] = net.blobs["y0"].data
    net.backward()
    np.testing.assert_array_equal(net.blobs["x0"].diff, net.blobs["x0"].data)


@pytest.mark.parametrize(
    ("param", "shape", "what"),
    [
        ("", (1, 4, 2, 2), "no stride"),
        ("stride: 2", (1, 6, 2, 2), "6 channels are no multiple of 2 x 2"),
        ("stride: 2", (1, 4, 3, 2), "maps of 3 x 2 are no multiple"),
        ("stride: 2", (1, 4), "the bottom has the shape"),
    ],
)
def test_mistakes(param: str, shape: tuple[int, ...], what: str) -> None:
    with pytest.raises(LayerError, match=what):
        make_net(f'type: "Reorg" reorg_param {{ {param} }}', [Bottom(shape)], engine="numpy")
