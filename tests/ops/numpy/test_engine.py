"""The NumPy engine's faster operations give the results of base.Ops's plain formulas, for every geometry."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_lite.ops.numpy.engine import NumpyOps
from tests.ops.plain import Geometry, Plain, poolings

examples = settings(max_examples=60, deadline=None)
dtypes = st.sampled_from(["float32", "float64"])


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Geometry, int, int]:
    """Draw any geometry in which a window fits, the group, and the outputs."""
    axes = draw(st.integers(1, 3))

    def sizes(least: int, most: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(least, most)) for _ in range(axes))

    kernel, stride, pad, dilation = sizes(1, 4), sizes(1, 3), sizes(0, 3), sizes(1, 2)
    image = tuple(
        max(n, d * (k - 1) + 1 - 2 * p) for n, k, p, d in zip(sizes(1, 8), kernel, pad, dilation, strict=True)
    )
    group = draw(st.integers(1, 3))
    channels, outputs = group * draw(st.integers(1, 3)), group * draw(st.integers(1, 3))
    # Batches on both sides of the size that makes a row wide enough for its own product.
    batch = draw(st.sampled_from([1, 2, 5, 60, 210])) if axes < 3 else draw(st.sampled_from([1, 2]))
    return Geometry((batch, channels, *image), kernel, stride, pad, dilation), group, outputs


def array(draw: Any, shape: tuple[int, ...], dtype: str, ties: bool = False) -> np.ndarray:
    """Draw a read-only array of random numbers, in one of the memory orders that a layer may meet."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = rng.integers(-2, 3, shape).astype(dtype) if ties else rng.standard_normal(shape).astype(dtype)
    order = draw(st.sampled_from(["batch first", "batch last", "every other"]))
    if order == "batch last":
        values = np.moveaxis(np.ascontiguousarray(np.moveaxis(values, 0, -1)), -1, 0)
    elif order == "every other":
        values = np.repeat(values, 2, axis=-1)[..., ::2]
    values.flags.writeable = False
    return values


def assert_same(fast: Any, plain: Any, dtype: str) -> None:
    if plain is None:
        assert fast is None
        return
    assert isinstance(fast, np.ndarray), "a NumPy scalar in place of a 0-d array"
    if plain.ndim:  # NumPy 1.26 turns a 0-d array and a Python number into float64; a Blob converts it back
        assert fast.dtype == plain.dtype == np.dtype(dtype)
    size = float(np.abs(plain).max(initial=1.0))
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(fast, plain, rtol=tolerance, atol=10 * tolerance * size)


