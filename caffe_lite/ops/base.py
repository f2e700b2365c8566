"""The arithmetic of layers, written once over an array namespace; engines override what they do faster.

Every operation is a function: arrays in, arrays out, no argument written to. Arrays that a Net calls (N, C, H, W) have
that shape here too, in whatever memory layout the engine likes.
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

# What picks an element for every window.
Tap = tuple[Any, ...]
# Which element was chosen in each window: the engine's own affair.
Choice = Any
# What a compiled function gives: arrays, and a note, any object.
Results = tuple[Sequence[A], Any]
Function = Callable[..., Results[A]]
LEAVE_OUT = "leave out --compile (compile=True, CAFFE_LITE_COMPILE)"


class Tracer(Protocol[A]):
    """What a pass that is traced does with what must happen anew on the host in every run.

    ``constant``: the values of the parameters are compiled in.
    """

    constant: bool

    def drawn(self, draw: Callable[[], np.ndarray]) -> A: ...

    def inspect(self, x: A, check: Callable[[np.ndarray], None]) -> None: ...


class Compiled(Protocol[A]):
    """A function that is compiled anew for each set of shapes that it meets; it may write into its arguments.

    ``takes_constants``: whether values can be compiled in.
    """

    takes_constants: bool

    def __call__(
        self, moving: Sequence[A], staying: Sequence[A], settings: Hashable = (), constant: bool = False
    ) -> Results[A]:
        """``function(*moving, *staying)``; the arrays that stay are those that seldom are others than before.

        ``settings`` is whatever else the function depends on: with others it is compiled again. With ``constant`` the
        values of the arrays that stay become part of what is compiled: they must never change. The note that the
        function gave is given again with the results of every later run.
        """
        ...


class Program(Protocol):
    """A whole pass over a net, run at once: the forward pass, or with ``backward`` the forward and backward pass."""

    backward: bool

    def __call__(self) -> Array:
        """Run it: bind the blobs that it keeps, add up the parameters' diffs; the sum of the weighted losses."""
        ...

    def serves(self, read: Iterable[Any] = ()) -> bool:
        """Whether it keeps all of these blobs, and all of which a user holds an array."""
        ...

    def rerun(self) -> None:
        """Make every blob readable: run the layers of the last pass over the same data."""
        ...

    def parameters_are_others(self) -> None:
        """Be told that the net's layers have got other blobs for parameters."""
        ...


class Fused(Protocol[A]):
    """Kernels for several layers at once; ``fusion`` decides where they serve."""

    def convolution(
        self, x: A, weight: A, bias: A | None, slope: float | None, windows: Windows
    ) -> Callable[[A, A | None], A] | None: ...

    def rectify(self, y: A, slope: float) -> A: ...

    def normalizes(self, x: A) -> bool: ...

    def batch_norm(self, x: A, scale: A, shift: A | None, eps: float, slope: float | None) -> tuple[A, A, A, Any]: ...

    def batch_norm_backward(
        self, dy: A, x: A, y: A, scale: A, saved: Any, eps: float, slope: float | None, need: Need
    ) -> Gradients[A]: ...


