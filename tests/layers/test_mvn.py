from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .gradient import Bottom, check, make_net


def mvn(engine: str, shape: tuple[int, ...], param: str = "", chain: str | None = None):
    return make_net(f'type: "MVN" mvn_param {{ {param} }}', [Bottom(shape)], engine=engine, chain=chain)


@settings(deadline=None, max_examples=20)
@given(shape=st.lists(st.integers(1, 4), max_size=5).map(tuple), across=st.booleans(), variance=st.booleans())
def test_any_shape(shape, across, variance, engine) -> None:
    flags = f"across_channels: {str(across).lower()} normalize_variance: {str(variance).lower()}"
    net = mvn(engine, shape, f"{flags} eps: 1e-9")
    net.forward()
    x, y = net.blobs["x0"].data.reshape(*shape, *[1] * (4 - len(shape))), net.blobs["y0"].data
    assert y.shape == x.shape
    axes = tuple(range(1 if across else 2, x.ndim))
    expected = x - x.mean(axes, keepdims=True)
    if variance:
        expected = expected / (expected.std(axes, keepdims=True) + 1e-9)
    np.testing.assert_allclose(y, expected, rtol=1e-9, atol=1e-9)
    if not variance or np.prod(x.shape[axes[0] :]) > 1:  # the deviation of a single number is 0: a kink
        check(net)


def test_the_top_has_four_axes_but_in_place_those_of_the_bottom(engine) -> None:
    assert mvn(engine, (4, 6)).blobs["y0"].shape == (4, 6, 1, 1)
    apart, in_place = (mvn(engine, (4, 6), "across_channels: true", chain) for chain in ("apart", "in place"))
    results = []
    for net in (apart, in_place):
        net.forward()
        (top,) = net.outputs
        net.blobs[top].diff[...] = np.linspace(-1, 1, 24).reshape(net.blobs[top].shape)
        net.backward()
        results.append((net.blobs[top].data.reshape(4, 6), net.blobs["x0"].diff))
    assert in_place.blobs["a"].shape == (4, 6)
    for mine, other in zip(*results, strict=True):
        assert mine.any()
        np.testing.assert_array_equal(mine, other)


def test_eps_is_added_to_the_deviation(engine) -> None:
    net = mvn(engine, (1, 1, 1, 2), "eps: 0.5")
    net.blobs["x0"].data[...] = [1, 4]
    net.forward()
    np.testing.assert_allclose(net.blobs["y0"].data.ravel(), [-0.75, 0.75])
    net.blobs["y0"].diff[...] = [1, 0]
    net.backward()
    # With eps 0 the gradient would be 0 here; the original's keeps the part that eps takes from y.
    np.testing.assert_allclose(net.blobs["x0"].diff.ravel(), [0.109375, -0.109375])


@pytest.mark.parametrize("across", ["true", "false"])
def test_equal_values_become_zeros(engine, across) -> None:
    net = mvn(engine, (2, 3, 2, 2), f"across_channels: {across}")
    net.blobs["x0"].data[...] = 0.5
    net.forward()
    assert not net.blobs["y0"].data.any()
