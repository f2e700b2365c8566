from __future__ import annotations

from itertools import product

import pytest
from google.protobuf import text_format

from caffe_lite.errors import LayerError
from caffe_lite.ops.windows import Windows, convolved, deconvolved, pooled, read_windows, spanned
from caffe_lite.proto.caffe_pb2 import ConvolutionParameter, PoolingParameter


def read(text: str, num_axes: int = 2, message: type = ConvolutionParameter) -> Windows:
    return read_windows(text_format.Parse(text, message()), num_axes)


@pytest.mark.parametrize(
    ("text", "num_axes", "windows"),
    [
        ("kernel_size: 3", 2, Windows((3, 3), (1, 1), (0, 0), (1, 1))),
        ("kernel_size: 3 kernel_size: 5", 2, Windows((3, 5), (1, 1), (0, 0), (1, 1))),
        ("kernel_h: 3 kernel_w: 5", 2, Windows((3, 5), (1, 1), (0, 0), (1, 1))),
        ("kernel_size: 3 stride_h: 2 stride_w: 1 pad_h: 4 pad_w: 0", 2, Windows((3, 3), (2, 1), (4, 0), (1, 1))),
        ("kernel_size: 3 pad_w: 2", 2, Windows((3, 3), (1, 1), (0, 2), (1, 1))),
        ("kernel_size: 2 dilation: 3 dilation: 1 dilation: 2", 3, Windows((2,) * 3, (1,) * 3, (0,) * 3, (3, 1, 2))),
        ("kernel_h: 1 kernel_w: 3 dilation: 2", 2, Windows((1, 3), (1, 1), (0, 0), (1, 2))),
        ("kernel_size: 1 dilation: 3", 3, Windows((1,) * 3, (1,) * 3, (0,) * 3, (1,) * 3)),
        ("kernel_size: 3 stride: 2", 1, Windows((3,), (2,), (0,), (1,))),
        ("kernel_size: 3", 0, Windows((), (), (), ())),
        ("", 0, Windows((), (), (), ())),
    ],
)
def test_what_a_convolution_says(text: str, num_axes: int, windows: Windows) -> None:
    assert read(text, num_axes) == windows


@pytest.mark.parametrize(
    ("text", "windows"),
    [
        ("kernel_size: 3 stride: 2 pad: 1", Windows((3, 3), (2, 2), (1, 1), (1, 1))),
        ("kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 4 pad_h: 1", Windows((3, 2), (2, 4), (1, 0), (1, 1))),
    ],
)
def test_what_a_pooling_says(text: str, windows: Windows) -> None:
    assert read(text, message=PoolingParameter) == windows


@pytest.mark.parametrize(
    ("text", "num_axes", "message"),
    [
        ("", 2, "no kernel_size is given. Give kernel_size, or both kernel_h and kernel_w"),
        ("", 3, "no kernel_size is given. Give kernel_size"),
        ("kernel_size: 0", 2, "kernel_size is 0 x 0, which must be at least 1 along every axis"),
        ("kernel_h: 3", 2, "kernel_size is 3 x 0, which must be at least 1 along every axis"),
        ("kernel_size: 3 kernel_h: 3", 2, "kernel_size is given together with kernel_h or kernel_w"),
        ("kernel_size: 3 pad: 1 pad_w: 0", 2, "pad is given together with pad_h or pad_w"),
        ("kernel_h: 3 kernel_w: 3", 3, "kernel_h and kernel_w are for 2 spatial axes, the bottom has 3"),
        ("kernel_size: 3 stride_w: 1", 1, "stride_h and stride_w are for 2 spatial axes, the bottom has 1"),
        ("kernel_size: 1 kernel_size: 2", 3, "kernel_size is given 2 times for 3 spatial axes"),
        ("kernel_size: 1 dilation: 1 dilation: 1 dilation: 1", 2, "dilation is given 3 times for 2 spatial axes"),
        ("kernel_size: 1 stride: 0", 2, "stride is 0 x 0"),
        ("kernel_size: 1 stride_h: 2", 2, "stride is 2 x 0"),
        ("kernel_size: 1 dilation: 0", 2, "dilation is 0 x 0"),
    ],
)
def test_what_makes_no_sense(text: str, num_axes: int, message: str) -> None:
    with pytest.raises(LayerError) as caught:
        read(text, num_axes)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad", "dilation", "out"),
    [
        (5, 3, 1, 0, 1, 3),
        (5, 3, 1, 1, 1, 5),
        (6, 3, 2, 0, 1, 2),
        (224, 7, 2, 3, 1, 112),
        (9, 3, 1, 2, 2, 9),
        (4, 3, 3, 0, 1, 1),
        (3, 3, 1, 0, 1, 1),
        (1, 1, 5, 0, 1, 1),
    ],
)
def test_windows_of_a_convolution(size: int, kernel: int, stride: int, pad: int, dilation: int, out: int) -> None:
    assert Windows((kernel,), (stride,), (pad,), (dilation,)).convolved((size,)) == (out,)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad", "ceil", "floor"),
    [
        (6, 2, 2, 0, 3, 3),
        (5, 2, 2, 0, 3, 2),
        (8, 3, 2, 0, 4, 3),
        (7, 3, 2, 0, 3, 3),
        (112, 3, 2, 0, 56, 55),
        (7, 3, 2, 1, 4, 4),
        # The last window would start in the padding after the image.
        (5, 2, 2, 1, 3, 3),
        (4, 2, 2, 1, 3, 3),
        (3, 2, 4, 1, 1, 1),
        (4, 3, 3, 1, 2, 2),
        # The kernel exceeds the image, but by less than the stride.
        (2, 3, 2, 0, 1, None),
        # The last window is beyond the edge: without padding it stays.
        (3, 1, 4, 0, 2, 1),
        (4, 1, 4, 0, 2, 1),
        (6, 2, 5, 0, 2, 1),
    ],
)
def test_windows_of_a_pooling(size: int, kernel: int, stride: int, pad: int, ceil: int, floor: int | None) -> None:
    windows = Windows((kernel,), (stride,), (pad,), (1,))
    assert windows.pooled((size,), round_up=True) == (ceil,)
    if floor is None:
        with pytest.raises(
            LayerError, match="no window of 3 with pad 0 fits into an image of 2: the output would be 0"
        ):
            windows.pooled((size,), round_up=False)
    else:
        assert windows.pooled((size,), round_up=False) == (floor,)