@examples
@given(convolutions(), dtypes, st.booleans(), st.data())
def test_convolution(case: tuple[Geometry, int, int], dtype: str, biased: bool, data: Any) -> None:
    g, group, outputs = case
    x = array(data.draw, g.shape, dtype)
    weight = array(data.draw, (outputs, g.shape[1] // group, *g.kernel), dtype)
    bias = array(data.draw, (outputs,), dtype) if biased else None
    where = (g.stride, g.pad, g.dilation, group)
    y = Plain(dtype).convolution(x, weight, bias, *where)
    assert_same(NumpyOps(dtype).convolution(x, weight, bias, *where), y, dtype)


@examples
@given(convolutions(), dtypes, st.tuples(st.booleans(), st.booleans(), st.booleans()), st.data())
def test_convolution_backward(
    case: tuple[Geometry, int, int], dtype: str, need: tuple[bool, bool, bool], data: Any
) -> None:
    g, group, outputs = case
    x = array(data.draw, g.shape, dtype)
    weight = array(data.draw, (outputs, g.shape[1] // group, *g.kernel), dtype)
    where = (g.stride, g.pad, g.dilation, group)
    dy = array(data.draw, NumpyOps(dtype).convolution(x, weight, None, *where).shape, dtype)
    fast = NumpyOps(dtype).convolution_backward(dy, x, weight, *where, need)
    for mine, plain in zip(fast, Plain(dtype).convolution_backward(dy, x, weight, *where, need), strict=True):
        assert_same(mine, plain, dtype)


@examples
@given(convolutions(), st.data())
def test_convolution_gradients_are_its_adjoints(case: tuple[Geometry, int, int], data: Any) -> None:
    """<dy, conv(x, w)> is bilinear: it equals <dx, x> and <dw, w>."""
    g, group, outputs = case
    ops = NumpyOps("float64")
    x = array(data.draw, g.shape, "float64")
    weight = array(data.draw, (outputs, g.shape[1] // group, *g.kernel), "float64")
    where = (g.stride, g.pad, g.dilation, group)
    y = ops.convolution(x, weight, None, *where)
    dy = array(data.draw, y.shape, "float64")
    dx, dw, db = ops.convolution_backward(dy, x, weight, *where, (True, True, True))
    assert np.sum(dx * x) == pytest.approx(np.sum(dy * y), rel=1e-9, abs=1e-7)
    assert np.sum(dw * weight) == pytest.approx(np.sum(dy * y), rel=1e-9, abs=1e-7)
    assert db == pytest.approx(dy.sum((0, *range(2, dy.ndim))), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("channels", [(16, 16), (4, 24), (24, 4)])
def test_convolution_of_an_image_as_in_a_real_net(kernel: int, channels: tuple[int, int]) -> None:
    """Test wide rows, several blocks, and both ways to compute the data gradient."""
    rng = np.random.default_rng(kernel)
    x = rng.standard_normal((32, channels[0], 14, 14))
    weight = rng.standard_normal((channels[1], channels[0], kernel, kernel))
    where = ((1, 1), (kernel // 2, kernel // 2), (1, 1), 1)
    fast, plain = NumpyOps("float64"), Plain("float64")
    y = plain.convolution(x, weight, None, *where)
    assert_same(fast.convolution(x, weight, None, *where), y, "float64")
    need = (True, True, True)
    gradients = plain.convolution_backward(y, x, weight, *where, need)
    for mine, expected in zip(fast.convolution_backward(y, x, weight, *where, need), gradients, strict=True):
        assert_same(mine, expected, "float64")


def test_convolution_gives_what_the_next_layer_reads_without_a_copy() -> None:
    ops = NumpyOps()
    x, weight = np.ones((8, 3, 6, 6), np.float32), np.ones((4, 3, 3, 3), np.float32)
    y = ops.convolution(x, weight, None, (1, 1), (0, 0), (1, 1), 1)
    pooled, _ = ops.max_pool(y, (2, 2), (2, 2), (0, 0), (2, 2))
    assert np.shares_memory(ops.reshape(pooled, (8, -1)), pooled)


@examples
@given(poolings(), dtypes, st.data())
def test_max_pool(case: tuple[Geometry, tuple[int, ...]], dtype: str, data: Any) -> None:
    g, out = case
    fast, plain = NumpyOps(dtype), Plain(dtype)
    x = array(data.draw, g.shape, dtype, ties=True)
    windows = (g.kernel, g.stride, g.pad)
    y, choice = fast.max_pool(x, *windows, out)
    expected, plain_choice = plain.max_pool(x, *windows, out)
    assert_same(y, expected, dtype)
    index = plain.max_pool_index(plain_choice, g.shape, *windows)
    assert_same(fast.max_pool_index(choice, g.shape, *windows), index, dtype)
    dy = array(data.draw, expected.shape, dtype)
    dx = plain.max_pool_backward(dy, plain_choice, g.shape, *windows)
    assert_same(fast.max_pool_backward(dy, choice, g.shape, *windows), dx, dtype)


def test_max_pool_over_more_elements_than_a_byte_counts() -> None:
    ops = NumpyOps("float64")
    x = np.zeros((1, 2, 17, 18))
    x[0, 0, 16, 17] = x[0, 1, 16, 0] = 1
    y, choice = ops.max_pool(x, (17, 18), (1, 1), (0, 0), (1, 1))
    assert y.ravel().tolist() == [1, 1]
    assert ops.max_pool_index(choice, x.shape, (17, 18), (1, 1), (0, 0)).ravel().tolist() == [305, 288]
    assert ops.max_pool_backward(y, choice, x.shape, (17, 18), (1, 1), (0, 0)).tolist() == x.tolist()


def test_max_pool_spreads_nan_and_gives_it_no_gradient() -> None:
    ops = NumpyOps("float64")
    x = np.array([1, np.nan, 2, 3]).reshape(1, 1, 2, 2)
    y, choice = ops.max_pool(x, (2, 2), (2, 2), (0, 0), (1, 1))
    assert np.isnan(y).all()
    assert ops.max_pool_index(choice, x.shape, (2, 2), (2, 2), (0, 0)).item() == -1
    assert not ops.max_pool_backward(np.ones_like(y), choice, x.shape, (2, 2), (2, 2), (0, 0)).any()


@examples
@given(poolings(), dtypes, st.data())
def test_ave_pool(case: tuple[Geometry, tuple[int, ...]], dtype: str, data: Any) -> None:
    g, out = case
    fast, plain = NumpyOps(dtype), Plain(dtype)
    x = array(data.draw, g.shape, dtype)
    windows = (g.kernel, g.stride, g.pad)
    y = plain.ave_pool(x, *windows, out)
    assert_same(fast.ave_pool(x, *windows, out), y, dtype)
    dy = array(data.draw, y.shape, dtype)
    assert_same(fast.ave_pool_backward(dy, g.shape, *windows), plain.ave_pool_backward(dy, g.shape, *windows), dtype)


@examples
@given(poolings(), dtypes, st.data())
def test_a_drawn_choice_leads_the_gradient_as_well(
    case: tuple[Geometry, tuple[int, ...]], dtype: str, data: Any
) -> None:
    g, out = case
    fast, plain = NumpyOps(dtype), Plain(dtype)
    x = np.abs(array(data.draw, g.shape, dtype))
    thresholds = np.random.default_rng(0).random((*g.shape[:2], *out)).astype(dtype)
    windows = (g.kernel, g.stride, g.pad)
    y, choice = fast.stochastic_pool(x, *windows, out, thresholds)
    dy = array(data.draw, y.shape, dtype)
    dx = plain.max_pool_backward(dy, choice, g.shape, *windows)
    assert_same(fast.max_pool_backward(dy, choice, g.shape, *windows), dx, dtype)


@examples
@given(
    st.lists(st.integers(1, 5), max_size=2), st.integers(1, 9), st.sampled_from([1, 3, 5, 7]),
    st.sampled_from([0.5, 0.75, 0.6]), dtypes, st.data(),
)  # fmt: skip
def test_lrn_across(image: list[int], channels: int, size: int, beta: float, dtype: str, data: Any) -> None:
    fast, plain = NumpyOps(dtype), Plain(dtype)
    x = array(data.draw, (2, channels, *image), dtype)
    y, scale = plain.lrn_across(x, size, 0.3, beta, 1.5)
    for mine, expected in zip(fast.lrn_across(x, size, 0.3, beta, 1.5), (y, scale), strict=True):
        assert_same(mine, expected, dtype)
    dy = array(data.draw, x.shape, dtype)
    dx = plain.lrn_across_backward(dy, x, y, scale, size, 0.3, beta)
    assert_same(fast.lrn_across_backward(dy, x, y, scale, size, 0.3, beta), dx, dtype)


@examples
@given(st.tuples(*[st.integers(1, 6)] * 3), dtypes, st.data())
def test_inner_product(sizes: tuple[int, int, int], dtype: str, data: Any) -> None:
    m, k, n = sizes
    fast, plain = NumpyOps(dtype), Plain(dtype)
    x, weight = array(data.draw, (m, k), dtype), array(data.draw, (n, k), dtype)
    for bias in (None, array(data.draw, (n,), dtype)):
        assert_same(fast.inner_product(x, weight, bias), plain.inner_product(x, weight, bias), dtype)
    dy = array(data.draw, (m, n), dtype)
    for need in ((True, True, True), (False, True, False), (True, False, False)):
        gradients = plain.inner_product_backward(dy, x, weight, need)
        for mine, expected in zip(fast.inner_product_backward(dy, x, weight, need), gradients, strict=True):
            assert_same(mine, expected, dtype)


@examples
@given(st.lists(st.integers(1, 4), max_size=4), st.sampled_from([0.0, 0.1, -0.5]), dtypes, st.data())
def test_relu(shape: list[int], slope: float, dtype: str, data: Any) -> None:
    fast, plain = NumpyOps(dtype), Plain(dtype)
    x = array(data.draw, tuple(shape), dtype, ties=True) if shape else np.zeros((), dtype)
    dy = x + 1
    assert_same(fast.relu(x, slope), plain.relu(x, slope), dtype)
    assert_same(fast.relu_backward(dy, x, slope), plain.relu_backward(dy, x, slope), dtype)


@examples
@given(dtype=dtypes, count=st.integers(1, 5), index=st.lists(st.integers(0, 9), max_size=8), seed=st.integers(0, 99))
def test_sums_of_rows(dtype: str, count: int, index: list[int], seed: int) -> None:
    plain, fast = Plain(dtype), NumpyOps(dtype)
    rows = np.random.default_rng(seed).standard_normal((len(index), 2, 3)).astype(dtype)
    places = np.array(index, np.int64) % count
    wanted = plain.sum_rows(rows, places, count)
    got = fast.sum_rows(rows, places, count)
    assert got.shape == wanted.shape == (count, 2, 3) and got.dtype == dtype
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


@examples
@given(dtype=dtypes, shape=st.lists(st.integers(1, 4), min_size=1, max_size=3), data=st.data())
def test_the_largest_one_or_more(dtype: str, shape: list[int], data: st.DataObject) -> None:
    ops, axis = NumpyOps(dtype), data.draw(st.integers(0, len(shape) - 1))
    values = st.lists(st.integers(-1, 1), min_size=int(np.prod(shape)), max_size=int(np.prod(shape)))
    x = np.array(data.draw(values), dtype).reshape(shape)
    every = ops.largest(x, shape[axis], axis)
    np.testing.assert_array_equal(ops.largest(x, 1, axis), np.take(every, [0], axis))
    assert (np.diff(np.take_along_axis(x, every, axis), axis=axis) <= 0).all()
