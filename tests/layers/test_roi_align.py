from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite.errors import LayerError

from .gradient import Bottom, check, make_net
from .test_roi_pooling import random_regions


def interpolated(image: np.ndarray, y: float, x: float) -> np.ndarray:
    """Return the values (C,) of an image (C, H, W) at a point."""
    height, width = image.shape[1:]
    if not (-0.5 <= y <= height - 0.5 and -0.5 <= x <= width - 0.5):
        return np.zeros(len(image))
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    total = np.zeros(len(image))
    for i, j in np.ndindex(height, width):
        total += max(0, 1 - abs(y - i)) * max(0, 1 - abs(x - j)) * image[:, i, j]
    return total


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_corners_of_bins(data: st.DataObject, engine: str) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    n, channels, height, width = (data.draw(st.integers(1, most)) for most in (2, 3, 7, 7))
    size = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    scale, pad = data.draw(st.sampled_from([1, 0.25])), data.draw(st.sampled_from([0, 0.5]))
    rois = random_regions(rng, data.draw(st.integers(0, 4)), n, width / scale, height / scale)
    text = f"pooled_h: {size[0]} pooled_w: {size[1]} spatial_scale: {scale} pad_ratio: {pad}"
    bottoms = [Bottom((n, channels, height, width)), Bottom(rois.shape, lambda _: rois)]
    net = make_net(f'type: "ROIAlign" roi_pooling_param {{ {text} }}', bottoms, engine=engine)
    check(net)
    net.forward()
    x, y = net.blobs["x0"].data, net.blobs["y0"].data
    wanted = np.zeros((len(rois), channels, size[0] + 1, size[1] + 1))
    for r, (image, x1, y1, x2, y2) in enumerate(rois):
        pad_w, pad_h = (x2 - x1 + 1) * pad, (y2 - y1 + 1) * pad
        left, right = (v * scale - 0.5 for v in (x1 - pad_w, x2 + pad_w))
        top, bottom = (v * scale - 0.5 for v in (y1 - pad_h, y2 + pad_h))
        if right > left and bottom > top:
            for i, j in np.ndindex(size[0] + 1, size[1] + 1):
                point = top + i * (bottom - top) / size[0], left + j * (right - left) / size[1]
                wanted[r, :, i, j] = interpolated(x[int(image)], *point)
    np.testing.assert_allclose(y, wanted, atol=1e-12)


def sampled(x: np.ndarray, roi: np.ndarray, size: tuple[int, int], scale: float) -> np.ndarray:
    """Compute Synopsys' definition, sample by sample and pixel by pixel."""
    height, width = x.shape[2:]
    x1, y1, x2, y2 = roi[1:] * scale
    bin_h, bin_w = max(y2 - y1 + 1, 1) / size[0], max(x2 - x1 + 1, 1) / size[1]
    y = np.zeros((x.shape[1], *size))
    for i, j in np.ndindex(*size):
        top, bottom = (min(max(k * bin_h + y1, 0), height) for k in (i, i + 1))
        left, right = (min(max(k * bin_w + x1, 0), width) for k in (j, j + 1))
        if bottom <= top or right <= left:
            continue
        places = [
            (a, b)
            for a in range(math.ceil(top), math.floor(bottom) + 1)
            for b in range(math.ceil(left), math.floor(right) + 1)
            if a < height and b < width
        ][:4]
        sums = []
        for sx, sy in ((-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5)):
            total = np.zeros(x.shape[1])
            for a, b in places:
                v = 0 if y2 == y1 else min(max(2 * (a - y1) / (y2 - y1) - 1, -1), 1)
                u = 0 if x2 == x1 else min(max(2 * (b - x1) / (x2 - x1) - 1, -1), 1)
                total += max(0, 1 - abs(sx - u)) * max(0, 1 - abs(sy - v)) * x[int(roi[0]), :, a, b]
            sums.append(total)
        y[:, i, j] = np.max(sums, 0)
    return y


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_the_largest_of_four_samples(data: st.DataObject, engine: str) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    n, channels, height, width = (data.draw(st.integers(1, most)) for most in (2, 3, 7, 7))
    size = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    scale = data.draw(st.sampled_from([1, 0.25]))
    rois = random_regions(rng, data.draw(st.integers(1, 4)), n, width / scale, height / scale)
    if data.draw(st.booleans()):
        rois = rois.round()
    text = f"pooled_h: {size[0]} pooled_w: {size[1]} spatial_scale: {scale}"
    bottoms = [Bottom((n, channels, height, width)), Bottom(rois.shape, lambda _: rois)]
    net = make_net(f'type: "ROIAlign" roi_align_param {{ {text} }}', bottoms, engine=engine)
    net.forward()
    x, y = net.blobs["x0"].data, net.blobs["y0"].data
    np.testing.assert_allclose(y, [sampled(x, roi, size, scale) for roi in rois], atol=1e-12)


@pytest.mark.parametrize("message", ["roi_pooling_param", "roi_align_param"])
def test_what_makes_no_sense(engine: str, message: str) -> None:
    with pytest.raises(LayerError, match="pooled_h is 2, pooled_w is 0"):
        make_net(f'type: "ROIAlign" {message} {{ pooled_h: 2 }}', [Bottom((1, 2, 4, 4)), Bottom((2, 5))], engine=engine)
