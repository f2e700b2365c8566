from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite.errors import LayerError

from .gradient import Bottom, make_net
from .test_roi_pooling import half_up, random_regions


def bins(x: np.ndarray, rois: np.ndarray, group: int, scale: float):
    """Yield each region and bin, its channels, rows and columns, in the arithmetic of x."""
    kind = x.dtype.type
    height, width = x.shape[2:]
    for r, (n, *corners) in enumerate(rois.astype(x.dtype)):
        left, top = (kind(half_up(v)) * kind(scale) for v in corners[:2])
        right, bottom = (kind(half_up(v) + 1) * kind(scale) for v in corners[2:])
        bin_w, bin_h = (max(size, kind(0.1)) / kind(group) for size in (right - left, bottom - top))
        for i, j in np.ndindex(group, group):
            rows = [math.floor(kind(i) * bin_h + top), math.ceil(kind(i + 1) * bin_h + top)]
            columns = [math.floor(kind(j) * bin_w + left), math.ceil(kind(j + 1) * bin_w + left)]
            channels = [(c * group + i) * group + j for c in range(x.shape[1] // group**2)]
            (a, b), (c, d) = np.clip(rows, 0, height), np.clip(columns, 0, width)
            yield (r, i, j), int(n), channels, slice(a, max(a, b)), slice(c, max(c, d))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_any_regions(data: st.DataObject, engine: str, dtype: str) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    n, outputs, group = (data.draw(st.integers(1, 3)) for _ in range(3))
    height, width, scale = (
        data.draw(st.integers(1, 12)),
        data.draw(st.integers(1, 12)),
        data.draw(st.sampled_from([1, 0.125])),
    )
    rois = random_regions(rng, data.draw(st.integers(0, 6)), n, width / scale, height / scale)
    text = f"spatial_scale: {scale} output_dim: {outputs} group_size: {group}"
    bottoms = [Bottom((n, outputs * group**2, height, width)), Bottom(rois.shape, lambda _: rois)]
    net = make_net(f'type: "PSROIPooling" psroi_pooling_param {{ {text} }}', bottoms, engine=engine, dtype=dtype)
    net.forward()
    x, y = net.blobs["x0"].data, net.blobs["y0"].data
    wanted, dx = np.zeros(y.shape), np.zeros(x.shape)
    dy = rng.standard_normal(y.shape)
    assert y.shape == (len(rois), outputs, group, group)
    for (r, i, j), image, channels, rows, columns in bins(x, rois, group, scale):
        for c, channel in enumerate(channels):
            part = x[image, channel, rows, columns]
            if part.size:
                wanted[r, c, i, j] = part.mean(dtype=float)
                dx[image, channel, rows, columns] += dy[r, c, i, j] / part.size
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-6)
    net.blobs["y0"].diff[...] = dy
    net.backward()
    np.testing.assert_allclose(net.blobs["x0"].diff, dx, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("param", "channels", "message"),
    [
        ("spatial_scale: 1 output_dim: 2 group_size: 3", 12,
         "the first bottom has 12 channels. output_dim 2 and group_size 3 need 2 x 3 x 3 = 18"),
        ("spatial_scale: 1 output_dim: 2", 2, "output_dim is 2, group_size is 0"),
        ("output_dim: 2 group_size: 1", 2, "spatial_scale is 0. Give the size of the bottom relative to"),
    ],
)  # fmt: skip
def test_what_makes_no_sense(engine: str, param: str, channels: int, message: str) -> None:
    with pytest.raises(LayerError) as error:
        make_net(
            f'type: "PSROIPooling" psroi_pooling_param {{ {param} }}',
            [Bottom((1, channels, 4, 4)), Bottom((2, 5))],
            engine=engine,
        )
    assert message in str(error.value)
