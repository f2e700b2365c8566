"""Windows that slide over an image: how many fit, how far they reach, and how a prototxt describes them.

Layers and engines count with the functions here, which deal with one axis and know nothing of layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from google.protobuf.message import Message

from ..errors import LayerError

Ints = Sequence[int]


def extent(kernel: int, dilation: int = 1) -> int:
    """Return how many elements of the image a window spans, both ends included."""
    return dilation * (kernel - 1) + 1


def spanned(windows: int, kernel: int, stride: int, dilation: int = 1) -> int:
    """Return how many elements this many windows span, from the start of the first to the end of the last."""
    return stride * (windows - 1) + extent(kernel, dilation)


def convolved(size: int, kernel: int, stride: int, pad: int, dilation: int = 1) -> int:
    """Return how many windows fit into ``size`` elements with ``pad`` more on either side; less than 1 if none fits."""
    return (size + 2 * pad - extent(kernel, dilation)) // stride + 1


def deconvolved(windows: int, kernel: int, stride: int, pad: int, dilation: int = 1) -> int:
    """Return how many elements there must be for this many windows."""
    return spanned(windows, kernel, stride, dilation) - 2 * pad


def pooled(
    size: int, kernel: int, stride: int, pad: int, round_up: bool, past_edge: bool = False, dilation: int = 1
) -> int:
    """Count as ``convolved``, but by the rule of pooling.

    A last window that fits in part counts if ``round_up``; one that starts behind the elements counts only if windows
    may lie ``past_edge``.
    """
    windows = convolved(size + (stride - 1 if round_up else 0), kernel, stride, pad, dilation)
    if not past_edge and (windows - 1) * stride >= size + pad:
        windows -= 1
    return windows


@dataclass(frozen=True)
class Windows:
    """The geometry of windows, with one entry per spatial axis.

    It says how large a window is, how far apart windows start, how many zeros surround the image, and how far apart
    the elements are that a window meets.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]

    def convolved(self, image: Ints) -> tuple[int, ...]:
        """Return how many windows fit into image and padding, along each axis."""
        self._refuse_empty(image)
        return self._at_least_one(image, [convolved(*axis) for axis in self.axes(image)])

    def deconvolved(self, image: Ints) -> tuple[int, ...]:
        """Return the size of an image that has ``image`` windows and is just large enough for the last one."""
        self._refuse_empty(image)
        out = [deconvolved(*axis) for axis in self.axes(image)]
        if any(n < 1 for n in out):
            raise LayerError(
                f"pad {by(self.pad)} leaves nothing of the output, which would be {by(max(n, 0) for n in out)}",
                hint="use a larger image, less padding or a larger kernel",
            )
        return tuple(out)

    def pooled(self, image: Ints, round_up: bool) -> tuple[int, ...]:
        """Count as ``convolved``, but by the rule of pooling.

        A last window that fits in part counts if ``round_up``. If any axis is padded, a window must start before the
        padding that follows the image.
        """
        self._refuse_empty(image)
        past_edge = not any(self.pad)
        return self._at_least_one(image, [pooled(*axis[:4], round_up, past_edge, axis[4]) for axis in self.axes(image)])

    def axes(self, image: Ints) -> Iterator[tuple[int, int, int, int, int]]:
        """Yield size, kernel, stride, pad and dilation of each axis."""
        return zip(image, self.kernel, self.stride, self.pad, self.dilation, strict=True)

    @staticmethod
    def _refuse_empty(image: Ints) -> None:
        if not all(image):
            raise LayerError(
                f"an image of {by(image)} has no pixels",
                hint="only the batch may be empty: check what makes this bottom",
            )

    def _at_least_one(self, image: Ints, out: Ints) -> tuple[int, ...]:
        if any(n < 1 for n in out):
            dilated = f" and dilation {by(self.dilation)}" if any(d > 1 for d in self.dilation) else ""
            raise LayerError(
                f"no window of {by(self.kernel)} with pad {by(self.pad)}{dilated} fits into an image of {by(image)}: "
                f"the output would be {by(max(n, 0) for n in out)}",
                hint="use a larger image, more padding or a smaller kernel",
            )
        return tuple(out)