class Ops(Generic[A]):
    """All operations over ``xp``, a namespace in the style of the Python array API standard.

    ``dtype`` is the type of every blob of the net: float32, or float64 where gradients are checked.
    """

    name: ClassVar[str] = "base"
    array_type: type[A]
    shares_memory: bool = True  # with the host: no array lies on a device that NumPy cannot see
    image_order: ClassVar[tuple[int, ...]] = (0, 1, 2, 3)  # the axes of (N, C, H, W) as they best lie in memory
    device: str = "cpu"  # as torch spells it: "cuda:0"
    fused: Fused[A] | None = None
    tracer: Tracer[A] | None = None  # while a pass is traced to be compiled

    def __init__(self, xp: Any, dtype: str = "float32") -> None:
        self.xp = xp
        self.dtype_name = dtype
        self.dtype = getattr(xp, dtype)
        self.itemsize = np.dtype(dtype).itemsize

    @property
    def on_gpu(self) -> bool:
        return self.device != "cpu"

    def describe(self) -> str:
        """Name, device and threads, for the log."""
        return self.name

    def compile(self, name: str, function: Function[A]) -> Compiled[A]:
        """A function from arrays to arrays, compiled; the log and errors call it by ``name``."""
        raise EngineError(f"the {self.name} engine cannot compile", hint=f"choose the torch engine, or {LEAVE_OUT}")

    def program(self, net: Any) -> Program | None:
        """For an engine that runs nets as a whole: a net's program, or None where its layers run one by one."""
        return None

    def quiet(self) -> AbstractContextManager[object]:
        """A context for arithmetic whose overflows are no news: what becomes of them is seen in the loss."""
        return nullcontext()

    def ran_out_of_memory(self, error: Exception) -> bool:
        """Whether this is how the library tells that there is no memory left."""
        return isinstance(error, MemoryError)

    # -- arrays ------------------------------------------------------------------------------------------------------

    def zeros(self, shape: Ints) -> A:
        return self.xp.zeros(tuple(shape), dtype=self.dtype)

    def full(self, shape: Ints, value: float) -> A:
        return self.xp.full(tuple(shape), value, dtype=self.dtype)

    def scalar(self, value: A | float) -> A:
        """A 0-d array, as the top of a loss layer holds it."""
        return self.xp.asarray(value, dtype=self.dtype)

    def asarray(self, values: np.ndarray) -> A:
        """The engine's array of these values; shares memory where it can."""
        return self.xp.asarray(values, dtype=self.dtype)

    def filled(self, shape: Ints, fill: Callable[[], np.ndarray]) -> A:
        """What ``fill`` makes on the host, a parameter of this shape; an engine of shapes alone does without it."""
        return self.asarray(fill())

    def copy(self, x: A) -> A:
        return self.xp.asarray(x, copy=True)

    def row_major(self, x: A) -> A:
        """The same array, or if it lies otherwise in memory a copy in row-major order."""
        raise NotImplementedError

    def host_view(self, x: A) -> np.ndarray:
        """A NumPy array of the same values: the same memory; where none is shared, a copy that cannot be written to."""
        raise NotImplementedError

    def write(self, x: A, values: np.ndarray) -> None:
        """Put the host's values into an array, in place."""
        x[...] = self.asarray(values)

    def drawn(self, draw: Callable[[], np.ndarray]) -> A:
        """What ``draw`` gives, random numbers; a compiled pass draws anew in every run."""
        return self.asarray(draw()) if self.tracer is None else self.tracer.drawn(draw)

    def inspect(self, x: A, check: Callable[[np.ndarray], None]) -> None:
        """Let ``check`` see the values, and raise if they will not do; a compiled pass checks them in every run."""
        if self.tracer is None:
            check(self.host_view(x))
        else:
            self.tracer.inspect(x, check)

    def version(self, x: A) -> int | None:
        """How often this engine has written into an array, if it can tell; what a user writes does not count."""
        raise NotImplementedError

    def indices(self, x: A) -> A:
        """Labels, kept in blobs as floats, as whole numbers."""
        return self.xp.asarray(x, dtype=self.xp.int64)

    def astype(self, x: A) -> A:
        """Indices, counts or conditions as the net's dtype."""
        return self.xp.asarray(x, dtype=self.dtype)

    def concat(self, arrays: Sequence[A], axis: int) -> A:
        return self.xp.concat(list(arrays), axis=axis)

    def transpose(self, x: A, axes: Ints) -> A:
        return self.xp.permute_dims(x, tuple(axes))

    def reshape(self, x: A, shape: Ints) -> A:
        """The same values in row-major order under another shape; may share memory with ``x``."""
        return self.xp.reshape(x, tuple(shape))

    def pad(self, x: A, before: Ints, after: Ints, value: float = 0.0) -> A:
        """``x`` with its last axes widened by ``before`` and ``after``."""
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

    def affine(self, x: A, scale: float, shift: float) -> A:
        """``scale * x + shift``; a scale of 1 and a shift of 0 cost nothing."""
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
        """The positions along ``axis`` in the order of rising values; equals stay in order."""
        return self.xp.argsort(x, axis=axis, stable=True)

    def largest(self, x: A, count: int, axis: int) -> A:
        """Where along ``axis`` the ``count`` largest are, the largest first; of equals the later first."""
        before = (slice(None),) * axis
        if count == 1:
            return (x.shape[axis] - 1 - self.argmax(self.flip(x, axis), axis))[(*before, None)]
        return self.flip(self.argsort(x, axis), axis)[(*before, slice(count))]

    def number(self, x: A) -> float:
        """A 0-d array as a Python number; on a device this waits for it."""
        return float(x)

    def sum_of_squares(self, x: A) -> A:
        return self.sum(x * x)

    # -- rows --------------------------------------------------------------------------------------------------------

    def take_rows(self, x: A, index: A) -> A:
        """``x[i]`` for each i of ``index``, which may have any shape."""
        return x[index]

    def sum_rows(self, rows: A, index: A, count: int) -> A:
        """An array of ``count`` rows, to row ``index[i]`` of which each ``rows[i]`` is added: take_rows' gradient."""
        picked = self.one_hot(self.reshape(index, (-1, 1)), count, 1)
        flat = self.reshape(rows, (rows.shape[0], prod(rows.shape[1:])))
        return self.reshape(picked.T @ flat, (count, *rows.shape[1:]))

    def nonzero(self, x: A) -> A:
        """Where a 1-D array is not 0."""
        if self.tracer is not None:
            raise NotImplementedError("how many samples it passes on depends on the values it is given")
        return self.xp.where(self.xp.not_equal(x, 0))[0]

    # -- neurons -----------------------------------------------------------------------------------------------------

    def relu(self, x: A, slope: float) -> A:
        return self.xp.where(x > 0, x, slope * x)

    def relu_backward(self, dy: A, x: A, slope: float) -> A:
        """``x`` is what went in; where ``slope`` is not negative, what came out serves as well."""
        return self.xp.where(x > 0, dy, slope * dy)

    def prelu(self, x: A, slope: A) -> A:
        """``slope`` has one element, or one for each channel, shaped to broadcast."""
        return self.xp.where(x > 0, x, slope * x)

    def dropout_mask(self, rng: np.random.Generator, shape: Ints, ratio: float) -> A:
        """0 with probability ``ratio``, else 1 / (1 - ratio)."""
        return self.drawn(lambda: rng.random(tuple(shape), dtype=np.float32) >= ratio) * (1.0 / (1.0 - ratio))

    # -- classes along an axis ---------------------------------------------------------------------------------------

    def softmax(self, x: A, axis: int) -> A:
        e = self.exp(x - self.max(x, axis, keepdims=True))
        return e / self.sum(e, axis, keepdims=True)

    def pick(self, x: A, index: A, axis: int) -> A:
        """``x[..., index, ...]`` along ``axis``; ``index`` has the shape of ``x`` with 1 at that axis."""
        return self.xp.take_along_axis(x, index, axis=axis)

    def one_hot(self, index: A, classes: int, axis: int) -> A:
        """1 where the position along ``axis`` is ``index`` (which has size 1 there), else 0."""
        shape = [1] * index.ndim
        shape[axis] = classes
        return self.astype(self.xp.reshape(self.xp.arange(classes), tuple(shape)) == index)

    def softmax_backward(self, dy: A, y: A, axis: int) -> A:
        """``y`` is what ``softmax`` gave."""
        return (dy - self.sum(dy * y, axis, keepdims=True)) * y

    def cross_entropy_backward(self, prob: A, index: A, scale: A, axis: int) -> A:
        """Gradient of ``-scale * log(pick(prob, index))`` in what ``prob`` is the softmax of."""
        return (prob - self.one_hot(index, prob.shape[axis], axis)) * scale

    def sigmoid_cross_entropy(self, x: A, target: A) -> A:
        """``-target * log(p) - (1 - target) * log(1 - p)`` with p = sigmoid(x), element by element, for any x."""
        return self.at_least(x, 0.0) - x * target + self.log1p(self.exp(-self.abs(x)))

    # -- affine ------------------------------------------------------------------------------------------------------

    def inner_product(self, x: A, weight: A, bias: A | None) -> A:
        """(M, K) by (N, K) to (M, N)."""
        y = x @ weight.T
        return y if bias is None else y + bias

    def inner_product_backward(self, dy: A, x: A, weight: A, need: Need) -> Gradients[A]:
        """Gradients in x, weight and bias; None where not needed."""
        return (
            dy @ weight if need[0] else None,
            dy.T @ x if need[1] else None,
            self.sum(dy, 0) if need[2] else None,
        )

    # -- windows: shared by convolution and pooling -------------------------------------------------------------------

    @staticmethod
    def _taps(kernel: Ints, stride: Ints, dilation: Ints, out: Ints) -> list[Tap]:
        """For every kernel position the index that picks, from a padded input, the element it meets in each window."""
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
        """Cross-correlation of x (N, C, *spatial) with weight (M, C / group, *kernel) to (N, M, *out).

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
        """Gradients in x, weight and bias; None where not needed."""
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
        """The transpose of convolution, which is its gradient in the image: x (N, C, *spatial) with weight
        (C, M / group, *kernel) to (N, M, *out), as large as an image must be to have ``spatial`` windows."""
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
        """Gradients in x, weight and bias; None where not needed."""
        geometry = stride, pad, dilation, group
        return (
            self.convolution(dy, weight, None, *geometry) if need[0] else None,
            self.convolution_backward(x, dy, weight, *geometry, (False, True, False))[1] if need[1] else None,
            self.sum(dy, (0, *range(2, dy.ndim))) if need[2] else None,
        )

    def im2col(self, x: A, kernel: Ints, stride: Ints, pad: Ints, dilation: Ints) -> A:
        """The windows of x (N, C, *spatial) as columns (N, C * prod(kernel), *out): at each place all elements that its
        window meets, channel by channel."""
        out = tuple(convolved(*axis) for axis in zip(x.shape[2:], kernel, stride, pad, dilation, strict=True))
        padded = self.pad(x, pad, pad)
        columns = self.xp.stack([padded[tap] for tap in self._taps(kernel, stride, dilation, out)], axis=2)
        return self.reshape(columns, (x.shape[0], x.shape[1] * prod(kernel), *out))

    def col2im(self, columns: A, size: Ints, kernel: Ints, stride: Ints, pad: Ints, dilation: Ints) -> A:
        """The transpose of ``im2col``: every element of the columns added to where it came from in (N, C, *size)."""
        n, rows, *out = columns.shape
        columns = self.reshape(columns, (n, rows // prod(kernel), prod(kernel), *out))
        padded = self.zeros((n, columns.shape[1], *(s + 2 * p for s, p in zip(size, pad, strict=True))))
        for k, tap in enumerate(self._taps(kernel, stride, dilation, out)):
            padded[tap] += columns[:, :, k]
        return padded[(..., *(slice(p, p + s) for s, p in zip(size, pad, strict=True)))]

    def _padded_to_windows(
        self, x: A, kernel: Ints, stride: Ints, pad: Ints, out: Ints, value: float
    ) -> tuple[A, list[Tap]]:
        """x with ``value`` around it, wide enough for every window (those past the edge too), and the taps into it."""
        after = [
            max(0, spanned(n, k, s) - size - p)
            for n, s, k, size, p in zip(out, stride, kernel, x.shape[2:], pad, strict=True)
        ]
        return self.pad(x, pad, after, value), self._taps(kernel, stride, [1] * len(out), out)

    def max_pool(self, x: A, kernel: Ints, stride: Ints, pad: Ints, out: Ints) -> tuple[A, Choice]:
        """The largest element of each window, and the choice: which one that was, the first of equals.

        The choice is the engine's own affair; ``max_pool_index`` and ``max_pool_backward`` understand it. A window
        that meets no element gives 0.
        """
        xp = self.xp
        padded, taps = self._padded_to_windows(x, kernel, stride, pad, out, -xp.inf)
        best, choice = padded[taps[0]], self.zeros((*x.shape[:2], *out))
        for k, tap in enumerate(taps[1:], 1):
            larger = padded[tap] > best
            best, choice = xp.where(larger, padded[tap], best), xp.where(larger, self.scalar(k), choice)
        empty = best == -xp.inf
        return xp.where(empty, self.scalar(0), best), xp.where(empty, self.scalar(-1), choice)

    def max_pool_index(self, choice: Choice, x_shape: Ints, kernel: Ints, stride: Ints, pad: Ints) -> A:
        """Where the chosen elements lie in the flattened plane (H * W), in the net's dtype; -1 for empty windows."""
        xp = self.xp
        out = choice.shape[2:]
        plane = self.reshape(self.asarray(np.arange(prod(x_shape[2:]))), (1, 1, *x_shape[2:]))
        places, taps = self._padded_to_windows(plane, kernel, stride, pad, out, -1.0)
        index = self.full(choice.shape, -1.0)
        for k, tap in enumerate(taps):
            index = xp.where(choice == k, places[tap], index)
        return index

    def max_pool_backward(self, dy: A, choice: Choice, x_shape: Ints, kernel: Ints, stride: Ints, pad: Ints) -> A:
        """Each window's gradient goes to the element that ``choice`` (as ``max_pool`` gave it) names."""
        dx, taps = self._padded_to_windows(self.zeros(x_shape), kernel, stride, pad, dy.shape[2:], 0.0)
        dx = self.copy(dx)
        for k, tap in enumerate(taps):
            dx[tap] += self.xp.where(choice == k, dy, self.scalar(0))
        return dx[(..., *(slice(p, p + s) for s, p in zip(x_shape[2:], pad, strict=True)))]

    def ave_pool(self, x: A, kernel: Ints, stride: Ints, pad: Ints, out: Ints) -> A:
        """The mean of each window. Elements of the padding count as zeros, those beyond it do not count."""
        padded, taps = self._padded_to_windows(x, kernel, stride, pad, out, 0.0)
        total = padded[taps[0]]
        for tap in taps[1:]:
            total = total + padded[tap]
        return total / self._window_sizes(x.shape[2:], kernel, stride, pad, out)

    def ave_pool_backward(self, dy: A, x_shape: Ints, kernel: Ints, stride: Ints, pad: Ints) -> A:
        out = dy.shape[2:]
        share = dy / self._window_sizes(x_shape[2:], kernel, stride, pad, out)
        dx, taps = self._padded_to_windows(self.zeros(x_shape), kernel, stride, pad, out, 0.0)
        dx = self.copy(dx)
        for tap in taps:
            dx[tap] += share
        return dx[(..., *(slice(p, p + s) for s, p in zip(x_shape[2:], pad, strict=True)))]

    def _window_sizes(self, size: Ints, kernel: Ints, stride: Ints, pad: Ints, out: Ints) -> A:
        """How many elements of image and padding each window meets, at least 1; shape ``out``."""
        area = self.full([1] * len(out), 1.0)
        for axis in range(len(out)):
            counts = [
                max(
                    1,
                    min(i * stride[axis] - pad[axis] + kernel[axis], size[axis] + pad[axis])
                    - i * stride[axis]
                    + pad[axis],
                )
                for i in range(out[axis])
            ]
            shape = [1] * len(out)
            shape[axis] = out[axis]
            area = area * self.reshape(self.asarray(np.array(counts)), shape)
        return area

    def stochastic_pool(
        self, x: A, kernel: Ints, stride: Ints, pad: Ints, out: Ints, thresholds: A
    ) -> tuple[A, Choice]:
        """From each window an element drawn with probability proportional to its value, and the choice as in max_pool.

        ``thresholds`` (N, C, *out) in (0, 1]: the drawn element is the first at which the running sum passes
        threshold times the window's sum.
        """
        xp = self.xp
        padded, taps = self._padded_to_windows(x, kernel, stride, pad, out, 0.0)
        inside, _ = self._padded_to_windows(self.full((1, 1, *x.shape[2:]), 1.0), kernel, stride, pad, out, 0.0)
        values = xp.stack([padded[tap] for tap in taps], axis=0)
        met = xp.stack([xp.broadcast_to(inside[tap], values.shape[1:]) for tap in taps], axis=0)
        running = xp.cumsum(values, axis=0)
        reached = (running >= thresholds * running[-1]) & (met > 0)
        chosen = xp.argmax(self.astype(reached), axis=0)[None]
        choice = xp.where(self.max(met, 0) > 0, self.astype(chosen[0]), self.scalar(-1))
        return self.pick(values, chosen, 0)[0], choice

    def weighted_pool(self, x: A, kernel: Ints, stride: Ints, pad: Ints, out: Ints) -> A:
        """Each window's mean weighted by its own values, sum(x^2) / sum(x): STOCHASTIC pooling in the TEST phase."""
        padded, taps = self._padded_to_windows(x, kernel, stride, pad, out, 0.0)
        total = sum((padded[tap] for tap in taps[1:]), padded[taps[0]])
        squares = sum((padded[tap] * padded[tap] for tap in taps[1:]), padded[taps[0]] * padded[taps[0]])
        return self.xp.where(total > 0, squares / self.at_least(total, 1e-37), self.scalar(0))

    # -- normalisation -----------------------------------------------------------------------------------------------

    def lrn_across(self, x: A, size: int, alpha: float, beta: float, k: float) -> tuple[A, A]:
        """y = x * s**-beta with s = k + alpha / size * (sum of x**2 over ``size`` channels around); gives y and s."""
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
        """Mean and (biased) variance of each channel, over all other axes; shape (C,). Those of nothing are 0."""
        axes = (0, *range(2, x.ndim))
        size = max(1, x.shape[0] * prod(x.shape[2:]))
        mean = self.sum(x, axes) / size
        centred = x - self.along_channels(mean, x.ndim)
        return mean, self.sum(centred * centred, axes) / size

    def normalize(self, x: A, mean: A, inverse_std: A) -> A:
        """(x - mean) * inverse_std, channel by channel."""
        return (x - self.along_channels(mean, x.ndim)) * self.along_channels(inverse_std, x.ndim)

    def normalize_backward(self, dy: A, y: A, inverse_std: A) -> A:
        """Gradient through ``normalize`` where mean and deviation are those of the batch itself; y is its result."""
        axes = (0, *range(2, dy.ndim))
        size = max(1, dy.shape[0] * prod(dy.shape[2:]))
        mean_dy = self.along_channels(self.sum(dy, axes) / size, dy.ndim)
        mean_dy_y = self.along_channels(self.sum(dy * y, axes) / size, dy.ndim)
        return (dy - mean_dy - y * mean_dy_y) * self.along_channels(inverse_std, dy.ndim)

    def along_channels(self, x: A, num_axes: int) -> A:
        """(C,) as (C, 1, 1, ...), to broadcast along axis 1 of an array with ``num_axes`` axes."""
        return self.reshape(x, (-1, *[1] * (num_axes - 2))) if num_axes > 1 else x

    # -- in place: what a solver does to its arrays ------------------------------------------------------------------

    def momentum_step(self, w: A, g: A, v: A, rate: A | float, momentum: float, decay: float) -> None:
        """v = momentum v + rate (g + decay w), then w -= v, written into v and w."""
        if decay:
            g = g + decay * w
        v *= momentum
        v += rate * g
        w -= v
