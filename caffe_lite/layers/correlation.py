"""Correlation, Correlation1D: how well each place of a map fits the places around it in another map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array
from ..proto.caffe_pb2 import CorrelationParameter, LayerParameter


@register_layer("Correlation")
class CorrelationLayer(Layer):
    """y_d = mean of a(p) b(p + d) over the channels and the places p of a window, for each displacement d; or, with
    correlation_type SUBTRACT, the mean of |a(p) - b(p + d)|.

    Bottoms: a and b, (N, C, H, W), with ``pad`` zeros around them. Top: (N, D D, H', W'), with the displacements row by
    row: each of the D multiples of stride_2 from -max_displacement to max_displacement down and across. Windows lie
    where every displaced one is inside, stride_1 apart: H' = ceil((H + 2 pad - 2 max_displacement - kernel_size + 1) /
    stride_1).
    Reads ``correlation_param``: kernel_size, an odd number; max_displacement; pad (0); stride_1 (1); stride_2 (1);
    correlation_type (MULTIPLY). do_abs has no effect, as in the original. single_direction is for Correlation1D.
    Source: Fischer et al. 2015 (FlowNet); correlation_layer.cu of FlowNet2. Differences: it runs on CPUs, too; with
    SUBTRACT, the gradient is that of the top (the original's compares other places).
    """

    kind = Kind.PRODUCT
    formula = r"y_d = \frac{1}{C k^2} \sum_{c, p} a_c(p) b_c(p + d)"
    bottoms = (2, 2)
    down: ClassVar[bool] = True  # displacements go down, too

    @staticmethod
    def caption(param: LayerParameter) -> str:
        return f"within {param.correlation_param.max_displacement}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.correlation_param
        if p.kernel_size % 2 == 0:
            self.error(f"kernel_size is {p.kernel_size}", "give an odd number")
        if not p.HasField("max_displacement"):
            self.error("max_displacement is not given", "say how far apart the places may be")
        if p.stride_1 < 1 or p.stride_2 < 1:
            self.error(f"stride_1 is {p.stride_1} and stride_2 is {p.stride_2}", "give 1 or more of each")
        reach = p.max_displacement // p.stride_2
        self.steps_x = [p.stride_2 * i for i in self._multiples(reach)]
        self.steps_y = self.steps_x if self.down else [0]
        self.margin = (p.max_displacement if self.down else 0, p.max_displacement)
        self.pad = (p.pad if self.down else 0, p.pad)
        self.beyond = max(0, -min(self.steps_x) - p.max_displacement)
        self.multiplies = p.correlation_type == CorrelationParameter.MULTIPLY

    def _multiples(self, reach: int) -> range:
        return range(-reach, reach + 1)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p, shape = self.param.correlation_param, bottom[0].shape
        if len(shape) != 4 or bottom[1].shape != shape:
            self.error(
                f"the bottoms have the shapes {shape} and {bottom[1].shape}", "give two maps of one (N, C, H, W)"
            )
        num, channels, height, width = shape
        if channels == 0:
            self.error(f"the bottoms {shape} have no channels", "check what makes them")
        size = []
        for side, margin, pad in zip((height, width), self.margin, self.pad, strict=True):
            room = side + 2 * pad - 2 * margin - p.kernel_size
            if room < 0:
                self.error(
                    f"the bottoms {shape} with pad {p.pad} have no room for max_displacement {p.max_displacement} "
                    f"and kernel_size {p.kernel_size}",
                    "raise pad, or lower them",
                )
            size.append(room // p.stride_1 + 1)
        self.channels = channels
        self.span = [(n - 1) * p.stride_1 + p.kernel_size for n in size]
        top[0].Reshape((num, len(self.steps_y) * len(self.steps_x), *size))

    def multiply_adds(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Count the product of every channel and place of a window."""
        return top[0].count * bottom[0].shape[1] * self.param.correlation_param.kernel_size**2

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops = self.ops
        a, b = (ops.pad(blob.data, self._border(), self._border()) for blob in bottom)
        self.saved.maps = [ops.transpose(x, (0, 2, 3, 1)) for x in (a, b)] if self.multiplies else [a, b]
        maps = []
        for y in self.steps_y:
            fits = self._products(y) if self.multiplies else self._distances(y)
            first, *others = self._taps()
            maps.append(sum((fits[tap] for tap in others), fits[first]))
        top[0].data = ops.concat(maps, 1) * (1 / self._terms(bottom))

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        p, steps, pads = self.param.correlation_param, len(self.steps_x), [0, 0, *self._border()]
        a, b = (g.Pad(x, [*pads, *pads]) for x in bottom)
        num, channels, (rows, columns) = bottom[0].sizes[0], self.channels, self.span
        width = bottom[0].image[1] + 2 * pads[3]
        _, down, across = self._window(0, 0)
        a = g.slice(a, [down.start, across.start], [down.stop, across.stop], [2, 3])
        displaced_rows = np.array([np.arange(rows) + self._window(y, 0)[1].start for y in self.steps_y])
        if self.multiplies:
            here = g.reshape(g.Transpose(a, perm=[0, 2, 3, 1]), (num, 1, rows, columns, channels))
            there = g.Gather(g.Transpose(b, perm=[0, 2, 1, 3]), displaced_rows, axis=1)
            products = g.Mul(g.MatMul(here, there), 1 / channels)
            # The displaced places lie along a diagonal. In rows that are longer by one, it is a column.
            flat = g.reshape(products, (num, len(self.steps_y), rows, columns * width))
            longer = g.Pad(flat, [0, 0, 0, 0, 0, 0, 0, columns])
            skewed = g.reshape(longer, (num, len(self.steps_y), rows, columns, width + 1))
            diagonals = self._columns()
            fits = g.Slice(skewed, [diagonals.start], [diagonals.stop], [4], [diagonals.step])
            fits = g.Transpose(fits, perm=[0, 1, 4, 2, 3])
        else:
            displaced_columns = np.array([np.arange(columns) + self._window(0, x)[2].start for x in self.steps_x])
            here = g.reshape(a, (num, channels, 1, rows, 1, columns))
            there = g.Gather(g.Gather(b, displaced_rows, axis=2), displaced_columns, axis=4)
            fits = g.reduce("ReduceMean", g.Abs(g.Sub(here, there)), [1], keepdims=False)
            fits = g.Transpose(fits, perm=[0, 1, 3, 2, 4])
        fits = g.reshape(fits, (num, len(self.steps_y) * steps, rows, columns))
        kernel, stride = [p.kernel_size] * 2, [p.stride_1] * 2
        return [fits if p.kernel_size == p.stride_1 == 1 else g.AveragePool(fits, kernel_shape=kernel, strides=stride)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        ops, number = self.ops, len(self.steps_x)
        dy = top[0].diff * (1 / self._terms(bottom))
        da, db = gradients = [ops.zeros(x.shape) for x in self.saved.maps]
        for i, y in enumerate(self.steps_y):
            spread = ops.zeros((dy.shape[0], number, *self.span))
            for tap in self._taps():
                spread[tap] += dy[:, i * number : (i + 1) * number]
            if self.multiplies:
                self._products_backward(y, spread, da, db)
            else:
                self._distances_backward(y, spread, da, db)
        inside = (..., *(slice(b, b + n) for b, n in zip(self._border(), bottom[0].shape[2:], strict=True)))
        for blob, wanted, gradient in zip(bottom, propagate_down, gradients, strict=True):
            if wanted:
                gradient = ops.transpose(gradient, (0, 3, 1, 2)) if self.multiplies else gradient
                blob.diff = gradient[inside]

    # -- sums of products: for every row of the map, a product of two matrices (places, channels) ----------------------

    def _products(self, y: int) -> Array:
        """Return the products of all places and those displaced by y and each x, summed: (N, D, *span)."""
        ops, (a, b), (rows, columns) = self.ops, self._row_pairs(y), self.span
        products = a @ b.swapaxes(-1, -2)
        # The displaced places lie along a diagonal. In rows that are longer by one, it is a column.
        flat = ops.reshape(products, (a.shape[0], columns * b.shape[1]))
        skewed = ops.reshape(ops.pad(flat, [0], [columns]), (a.shape[0], columns, b.shape[1] + 1))
        fits = ops.reshape(skewed[..., self._columns()], (-1, rows, columns, len(self.steps_x)))
        return ops.transpose(fits, (0, 3, 1, 2))

    def _products_backward(self, y: int, dy: Array, da: Array, db: Array) -> None:
        """Add the gradients of ``_products`` to those of the maps (N, H, W, C)."""
        ops, (a, b), (rows, columns) = self.ops, self._row_pairs(y), self.span
        skewed = ops.zeros((a.shape[0], columns, b.shape[1] + 1))
        skewed[..., self._columns()] = ops.reshape(
            ops.transpose(dy, (0, 2, 3, 1)), (a.shape[0], columns, len(self.steps_x))
        )
        flat = ops.reshape(skewed, (a.shape[0], columns * (b.shape[1] + 1)))[:, : columns * b.shape[1]]
        products = ops.reshape(flat, (a.shape[0], columns, b.shape[1]))
        _, down, across = self._window(0, 0)
        num, channels = da.shape[0], a.shape[2]
        da[:, down, across] += ops.reshape(products @ b, (num, rows, columns, channels))
        _, down, _ = self._window(y, 0)
        db[:, down] += ops.reshape(products.swapaxes(-1, -2) @ a, (num, rows, b.shape[1], channels))

    def _row_pairs(self, y: int) -> tuple[Array, Array]:
        """Return the rows of places, (N rows, columns, C), and the whole rows displaced by y, (N rows, width, C)."""
        a, b = self.saved.maps
        _, down, across = self._window(0, 0)
        _, displaced, _ = self._window(y, 0)
        count, channels = a.shape[0] * self.span[0], a.shape[3]
        return (
            self.ops.reshape(a[:, down, across], (count, self.span[1], channels)),
            self.ops.reshape(b[:, displaced], (count, b.shape[2], channels)),
        )

    def _columns(self) -> slice:
        """Return which columns of the skewed products belong to the displacements."""
        first = self._window(0, self.steps_x[0])[2].start
        step = self.param.correlation_param.stride_2
        return slice(first, first + (len(self.steps_x) - 1) * step + 1, step)

    # -- sums of absolute differences ---------------------------------------------------------------------------------

    def _distances(self, y: int) -> Array:
        """Return the distances of all places from those displaced by y and each x, summed: (N, D, *span)."""
        a, b = self.saved.maps
        here = a[self._window(0, 0)]
        each = [self.ops.sum(self.ops.abs(here - b[self._window(y, x)]), 1, keepdims=True) for x in self.steps_x]
        return self.ops.concat(each, 1)

    def _distances_backward(self, y: int, dy: Array, da: Array, db: Array) -> None:
        a, b = self.saved.maps
        here = self._window(0, 0)
        for i, x in enumerate(self.steps_x):
            there = self._window(y, x)
            slope = self.ops.sign(a[here] - b[there]) * dy[:, i : i + 1]
            da[here] += slope
            db[there] -= slope

    # -- geometry -----------------------------------------------------------------------------------------------------

    def _terms(self, bottom: Sequence[Blob]) -> int:
        return bottom[0].shape[1] * self.param.correlation_param.kernel_size**2

    def _border(self) -> tuple[int, int]:
        """Return how many zeros surround the maps: ``pad``, and what displacements reach beyond max_displacement."""
        return self.pad[0], self.pad[1] + self.beyond

    def _window(self, y: int, x: int) -> tuple[Any, slice, slice]:
        """Return the index of all places of the windows, displaced, in a map with its border."""
        starts = (self.margin[0] + y, self.margin[1] + x + self.beyond)
        down, across = (slice(start, start + span) for start, span in zip(starts, self.span, strict=True))
        return ..., down, across

    def _taps(self) -> list[tuple[Any, slice, slice]]:
        """Return, for every place of a window, the index of that place in all windows."""
        kernel, stride = self.param.correlation_param.kernel_size, self.param.correlation_param.stride_1
        down, across = (span - kernel + 1 for span in self.span)
        return [
            (..., slice(j, j + down, stride), slice(i, i + across, stride))
            for j in range(kernel)
            for i in range(kernel)
        ]


@register_layer("Correlation1D")
class Correlation1DLayer(CorrelationLayer):
    """Correlation, see CorrelationLayer, with displacements across alone, for pairs of cameras.

    Bottoms: (N, C, H, W), with ``pad`` zeros on the left and the right. Top: (N, D, H', W').
    Reads ``correlation_param``, and of it single_direction (0): 1 takes displacements of 0 and more, -1 those below 0
    and one beyond -max_displacement, where it finds zeros beside the map (the original finds the row above).
    Source: Mayer et al. 2016 (DispNet); correlation_layer1d.cu of FlowNet2.
    """

    down = False

    def _multiples(self, reach: int) -> range:
        direction = self.param.correlation_param.single_direction
        if direction == -1:
            return range(-reach - 1, 0)
        return range(0 if direction == 1 else -reach, reach + 1)
