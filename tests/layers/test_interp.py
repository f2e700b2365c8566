from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom, make_net


def interp(param: str, engine: str, *shapes, **kw):
    bottoms = [Bottom(shape) for shape in shapes]
    net = make_net(f'type: "Interp" interp_param {{ {param} }}', bottoms, engine=engine, dtype="float32", **kw)
    net.forward()
    return net


def interpolated(plane: np.ndarray, out: tuple[int, int]) -> np.ndarray:
    """Return a plane in another size, with its corners at the corners, one place after the other."""
    (h, w), y = plane.shape, np.empty(out)
    for i, j in np.ndindex(out):
        u = i * (h - 1) / (out[0] - 1) if out[0] > 1 else 0
        v = j * (w - 1) / (out[1] - 1) if out[1] > 1 else 0
        top, left = min(int(u), h - 1), min(int(v), w - 1)
        below, right = min(top + 1, h - 1), min(left + 1, w - 1)
        u, v = u - top, v - left
        y[i, j] = (1 - u) * ((1 - v) * plane[top, left] + v * plane[top, right])
        y[i, j] += u * ((1 - v) * plane[below, left] + v * plane[below, right])
    return y


@pytest.mark.parametrize("out", [(7, 9), (3, 2), (1, 5), (4, 1), (5, 6), (13, 11)])
def test_values(out, engine) -> None:
    net = interp(f"height: {out[0]} width: {out[1]}", engine, (2, 3, 5, 6))
    for x, y in zip(net.blobs["x0"].data.reshape(6, 5, 6), net.blobs["y0"].data.reshape(6, *out), strict=True):
        np.testing.assert_allclose(y, interpolated(x, out), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("param", "shape", "out"),
    [
        ("shrink_factor: 2", (5, 6), (3, 3)),
        ("shrink_factor: 2 height: 9 width: 9", (5, 6), (3, 3)),
        ("zoom_factor: 3", (5, 6), (13, 16)),
        ("zoom_factor: 3 height: 9 width: 9", (5, 6), (13, 16)),
        ("height: 9 width: 8", (5, 6), (9, 8)),
        ("height: 9 width: 8 shrink_factor: 2 zoom_factor: 3", (5, 6), (9, 8)),
        ("shrink_factor: 2 zoom_factor: 3", (5, 6), (7, 7)),
        ("full_zoom_factor: 2", (5, 6), (10, 12)),
        ("full_zoom_factor: 2 height: 9 width: 8", (5, 6), (9, 8)),
        ("shrink_factor: 2 pad_beg: -1 pad_end: -1", (5, 6), (2, 2)),
    ],
)
def test_the_first_rule_that_applies_gives_the_size(param, shape, out, engine) -> None:
    assert interp(param, engine, (1, 2, *shape)).blobs["y0"].shape == (1, 2, *out)


def test_negative_padding_crops(engine) -> None:
    net = interp("height: 4 width: 7 pad_beg: -1 pad_end: -2", engine, (1, 1, 6, 8))
    wanted = interpolated(net.blobs["x0"].data[0, 0, 1:4, 1:6], (4, 7))
    np.testing.assert_allclose(net.blobs["y0"].data[0, 0], wanted, rtol=1e-4, atol=1e-5)


def test_the_size_of_a_blob(engine) -> None:
    net = interp("use_blob_size: true height: 2 width: 2", engine, (2, 3, 2, 2), (1, 7, 4, 5))
    assert net.blobs["y0"].shape == (2, 3, 4, 5)
    net.blobs["x1"].reshape(1, 1, 3, 3)
    net.forward()
    assert net.blobs["y0"].shape == (2, 3, 3, 3)


@pytest.mark.parametrize(
    ("param", "shapes", "message"),
    [
        ("", [(1, 1, 2, 2)], "it has no size"),
        ("height: 3", [(1, 1, 2, 2)], "it has no size"),
        ("height: 3 width: 0", [(1, 1, 2, 2)], "the size of the top is 3 x 0"),
        ("zoom_factor: 0", [(1, 1, 2, 2)], "zoom_factor is 0"),
        ("zoom_factor: 2 pad_end: 1", [(1, 1, 2, 2)], "pad_end is 1"),
        ("zoom_factor: 2 pad_end: -2", [(1, 1, 2, 2)], r"nothing is left of the bottom's shape \(1, 1, 2, 2\)"),
        ("zoom_factor: 2", [(2, 2)], r"shape \(2, 2\) has 2 axes"),
        ("use_blob_size: true", [(1, 1, 2, 2)], "there is one bottom"),
        ("zoom_factor: 2", [(1, 1, 2, 2)] * 2, "use_blob_size is false"),
    ],
)
def test_errors(param, shapes, message, engine) -> None:
    with pytest.raises(LayerError, match=message):
        interp(param, engine, *shapes)
