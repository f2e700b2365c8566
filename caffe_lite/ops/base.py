"""The arithmetic of layers, written once over an array namespace; engines override what they do faster.

Every operation is a function: it takes and returns arrays and writes to no argument. Arrays that a Net calls
(N, C, H, W) have that shape here, too, in any memory layout that suits the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import product
from math import prod
from typing import Any, ClassVar, Generic, Protocol

import numpy as np

from ..errors import EngineError
from .array import A, Array, Gradients, Need
from .roles import Windows
from .windows import Ints, convolved, deconvolved, spanned

# An index that picks one element for every window.
Tap = tuple[Any, ...]
# Which element was chosen in each window, in the engine's own form.
Choice = Any
# The results of a compiled function: arrays, and a note, which is any object.
Results = tuple[Sequence[A], Any]
Function = Callable[..., Results[A]]
LEAVE_OUT = "leave out --compile (compile=True, CAFFE_LITE_COMPILE)"


class Tracer(Protocol[A]):
    """Takes note, while a pass is traced, of all that must happen on the host in every run.

    ``constant``: the values of the parameters are compiled in.
    """

    constant: bool

    def drawn(self, draw: Callable[[], np.ndarray]) -> A: ...

    def inspect(self, x: A, check: Callable[[np.ndarray], None]) -> None: ...


class Compiled(Protocol[A]):
    """A function that is compiled for each new set of shapes; it may write into its arguments.

    ``takes_constants``: values can be compiled in.
    """

    takes_constants: bool

    def __call__(
        self, moving: Sequence[A], staying: Sequence[A], settings: Hashable = (), constant: bool = False
    ) -> Results[A]:
        """Return ``function(*moving, *staying)``; ``staying`` are arrays that are seldom exchanged for others.

        ``settings`` is everything else that the function depends on; if it changes, the function is compiled again.
        With ``constant`` the values of ``staying`` are compiled in and must never change. The note that the function
        returned when it was traced is returned with the results of every later run.
        """
        ...


class Program(Protocol):
    """A whole pass over a net, run at once: the forward pass or, with ``backward``, the forward and backward pass.

    ``remembers``: every blob of the last pass can be read, and ``rerun`` can repeat it, whatever was written since.
    """

    backward: bool
    remembers: bool

    def __call__(self) -> Array:
        """Bind the blobs that it keeps, add to the parameters' diffs, and return the sum of the weighted losses."""
        ...

    def serves(self, read: Iterable[Any] = ()) -> bool:
        """Return whether it keeps all of these blobs, and all blobs of which a user holds an array."""
        ...

    def rerun(self) -> None:
        """Make every blob readable by running the layers of the last pass over the same data."""
        ...

    def parameters_are_others(self) -> None:
        """Take note that the parameters of the net's layers are other blobs now."""
        ...


class Fused(Protocol[A]):
    """Kernels for several layers at once; ``fusion`` decides where they serve."""

    def convolution(
        self, x: A, weight: A, bias: A | None, slope: float | None, windows: Windows
    ) -> Callable[[A, A | None], A] | None: ...

    def rectify(self, y: A, slope: float) -> A: ...

    def limit(self, y: A, most: float) -> A: ...

    def normalizes(self, x: A) -> bool: ...

    def batch_norm(self, x: A, scale: A, shift: A | None, eps: float, slope: float | None) -> tuple[A, A, A, Any]: ...

    def batch_norm_backward(
        self, dy: A, x: A, y: A, scale: A, saved: Any, eps: float, slope: float | None, need: Need
    ) -> Gradients[A]: ...