def read_windows(param: Message, num_axes: int) -> Windows:
    """Read the windows of a ConvolutionParameter or a PoolingParameter, for this many spatial axes.

    ``kernel_size``, ``stride``, ``pad`` and ``dilation`` are given once for all axes or once for each; a
    PoolingParameter holds the latter in ``kernel_size_3d`` and so on. With two axes, they may also be given as
    ``kernel_h`` and ``kernel_w`` and so on. Defaults: stride 1, pad 0, dilation 1; if only one of pad_h and pad_w is
    given, the other is 0. Along an axis where a window has one element, the dilation has no meaning and is set to 1.
    The original divides by a stride of 0, accepts a dilation of 0, and ignores a kernel_h beside a pooling's
    kernel_size; here all three are errors.
    """
    kernel = _sizes(param, "kernel_size", "kernel", num_axes, None, 1)
    stride = _sizes(param, "stride", "stride", num_axes, 1, 1)
    pad = _sizes(param, "pad", "pad", num_axes, 0, 0)
    fields = param.DESCRIPTOR.fields_by_name
    stem = "dilation" if "dilation_h" in fields else None
    dilation = _sizes(param, "dilation", stem, num_axes, 1, 1) if "dilation" in fields else (1,) * num_axes
    return Windows(kernel, stride, pad, tuple(d if k > 1 else 1 for k, d in zip(kernel, dilation, strict=True)))


def _sizes(
    param: Message, field: str, stem: str | None, num_axes: int, default: int | None, least: int
) -> tuple[int, ...]:
    value = getattr(param, field)
    given = (value,) * param.HasField(field) if isinstance(value, int) else tuple(value)
    given = given or tuple(getattr(param, f"{field}_3d", ()))
    high, wide = f"{stem}_h", f"{stem}_w"
    sizes: tuple[int, ...]
    way = f"give {field}, or both {high} and {wide}" if stem and num_axes == 2 else f"give {field}"
    if stem and (param.HasField(high) or param.HasField(wide)):
        if num_axes != 2:
            raise LayerError(
                f"{high} and {wide} are for 2 spatial axes, the bottom has {num_axes}",
                hint=f"give {field}, once or once per axis",
            )
        if given:
            raise LayerError(f"{field} is given together with {high} or {wide}", hint="keep one of the two spellings")
        sizes = (getattr(param, high), getattr(param, wide))
    elif len(given) == num_axes:
        sizes = given
    elif len(given) == 1:
        sizes = given * num_axes
    elif given:
        raise LayerError(
            f"{field} is given {len(given)} times for {num_axes} spatial axes", hint="give it once, or once per axis"
        )
    elif default is None:
        raise LayerError(f"no {field} is given", hint=way)
    else:
        sizes = (default,) * num_axes
    if any(n < least for n in sizes):
        raise LayerError(f"{field} is {by(sizes)}, which must be at least {least} along every axis", hint=way)
    return sizes


def by(sizes: Iterable[object]) -> str:
    """Format sizes as people write them: 3 x 5."""
    return " x ".join(map(str, sizes))


def windows_text(param: Message) -> str:
    """Describe the windows of a message in a few words, "7 x 7 /2, pad 3": the kernel, and all that is not the default.

    The settings are not checked.
    """
    kernel = _sizes_text(param, "kernel_size", "kernel", "?")
    stride = _sizes_text(param, "stride", "stride", "1")
    words = [f"{kernel} x {kernel}" if kernel.isdecimal() else kernel]
    if stride not in ("1", "1 x 1"):
        words[0] += f" /{stride}"
    for name, usual in (("pad", "0"), ("dilation", "1"), ("group", "1")):
        value = _sizes_text(param, name, name, usual) if hasattr(param, name) else usual
        if value != usual:
            words.append(f"{name} {value}")
    return ", ".join(words)


def _sizes_text(param: Message, field: str, stem: str, usual: str) -> str:
    if hasattr(param, f"{stem}_h") and (param.HasField(f"{stem}_h") or param.HasField(f"{stem}_w")):
        return by((getattr(param, f"{stem}_h"), getattr(param, f"{stem}_w")))
    value = getattr(param, f"{field}_3d", ()) or getattr(param, field)
    if isinstance(value, int):
        return str(value) if param.HasField(field) else usual
    return by(value) or usual