def test_padding_of_one_axis_moves_the_last_window_of_both() -> None:
    assert Windows((1, 1), (4, 4), (0, 0), (1, 1)).pooled((4, 4), round_up=True) == (2, 2)
    assert Windows((2, 1), (4, 4), (1, 0), (1, 1)).pooled((4, 4), round_up=True) == (2, 1)


SIZES = list(product(range(1, 9), range(1, 5), range(1, 5), range(3), range(1, 4)))


def test_windows_are_counted_as_they_lie() -> None:
    for size, kernel, stride, pad, dilation in SIZES:
        ends = [start + dilation * (kernel - 1) for start in range(-pad, size + pad, stride)]
        fit = sum(end < size + pad for end in ends)
        assert max(0, convolved(size, kernel, stride, pad, dilation)) == fit


def test_an_image_made_for_windows_has_them() -> None:
    for windows, kernel, stride, pad, dilation in SIZES:
        met = {start * stride + tap * dilation for start in range(windows) for tap in range(kernel)}
        assert spanned(windows, kernel, stride, dilation) == max(met) - min(met) + 1
        size = deconvolved(windows, kernel, stride, pad, dilation)
        assert convolved(size, kernel, stride, pad, dilation) == windows


def test_pooling_counts_the_windows_that_start_in_time() -> None:
    for size, kernel, stride, pad, _ in SIZES:
        if pad >= kernel or size + 2 * pad < kernel:
            continue
        whole = [start for start in range(-pad, size + pad, stride) if start + kernel <= size + pad]
        cut = [whole[-1] + stride] if whole[-1] + kernel < size + pad else []
        rounded = whole + cut
        assert pooled(size, kernel, stride, pad, round_up=False) == len(whole)
        assert pooled(size, kernel, stride, pad, round_up=True, past_edge=True) == len(rounded)
        assert pooled(size, kernel, stride, pad, round_up=True) == sum(start < size for start in rounded)


@pytest.mark.parametrize("method", ["convolved", "deconvolved", "pooled"])
def test_an_image_without_pixels(method: str) -> None:
    windows = Windows((1, 1), (1, 1), (2, 2), (1, 1))
    with pytest.raises(LayerError, match="an image of 0 x 4 has no pixels"):
        getattr(windows, method)((0, 4), *[True] * (method == "pooled"))


def test_a_kernel_that_does_not_fit_is_named_with_all_sizes() -> None:
    windows = Windows((3, 5), (1, 1), (0, 1), (1, 2))
    with pytest.raises(LayerError) as caught:
        windows.convolved((4, 4))
    assert str(caught.value) == (
        "no window of 3 x 5 with pad 0 x 1 and dilation 1 x 2 fits into an image of 4 x 4: the output would be 2 x 0. "
        "Use a larger image, more padding or a smaller kernel."
    )
