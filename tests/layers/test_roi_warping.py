from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from .gradient import Bottom, make_net
from .test_roi_align import interpolated
from .test_roi_pooling import half_up, random_regions


def warped(x: np.ndarray, corners: np.ndarray, images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the values for corners that are scaled and rounded already."""
    y = np.zeros((len(corners), x.shape[1], *size))
    for r, (x1, y1, x2, y2) in enumerate(corners):
        for i, j in np.ndindex(*size):
            point = y1 + i * max(y2 - y1, 0) / size[0], x1 + j * max(x2 - x1, 0) / size[1]
            y[r, :, i, j] = interpolated(x[int(images[r])], *point)
    return y


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_any_regions(data: st.DataObject, engine: str) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    n, channels, height, width = (data.draw(st.integers(1, most)) for most in (2, 3, 7, 7))
    size = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    scale = data.draw(st.sampled_from([1, 0.25]))
    rois = random_regions(rng, data.draw(st.integers(0, 4)), n, width / scale, height / scale)
    text = f"pooled_h: {size[0]} pooled_w: {size[1]} spatial_scale: {scale}"
    bottoms = [Bottom((n, channels, height, width)), Bottom(rois.shape, lambda _: rois)]
    net = make_net(f'type: "ROIWarping" roi_warping_param {{ {text} }}', bottoms, engine=engine)
    net.forward()
    x = net.blobs["x0"].data.copy()
    corners = np.array([[half_up(v * scale) for v in roi[1:]] for roi in rois], float).reshape(-1, 4)
    np.testing.assert_allclose(net.blobs["y0"].data, warped(x, corners, rois[:, 0], size), atol=1e-12)

    net.blobs["y0"].diff[...] = dy = rng.standard_normal(net.blobs["y0"].shape)
    net.backward()
    direction, step = rng.standard_normal(x.shape), 1e-6
    change = warped(x + step * direction, corners, rois[:, 0], size) - warped(
        x - step * direction, corners, rois[:, 0], size
    )
    np.testing.assert_allclose((net.blobs["x0"].diff * direction).sum(), (change * dy).sum() / (2 * step), atol=1e-6)
    assert not net.blobs["x1"].diff[:, 0].any()


def test_the_gradient_of_the_corners(engine: str) -> None:
    """That of corners which are not rounded, at corners away from where the values have kinks."""
    rng = np.random.default_rng(2)
    rois = np.array([[0, 8, 4, 36, 24], [1, 0, 12, 20, 12], [0, 30, 20, 4, 28], [1, -40, 0, -20, 8]])
    bottoms = [Bottom((2, 3, 8, 11)), Bottom(rois.shape, lambda _: rois)]
    text = 'type: "ROIWarping" roi_warping_param { pooled_h: 3 pooled_w: 5 spatial_scale: 0.25 }'
    net = make_net(text, bottoms, engine=engine)
    net.forward()
    net.blobs["y0"].diff[...] = dy = rng.standard_normal(net.blobs["y0"].shape)
    net.backward()
    x, images = net.blobs["x0"].data.copy(), rois[:, 0]
    corners = np.array([[half_up(v * 0.25) for v in roi[1:]] for roi in rois], float)
    wanted, step = np.zeros(rois.shape), 1e-6
    for r, k in np.ndindex(*corners.shape):
        moved = corners.copy()
        moved[r, k] += step  # from a pixel on to the right or down, as the layer has its derivatives
        change = warped(x, moved, images, (3, 5)) - warped(x, corners, images, (3, 5))
        wanted[r, 1 + k] = (change * dy).sum() / step * 0.25
    inverted = corners[:, 2:] <= corners[:, :2]
    wanted[:, 3:][inverted] = 0
    np.testing.assert_allclose(net.blobs["x1"].diff, wanted, atol=1e-4)