class Ops(Generic[A]):
    """All operations, over ``xp``, a namespace in the style of the Python array API standard.

    ``dtype`` is the type of every blob of the net: float32, or float64 if gradients are checked.
    """

    name: ClassVar[str] = "base"
    array_type: type[A]
    shares_memory: bool = True  # with the host: no array is on a device that NumPy cannot see
    image_order: ClassVar[tuple[int, ...]] = (0, 1, 2, 3)  # the best order of the axes (N, C, H, W) in memory
    device: str = "cpu"  # as torch spells it: "cuda:0"
    fused: Fused[A] | None = None
    tracer: Tracer[A] | None = None  # set while a pass is traced to be compiled

    def __init__(self, xp: Any, dtype: str = "float32") -> None:
        self.xp = xp
        self.dtype_name = dtype
        self.dtype = getattr(xp, dtype)
        self.itemsize = np.dtype(dtype).itemsize

    @property
    def on_gpu(self) -> bool:
        return self.device != "cpu"

    def describe(self) -> str:
        """Return name, device and threads, for the log."""
        return self.name

    def compile(self, name: str, function: Function[A]) -> Compiled[A]:
        """Compile a function from arrays to arrays; the log and errors call it ``name``."""
        raise EngineError(f"the {self.name} engine cannot compile", hint=f"choose the torch engine, or {LEAVE_OUT}")

    def program(self, net: Any) -> Program | None:
        """Return the program of a net if the engine runs nets as a whole; None if the layers run one by one."""
        return None

    def quiet(self) -> AbstractContextManager[object]:
        """Return a context for arithmetic, without warnings of overflows: the loss shows their effect."""
        return nullcontext()

    def ran_out_of_memory(self, error: Exception) -> bool:
        """Return whether this error of the library means that there is no memory left."""
        return isinstance(error, MemoryError)

    # -- arrays ------------------------------------------------------------------------------------------------------

    def zeros(self, shape: Ints) -> A:
        return self.xp.zeros(tuple(shape), dtype=self.dtype)

    def full(self, shape: Ints, value: float) -> A:
        return self.xp.full(tuple(shape), value, dtype=self.dtype)

    def scalar(self, value: A | float) -> A:
        """Return a 0-d array, as the top of a loss layer holds it."""
        return self.xp.asarray(value, dtype=self.dtype)

    def asarray(self, values: np.ndarray) -> A:
        """Return these values as an array of the engine, which shares their memory if possible."""
        return self.xp.asarray(values, dtype=self.dtype)

    def filled(self, shape: Ints, fill: Callable[[], np.ndarray]) -> A:
        """Return a parameter of this shape that ``fill`` makes on the host; an engine of mere shapes skips that."""
        return self.asarray(fill())

    def copy(self, x: A) -> A:
        return self.xp.asarray(x, copy=True)

    def row_major(self, x: A) -> A:
        """Return the array itself if it is in row-major order, else a copy that is."""
        raise NotImplementedError

    def host_view(self, x: A) -> np.ndarray:
        """Return a NumPy array over the same memory or, if no memory is shared with the host, a read-only copy."""
        raise NotImplementedError

    def write(self, x: A, values: np.ndarray) -> None:
        """Copy values from the host into an array, in place."""
        x[...] = self.asarray(values)

    def drawn(self, draw: Callable[[], np.ndarray]) -> A:
        """Return the random numbers that ``draw`` makes; a compiled pass draws new ones in every run."""
        return self.asarray(draw()) if self.tracer is None else self.tracer.drawn(draw)

    def inspect(self, x: A, check: Callable[[np.ndarray], None]) -> None:
        """Pass the values to ``check``, which raises if they are invalid; a compiled pass checks them in every run."""
        if self.tracer is None:
            check(self.host_view(x))
        else:
            self.tracer.inspect(x, check)

    def version(self, x: A) -> int | None:
        """Return how often the engine has written into an array, None if unknown; a user's writes do not count."""
        raise NotImplementedError

    def indices(self, x: A | np.ndarray) -> A:
        """Convert labels, which blobs hold as floats, or numbers of the host, to whole numbers."""
        return self.xp.asarray(x, dtype=self.xp.int64)

    def astype(self, x: A) -> A:
        """Convert indices, counts or conditions to the net's dtype."""
        return self.xp.asarray(x, dtype=self.dtype)

    def concat(self, arrays: Sequence[A], axis: int) -> A:
        return self.xp.concat(list(arrays), axis=axis)

    def transpose(self, x: A, axes: Ints) -> A:
        return self.xp.permute_dims(x, tuple(axes))

    def reshape(self, x: A, shape: Ints) -> A:
        """Return the same values in row-major order in another shape; may share memory with ``x``."""
        return self.xp.reshape(x, tuple(shape))

    def shuffle_channels(self, x: A, groups: int) -> A:
        """Return x (N, C, ...) with the first channel of each group, then the second of each, and so on."""
        order = self.image_order if x.ndim == 4 else tuple(range(x.ndim))
        at = order.index(1)
        y = self.transpose(x, order)
        sizes = y.shape
        y = self.reshape(y, (*sizes[:at], groups, sizes[at] // groups, *sizes[at + 1 :]))
        y = self.reshape(y.swapaxes(at, at + 1), sizes)
        return self.transpose(y, sorted(range(x.ndim), key=order.__getitem__))

    def pad(self, x: A, before: Ints, after: Ints, value: float = 0.0) -> A:
        """Widen the last axes by ``before`` and ``after``, filled with ``value``."""
        if not any(before) and not any(after):
            return x
        lead = x.ndim - len(before)
        sizes = [n + a + b for n, a, b in zip(x.shape[lead:], before, after, strict=True)]
        out = self.full((*x.shape[:lead], *sizes), value)
        out[(..., *(slice(b, b + n) for b, n in zip(before, x.shape[lead:], strict=True)))] = x
        return out

    # -- elementwise and reductions ----------------------------------------------------------------------------------

    def exp(self, x: A) -> A:
        return self.xp.exp(x)

    def expm1(self, x: A) -> A:
        return self.xp.expm1(x)

    def log(self, x: A) -> A:
        return self.xp.log(x)

    def log1p(self, x: A) -> A:
        return self.xp.log1p(x)

    def sqrt(self, x: A) -> A:
        return self.xp.sqrt(x)

    def abs(self, x: A) -> A:
        return self.xp.abs(x)

    def sign(self, x: A) -> A:
        return self.xp.sign(x)

    def tanh(self, x: A) -> A:
        return self.xp.tanh(x)

    def sigmoid(self, x: A) -> A:
        return 0.5 * self.xp.tanh(0.5 * x) + 0.5

    def maximum(self, x: A, y: A) -> A:
        return self.xp.maximum(x, y)

    def at_least(self, x: A, bound: float) -> A:
        return self.xp.where(x < bound, self.scalar(bound), x)

    def at_most(self, x: A, bound: float) -> A:
        return self.xp.where(x > bound, self.scalar(bound), x)

    def clamp(self, x: A, least: float, most: float) -> A:
        """Limit x to the interval from ``least`` to ``most``; NaN stays NaN."""
        return self.at_least(self.at_most(x, most), least)

    def clamp_backward(self, dy: A, x: A, least: float, most: float) -> A:
        """Pass the gradient where x, the input of ``clamp`` or its result, lies between the ends of the interval."""
        return self.xp.where((x > least) & (x < most), dy, self.scalar(0))

    def multiply_add(self, x: A, y: A, z: A) -> A:
        """Return ``x * y + z``; x may broadcast."""
        return x * y + z

    def affine(self, x: A, scale: float, shift: float) -> A:
        """Return ``scale * x + shift``; a scale of 1 and a shift of 0 cost nothing."""
        y = x if scale == 1 else x * scale
        return y if shift == 0 else y + shift

    def where(self, condition: A, x: A, y: A | float) -> A:
        return self.xp.where(condition, x, y)

    def sum(self, x: A, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> A:
        return self.xp.sum(x, axis=axis, keepdims=keepdims)

    def max(self, x: A, axis: int, keepdims: bool = False) -> A:
        if not x.shape[axis]:
            return self.full(self.sum(x, axis, keepdims).shape, -self.xp.inf)
        return self.xp.max(x, axis=axis, keepdims=keepdims)

    def argmax(self, x: A, axis: int) -> A:
        return self.xp.argmax(x, axis=axis)

    def flip(self, x: A, axis: int) -> A:
        return self.xp.flip(x, axis=axis)

    def argsort(self, x: A, axis: int) -> A:
        """Return the positions along ``axis`` in ascending order of the values; equal values stay in order."""
        return self.xp.argsort(x, axis=axis, stable=True)

    def largest(self, x: A, count: int, axis: int) -> A:
        """Return the positions along ``axis`` of the ``count`` largest, the largest first; of equals the later."""
        before = (slice(None),) * axis
        if count == 1:
            return (x.shape[axis] - 1 - self.argmax(self.flip(x, axis), axis))[(*before, None)]
        return self.flip(self.argsort(x, axis), axis)[(*before, slice(count))]

    def number(self, x: A) -> float:
        """Convert a 0-d array to a Python number; on a device this waits for the result."""
        return float(x)

    def sum_of_squares(self, x: A) -> A:
        return self.sum(x * x)

    # -- rows --------------------------------------------------------------------------------------------------------

    def take_rows(self, x: A, index: A) -> A:
        """Return ``x[i]`` for each i in ``index``, which may have any shape."""
        return x[index]

    def sum_rows(self, rows: A, index: A, count: int) -> A:
        """Add each ``rows[i]`` to row ``index[i]`` of an array of ``count`` rows: the gradient of ``take_rows``."""
        picked = self.one_hot(self.reshape(index, (-1, 1)), count, 1)
        flat = self.reshape(rows, (rows.shape[0], prod(rows.shape[1:])))
        return self.reshape(picked.T @ flat, (count, *rows.shape[1:]))

    def nonzero(self, x: A) -> A:
        """Return the positions at which a 1-D array is not 0."""
        if self.tracer is not None:
            raise NotImplementedError("how many samples it passes on depends on the values it is given")
        return self.xp.where(self.xp.not_equal(x, 0))[0]

    # -- neurons -----------------------------------------------------------------------------------------------------

    def relu(self, x: A, slope: float) -> A:
        return self.xp.where(x > 0, x, slope * x)

    def relu_backward(self, dy: A, x: A, slope: float) -> A:
        """Return the gradient of ``relu``; ``x`` is its input or, unless ``slope`` is negative, its result."""
        return self.xp.where(x > 0, dy, slope * dy)

    def prelu(self, x: A, slope: A) -> A:
        """Rectify with ``slope``, which has one element, or one for each channel, shaped to broadcast."""
        return self.xp.where(x > 0, x, slope * x)

    def elu(self, x: A, alpha: float, scale: float) -> A:
        """Return ``scale * x`` where x > 0, else ``scale * alpha * (e^x - 1)``."""
        return self.xp.where(x > 0, self.affine(x, scale, 0.0), scale * alpha * self.expm1(self.at_most(x, 0.0)))

    def elu_backward(self, dy: A, x: A, y: A, alpha: float, scale: float) -> A:
        """Return the gradient of ``elu``, given its input and its result."""
        return self.xp.where(x > 0, self.affine(dy, scale, 0.0), dy * (y + scale * alpha))

    def hard_swish(self, x: A) -> A:
        return x * (self.clamp(x + 3, 0.0, 6.0) / 6)

    def hard_swish_backward(self, dy: A, x: A) -> A:
        slope = self.xp.where(x < 3, x / 3 + 0.5, self.scalar(1))
        return self.xp.where(x > -3, dy * slope, self.scalar(0))

    def mish(self, x: A) -> A:
        """Return ``x * tanh(ln(1 + e^x))``."""
        return x * self.tanh(self._softplus(x))

    def mish_backward(self, dy: A, x: A) -> A:
        t = self.tanh(self._softplus(x))
        return dy * (t + x * self.sigmoid(x) * (1 - t * t))

    def _softplus(self, x: A) -> A:
        return self.at_least(x, 0.0) + self.log1p(self.exp(-self.abs(x)))

    def dropout_mask(self, rng: np.random.Generator, shape: Ints, ratio: float) -> A:
        """Draw 0 with probability ``ratio``, else 1 / (1 - ratio)."""
        return self.drawn(lambda: rng.random(tuple(shape), dtype=np.float32) >= ratio) * (1.0 / (1.0 - ratio))

    # -- classes along an axis ---------------------------------------------------------------------------------------

    def softmax(self, x: A, axis: int) -> A:
        e = self.exp(x - self.max(x, axis, keepdims=True))
        return e / self.sum(e, axis, keepdims=True)

    def pick(self, x: A, index: A, axis: int) -> A:
        """Return ``x[..., index, ...]`` along ``axis``; ``index`` has the shape of ``x``, but size 1 at that axis."""
        return self.xp.take_along_axis(x, index, axis=axis)

    def one_hot(self, index: A, classes: int, axis: int) -> A:
        """Return 1 where the position along ``axis`` is ``index`` (which has size 1 there), else 0."""
        shape = [1] * index.ndim
        shape[axis] = classes
        return self.astype(self.xp.reshape(self.xp.arange(classes), tuple(shape)) == index)

    def softmax_backward(self, dy: A, y: A, axis: int) -> A:
        """Return the gradient of ``softmax``, given its result ``y``."""
        return (dy - self.sum(dy * y, axis, keepdims=True)) * y

    def cross_entropy_backward(self, prob: A, index: A, scale: A, axis: int) -> A:
        """Return the gradient of ``-scale * log(pick(prob, index))`` in the scores; ``prob`` is their softmax."""
        return (prob - self.one_hot(index, prob.shape[axis], axis)) * scale

    def sigmoid_cross_entropy(self, x: A, target: A) -> A:
        """Return ``-target * log(p) - (1 - target) * log(1 - p)`` by element, with p = sigmoid(x), for any x."""
        return self.at_least(x, 0.0) - x * target + self.log1p(self.exp(-self.abs(x)))

    # -- affine ------------------------------------------------------------------------------------------------------

    def inner_product(self, x: A, weight: A, bias: A | None) -> A:
        """Multiply x (M, K) by the transpose of weight (N, K), add bias: (M, N)."""
        y = x @ weight.T
        return y if bias is None else y + bias

    def inner_product_backward(self, dy: A, x: A, weight: A, need: Need) -> Gradients[A]:
        """Return the gradients of x, weight and bias; None for one that is not needed."""
        return (
            dy @ weight if need[0] else None,
            dy.T @ x if need[1] else None,
            self.sum(dy, 0) if need[2] else None,
        )

    # -- windows: shared by convolution and pooling ------------------------------------------------------------------

    @staticmethod
    def _taps(kernel: Ints, stride: Ints, dilation: Ints, out: Ints) -> list[Tap]:
        """Return, for every kernel position, the index of its element in each window of a padded input."""
        return [
            (
                ...,
                *(
                    slice(k * d, k * d + (n - 1) * s + 1, s)
                    for k, s, d, n in zip(at, stride, dilation, out, strict=True)
                ),
            )
            for at in product(*map(range, kernel))
        ]

    def convolution(self, x: A, weight: A, bias: A | None, stride: Ints, pad: Ints, dilation: Ints, group: int) -> A:
        """Cross-correlate x (N, C, *spatial) with weight (M, C / group, *kernel): (N, M, *out).

        ``stride``, ``pad`` and ``dilation`` have one entry per spatial axis.
        """
        columns = self.im2col(x, weight.shape[2:], stride, pad, dilation)
        (n, m), out = (x.shape[0], weight.shape[0]), columns.shape[2:]
        taps = prod(weight.shape[1:])
        y = self.reshape(weight, (group, m // group, taps)) @ self.reshape(columns, (n, group, taps, prod(out)))
        y = self.reshape(y, (n, m, *out))
        return y if bias is None else y + self.reshape(bias, (m, *[1] * len(out)))

    def convolution_backward(
        self,
        dy: A,
        x: A,
        weight: A,
        stride: Ints,
        pad: Ints,
        dilation: Ints,
        group: int,
        need: Need,
    ) -> Gradients[A]:
        """Return the gradients of x, weight and bias; None for one that is not needed."""
        n, m = dy.shape[:2]
        out = dy.shape[2:]
        kernel, taps = weight.shape[2:], prod(weight.shape[1:])
        dy_rows = self.reshape(dy, (n, group, m // group, prod(out)))
        dx = dw = db = None
        if need[0]:
            w = self.reshape(weight, (group, m // group, taps))
            columns = self.reshape(w.swapaxes(-1, -2) @ dy_rows, (n, group * taps, *out))
            dx = self.col2im(columns, x.shape[2:], kernel, stride, pad, dilation)
        if need[1]:
            columns = self.reshape(self.im2col(x, kernel, stride, pad, dilation), (n, group, taps, prod(out)))
            dw = self.reshape(self.sum(dy_rows @ columns.swapaxes(-1, -2), 0), weight.shape)
        if need[2]:
            db = self.sum(dy, (0, *range(2, dy.ndim)))
        return dx, dw, db

    def deconvolution(self, x: A, weight: A, bias: A | None, stride: Ints, pad: Ints, dilation: Ints, group: int) -> A:
        """Transpose a convolution, which gives its gradient with respect to the image.

        x (N, C, *spatial) with weight (C, M / group, *kernel) becomes (N, M, *out), where an image must have the size
        ``out`` to have ``spatial`` windows.
        """
        axes = zip(x.shape[2:], weight.shape[2:], stride, pad, dilation, strict=True)
        out = [deconvolved(*axis) for axis in axes]
        m = weight.shape[1] * group
        shaped = self.zeros((x.shape[0], m, *out))
        y, _, _ = self.convolution_backward(x, shaped, weight, stride, pad, dilation, group, (True, False, False))
        assert y is not None
        return y if bias is None else y + self.reshape(bias, (m, *[1] * len(out)))

    def deconvolution_backward(
        self,
        dy: A,
        x: A,
        weight: A,
        stride: Ints,
        pad: Ints,
        dilation: Ints,
        group: int,
        need: Need,
    ) -> Gradients[A]:
        """Return the gradients of x, weight and bias; None for one that is not needed."""
        geometry = stride, pad, dilation, group
        return (
            self.convolution(dy, weight, None, *geometry) if need[0] else None,
            self.convolution_backward(x, dy, weight, *geometry, (False, True, False))[1] if need[1] else None,
            self.sum(dy, (0, *range(2, dy.ndim))) if need[2] else None,
        )

    def im2col(self, x: A, kernel: Ints, stride: Ints, pad: Ints, dilation: Ints) -> A:
        """Return the windows of x (N, C, *spatial) as columns (N, C * prod(kernel), *out).

        Each place holds all elements that its window meets, channel by channel.
        """
        out = tuple(convolved(*axis) for axis in zip(x.shape[2:], kernel, stride, pad, dilation, strict=True))
        padded = self.pad(x, pad, pad)
        columns = self.xp.stack([padded[tap] for tap in self._taps(kernel, stride, dilation, out)], axis=2)
        return self.reshape(columns, (x.shape[0], x.shape[1] * prod(kernel), *out))

    def col2im(self, columns: A, size: Ints, kernel: Ints, stride: Ints, pad: Ints, dilation: Ints) -> A:
        """Add every element of the columns to its place of origin in (N, C, *size): the transpose of ``im2col``."""
        n, rows, *out = columns.shape
        columns = self.reshape(columns, (n, rows // prod(kernel), prod(kernel), *out))
        padded = self.zeros((n, columns.shape[1], *(s + 2 * p for s, p in zip(size, pad, strict=True))))
        for k, tap in enumerate(self._taps(kernel, stride, dilation, out)):
            padded[tap] += columns[:, :, k]
        return padded[(..., *(slice(p, p + s) for s, p in zip(size, pad, strict=True)))]

    def _padded_to_windows(
        self, x: A, kernel: Ints, stride: Ints, pad: Ints, out: Ints, value: float, dilation: Ints | None = None
    ) -> tuple[A, list[Tap]]:
        """Surround x with ``value``, for all windows, also those past the edge; return that and the taps into it."""
        dilation = dilation or [1] * len(out)
        after = [
            max(0, spanned(n, k, s, d) - size - p)
            for n, s, k, d, size, p in zip(out, stride, kernel, dilation, x.shape[2:], pad, strict=True)
        ]
        return self.pad(x, pad, after, value), self._taps(kernel, stride, dilation, out)

    def max_pool(
        self, x: A, kernel: Ints, stride: Ints, pad: Ints, out: Ints, dilation: Ints | None = None
    ) -> tuple[A, Choice]:
        """Return the largest element of each window, and the choice: which element that was, of equals the first.

        The choice has the engine's own form, for its ``max_pool_index`` and ``max_pool_backward``. The result for a
        window that meets no element is 0.
        """
        xp = self.xp
        padded, taps = self._padded_to_windows(x, kernel, stride, pad, out, -xp.inf, dilation)
        best, choice = padded[taps[0]], self.zeros((*x.shape[:2], *out))
        for k, tap in enumerate(taps[1:], 1):
            larger = padded[tap] > best
            best, choice = xp.where(larger, padded[tap], best), xp.where(larger, self.scalar(k), choice)
        empty = best == -xp.inf
        return xp.where(empty, self.scalar(0), best), xp.where(empty, self.scalar(-1), choice)

    def max_pool_index(
        self, choice: Choice, x_shape: Ints, kernel: Ints, stride: Ints, pad: Ints, dilation: Ints | None = None
    ) -> A:
        """Return the indices of the chosen elements in the plane (H * W), in the net's dtype; -1 for empty windows."""
        k = rest = self.astype(choice)
        index, pixels = self.scalar(0), 1.0
        for axis in reversed(range(len(kernel))):
            first = np.arange(k.shape[2 + axis]) * stride[axis] - pad[axis]
            behind = [1] * (len(kernel) - axis - 1)
            above = self.xp.floor((rest + 0.5) / kernel[axis])
            step = (rest - above * kernel[axis]) * (dilation[axis] if dilation else 1)
            index = index + (self.reshape(self.asarray(first), (-1, *behind)) + step) * pixels
            rest, pixels = above, pixels * x_shape[2 + axis]
        return self.xp.where((k >= 0) & (k < prod(kernel)), index, self.scalar(-1))

    def max_pool_backward(
        self, dy: A, choice: Choice, x_shape: Ints, kernel: Ints, stride: Ints, pad: Ints, dilation: Ints | None = None
    ) -> A:
        """Give each window's gradient to the element that ``choice`` names, which ``max_pool`` returned."""
        dx, taps = self._padded_to_windows(self.zeros(x_shape), kernel, stride, pad, dy.shape[2:], 0.0, dilation)
        dx = self.copy(dx)
        for k, tap in enumerate(taps):
            dx[tap] += self.xp.where(choice == k, dy, self.scalar(0))
        return dx[(..., *(slice(p, p + s) for s, p in zip(x_shape[2:], pad, strict=True)))]

    def ave_pool(self, x: A, kernel: Ints, stride: Ints, pad: Ints, out: Ints, dilation: Ints | None = None) -> A:
        """Return the mean of each window. Elements of the padding count as zeros, elements beyond it do not count."""
        padded, taps = self._padded_to_windows(x, kernel, stride, pad, out, 0.0, dilation)
        total = padded[taps[0]]
        for tap in taps[1:]:
            total = total + padded[tap]
        return total / self._window_sizes(x.shape[2:], kernel, stride, pad, out, dilation)

    def ave_pool_backward(
        self, dy: A, x_shape: Ints, kernel: Ints, stride: Ints, pad: Ints, dilation: Ints | None = None
    ) -> A:
        out = dy.shape[2:]
        share = dy / self._window_sizes(x_shape[2:], kernel, stride, pad, out, dilation)
        dx, taps = self._padded_to_windows(self.zeros(x_shape), kernel, stride, pad, out, 0.0, dilation)
        dx = self.copy(dx)
        for tap in taps:
            dx[tap] += share
        return dx[(..., *(slice(p, p + s) for s, p in zip(x_shape[2:], pad, strict=True)))]

    def _window_sizes(
        self, size: Ints, kernel: Ints, stride: Ints, pad: Ints, out: Ints, dilation: Ints | None = None
    ) -> A:
        """Return how many elements of image and padding each window meets, at least 1; shape ``out``."""
        area = self.full([1] * len(out), 1.0)
        for axis, d in enumerate(dilation or [1] * len(out)):
            after = [size[axis] + 2 * pad[axis] - i * stride[axis] for i in range(out[axis])]
            counts = [min(kernel[axis], max(1, -(-left // d))) for left in after]
            shape = [1] * len(out)
            shape[axis] = out[axis]
            area = area * self.reshape(self.asarray(np.array(counts)), shape)
        return area

    def stochastic_pool(
        self,
        x: A,
        kernel: Ints,
        stride: Ints,
        pad: Ints,
        out: Ints,
        thresholds: A,
        dilation: Ints | None = None,
    ) -> tuple[A, Choice]:
        """Draw an element of each window, with probability proportional to its value; return the choice as in max_pool.

        ``thresholds`` (N, C, *out) are in (0, 1]: the drawn element is the first one at which the running sum reaches
        the threshold times the window's sum.
        """
        xp = self.xp
        geometry = kernel, stride, pad, out, 0.0, dilation
        padded, taps = self._padded_to_windows(x, *geometry)
        inside, _ = self._padded_to_windows(self.full((1, 1, *x.shape[2:]), 1.0), *geometry)
        values = xp.stack([padded[tap] for tap in taps], axis=0)
        met = xp.stack([xp.broadcast_to(inside[tap], values.shape[1:]) for tap in taps], axis=0)
        running = xp.cumsum(values, axis=0)
        reached = (running >= thresholds * running[-1]) & (met > 0)
        chosen = xp.argmax(self.astype(reached), axis=0)[None]
        choice = xp.where(self.max(met, 0) > 0, self.astype(chosen[0]), self.scalar(-1))
        return self.pick(values, chosen, 0)[0], choice

    def weighted_pool(self, x: A, kernel: Ints, stride: Ints, pad: Ints, out: Ints, dilation: Ints | None = None) -> A:
        """Return each window's mean weighted by its own values, sum(x^2) / sum(x): STOCHASTIC pooling in TEST."""
        padded, taps = self._padded_to_windows(x, kernel, stride, pad, out, 0.0, dilation)
        total = sum((padded[tap] for tap in taps[1:]), padded[taps[0]])
        squares = sum((padded[tap] * padded[tap] for tap in taps[1:]), padded[taps[0]] * padded[taps[0]])
        return self.xp.where(total > 0, squares / self.at_least(total, 1e-37), self.scalar(0))

    # -- enlarging: the way back from pooling ------------------------------------------------------------------------

    def _memory_order(self, x: A) -> tuple[A, int]:
        """Return images with their axes in the best order in memory, and the position of the rows among them."""
        return self.transpose(x, self.image_order), self.image_order.index(2)

    def _from_memory_order(self, x: A) -> A:
        return self.transpose(x, sorted(range(4), key=self.image_order.__getitem__))

    def scatter(self, x: A, index: A, count: int, axis: int) -> A:
        """Put x at the positions ``index`` along an axis of ``count`` zeros; at equal positions the last one counts."""
        y = self.zeros((*x.shape[:axis], count, *x.shape[axis + 1 :]))
        at = [
            self.reshape(self.indices(np.arange(n)), [n if i == k else 1 for k in range(x.ndim)])
            for i, n in enumerate(x.shape)
        ]
        at[axis] = index
        y[tuple(at)] = x
        return y

    def max_unpool(self, x: A, index: A, out: Ints) -> A:
        """Put each element of x (N, C, H, W) at its ``index`` in a plane of zeros: (N, C, *out)."""
        x, at = self._memory_order(x)
        index, _ = self._memory_order(index)
        before, pixels, after = x.shape[:at], prod(x.shape[at : at + 2]), x.shape[at + 2 :]
        x, index = (self.reshape(array, (*before, pixels, *after)) for array in (x, index))
        return self._from_memory_order(self.reshape(self.scatter(x, index, prod(out), at), (*before, *out, *after)))

    def max_unpool_backward(self, dy: A, index: A) -> A:
        """Return the elements of dy at each ``index`` (N, C, H, W): the gradient of ``max_unpool``."""
        n, c, *size = index.shape
        planes = self.reshape(dy, (n, c, prod(dy.shape[2:])))
        return self.reshape(self.pick(planes, self.reshape(index, (n, c, prod(size))), 2), index.shape)

    def repeat_pixels(self, x: A, factor: Ints) -> A:
        """Make a rectangle, ``factor`` (high, wide), of each pixel of x (N, C, H, W)."""
        if max(factor) == 1:
            return self.copy(x)  # the reshaped view would be read-only
        x, at = self._memory_order(x)
        before, (h, w), after = x.shape[:at], x.shape[at : at + 2], x.shape[at + 2 :]
        y = self.reshape(x, (*before, h, 1, w, 1, *after))
        y = self.xp.broadcast_to(y, (*before, h, factor[0], w, factor[1], *after))
        return self._from_memory_order(self.reshape(y, (*before, h * factor[0], w * factor[1], *after)))

    def repeat_pixels_backward(self, dy: A, factor: Ints) -> A:
        out = [size // f for size, f in zip(dy.shape[2:], factor, strict=True)]
        return self.ave_pool(dy, factor, factor, (0, 0), out) * float(prod(factor))

    # -- images in other sizes ---------------------------------------------------------------------------------------

    def resample(self, x: A, down: A, across: A) -> A:
        """Return x (N, C, H, W) as (N, C, H', W'): weighted sums of rows and columns, by ``down`` (H', H) and
        ``across`` (W', W)."""
        for matrix in (across, down):
            n, channels, a, b = x.shape
            y = self.inner_product(self.reshape(x, (n * channels * a, b)), matrix, None)
            x = self.transpose(self.reshape(y, (n, channels, a, matrix.shape[0])), (0, 1, 3, 2))
        return x

    def interpolate(self, x: A, out: Ints) -> A:
        """Return images in another size, linear between pixels; the pixels at the corners stay at the corners."""
        return self.resample(x, *self.between_corners(x.shape[2:], out))

    def interpolate_backward(self, dy: A, size: Ints) -> A:
        return self.resample(dy, *(matrix.T for matrix in self.between_corners(size, dy.shape[2:])))

    def between_corners(self, size: Ints, out: Ints) -> list[A]:
        """Return, for each axis, the shares of its ``size`` pixels in ``out`` places: (out, size)."""
        shares = []
        for n, m in zip(size, out, strict=True):
            place = np.arange(m) * ((n - 1) / max(1, m - 1))
            shares.append(self.asarray(np.maximum(0, 1 - np.abs(place[:, None] - np.arange(n)))))
        return shares

    # -- normalisation -----------------------------------------------------------------------------------------------

    def lrn_across(self, x: A, size: int, alpha: float, beta: float, k: float) -> tuple[A, A]:
        """Return y = x * s**-beta and s = k + alpha / size * (sum of x**2 over ``size`` channels around)."""
        scale = k + (alpha / size) * self._channel_window_sum(x * x, size)
        return x * scale**-beta, scale

    def lrn_across_backward(self, dy: A, x: A, y: A, scale: A, size: int, alpha: float, beta: float) -> A:
        around = self._channel_window_sum(dy * y / scale, size)
        return dy * scale**-beta - (2.0 * alpha * beta / size) * x * around

    def _channel_window_sum(self, x: A, size: int) -> A:
        half = (size - 1) // 2
        lead = x.ndim - 1
        swapped = self.transpose(x, (0, *range(2, x.ndim), 1))
        padded = self.pad(swapped, [half], [size - 1 - half])
        channels = x.shape[1]
        total = padded[..., :channels]
        for shift in range(1, size):
            total = total + padded[..., shift : shift + channels]
        return self.transpose(total, (0, lead, *range(1, lead)))

    def moments(self, x: A) -> tuple[A, A]:
        """Return mean and (biased) variance of each channel, over all other axes, as (C,); 0 for an empty batch."""
        axes = (0, *range(2, x.ndim))
        size = max(1, x.shape[0] * prod(x.shape[2:]))
        mean = self.sum(x, axes) / size
        centred = x - self.along_channels(mean, x.ndim)
        return mean, self.sum(centred * centred, axes) / size

    def normalize(self, x: A, mean: A, inverse_std: A) -> A:
        """Return (x - mean) * inverse_std, channel by channel."""
        return (x - self.along_channels(mean, x.ndim)) * self.along_channels(inverse_std, x.ndim)

    def normalize_backward(self, dy: A, y: A, inverse_std: A) -> A:
        """Return the gradient of ``normalize`` if mean and deviation are those of the batch; y is its result."""
        axes = (0, *range(2, dy.ndim))
        size = max(1, dy.shape[0] * prod(dy.shape[2:]))
        mean_dy = self.along_channels(self.sum(dy, axes) / size, dy.ndim)
        mean_dy_y = self.along_channels(self.sum(dy * y, axes) / size, dy.ndim)
        return (dy - mean_dy - y * mean_dy_y) * self.along_channels(inverse_std, dy.ndim)

    def along_channels(self, x: A, num_axes: int) -> A:
        """Reshape (C,) to (C, 1, 1, ...), to broadcast along axis 1 of an array with ``num_axes`` axes."""
        return self.reshape(x, (-1, *[1] * (num_axes - 2))) if num_axes > 1 else x

    def scale_outputs(self, weight: A, factor: A, transposed_groups: int = 0) -> A:
        """Multiply the weights that make each channel of an output by its factor, (C).

        These are a row of ``weight``; with ``transposed_groups``, a deconvolution's, a column of its group's rows.
        """
        ones = [1] * (weight.ndim - 1)
        if not transposed_groups:
            return weight * self.reshape(factor, (-1, *ones))
        by_group = self.reshape(weight, (transposed_groups, -1, *weight.shape[1:]))
        by_group = by_group * self.reshape(factor, (transposed_groups, 1, -1, *ones[1:]))
        return self.reshape(by_group, weight.shape)

    # -- in place: the updates of a solver's arrays ------------------------------------------------------------------

    def momentum_step(self, w: A, g: A, v: A, rate: A | float, momentum: A | float, decay: A | float) -> None:
        """Set v = momentum v + rate (g + decay w), then w -= v, in place."""
        if decay:
            g = g + decay * w
        v *= momentum
        v += rate * g
        w -= v
