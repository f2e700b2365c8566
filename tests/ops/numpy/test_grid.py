"""The index arithmetic of windows, against counting one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from caffe_lite.ops.numpy.grid import Grid

small = st.integers(1, 4)


@given(st.integers(1, 9), small, st.integers(1, 5), st.integers(-2, 4), small, st.integers(1, 6))
def test_taps_and_rows_name_what_each_window_meets(
    size: int, kernel: int, stride: int, pad: int, dilation: int, out: int
) -> None:
    def met(k: int, dilation: int) -> list[tuple[int, int]]:
        places = [(i, i * stride - pad + k * dilation) for i in range(out)]
        return [(i, element) for i, element in places if 0 <= element < size]

    grid = Grid((size,), (kernel,), (stride,), (pad,), (dilation,), (out,))
    for k, (windows, elements) in enumerate(grid.taps()):
        assert list(zip(range(out)[windows[1]], range(size)[elements[1]], strict=True)) == met(k, dilation)
    assert grid.along(0) == grid.taps()

    undilated = grid._replace(dilation=(1,))
    by_row = [
        (k, place, element)
        for place, kernel_rows, image_rows in undilated.rows()
        for k, element in zip(range(kernel)[kernel_rows], range(size)[image_rows], strict=True)
    ]
    assert sorted(by_row) == [(k, *pair) for k in range(kernel) for pair in met(k, 1)]
    empty = {i for index in undilated.empty() for i in range(out)[index[1]]}
    assert empty == set(range(out)) - {place for _, place, _ in by_row}


def test_a_grid_of_convolution_counts_the_windows_that_fit() -> None:
    assert Grid.of_convolution((28, 11), (5, 3), (1, 4), (0, 1), (1, 2)).out == (24, 3)
    assert Grid.of_convolution((12, 12), (5, 5), (1, 1), (0, 0), (1, 1)).transposed().pad == (4, 4)
