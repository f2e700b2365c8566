"""InnerProduct: the fully connected layer."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..ops.array import Array
from ..ops.roles import Linear
from ..proto.caffe_pb2 import LayerParameter
from .common.fillers import fill


@register_layer("InnerProduct")
class InnerProductLayer(Layer):
    """y = x W^T + b, over everything from ``axis`` on.

    Bottom: (M..., K...), flattened to (M, K) at ``axis``. Top: (M..., num_output).
    Blobs: W (num_output, K), or (K, num_output) with transpose; b (num_output).
    Reads ``inner_product_param``: num_output, bias_term (true), axis (1), transpose (false), weight_filler,
    bias_filler.
    Source: the original's inner_product_layer.cpp.
    """

    kind = Kind.PRODUCT
    formula = r"y = x W^T + b"
    has_weights = True

    @staticmethod
    def caption(param: LayerParameter) -> str:
        return f"→ {param.inner_product_param.num_output}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.inner_product_param
        if p.num_output < 1:
            self.error(f"num_output is {p.num_output}", "give inner_product_param a num_output of at least 1")
        self.num_output = p.num_output
        self.transposed = p.transpose
        self.first = self.axis(p.axis, bottom[0].num_axes)
        self.num_input = prod(bottom[0].shape[self.first :])
        if not self.num_input:
            self.error(
                f"the bottom's shape {bottom[0].shape} gives no inputs from axis {self.first} on",
                "only the axes before axis may be empty: check what makes this bottom, or set axis",
            )
        shape = (self.num_input, self.num_output) if p.transpose else (self.num_output, self.num_input)
        self.blobs = [Blob(self.ops, shape)]
        fill(self.blobs[0], p.weight_filler, self.rng)
        if p.bias_term:
            self.blobs.append(Blob(self.ops, (self.num_output,)))
            fill(self.blobs[1], p.bias_filler, self.rng)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if (inputs := prod(shape[self.first :])) != self.num_input:
            self.error(
                f"the bottom's shape {shape} gives {inputs} inputs, the weights have {self.num_input}",
                "keep the input size that the net was made with, or make the net anew",
            )
        top[0].Reshape((*shape[: self.first], self.num_output))

    def multiply_adds(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Count every weight once for each row."""
        return top[0].count // self.num_output * self.blobs[0].count

    def role(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> Linear:
        return Linear(top[0].num_axes == 2, self._weight_and_bias, self._rows, self.ops.inner_product)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.saved.x = self._rows(bottom[0].data)
        y = self.ops.inner_product(self.saved.x, *self._weight_and_bias())
        top[0].data = self.ops.reshape(y, top[0].shape)

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy = self.ops.reshape(top[0].diff, (-1, self.num_output))
        need_bias = len(self.blobs) > 1 and self.param_propagate_down[1]
        dx, dw, db = self.ops.inner_product_backward(
            dy, self.saved.x, self._weight(), (propagate_down[0], self.param_propagate_down[0], need_bias)
        )
        if dx is not None:
            bottom[0].diff = self.ops.reshape(dx, bottom[0].shape)
        if dw is not None:
            self.blobs[0].add_diff(dw.T if self.transposed else dw)
        if db is not None:
            self.blobs[1].add_diff(db)

    def _rows(self, x: Array) -> Array:
        return self.ops.reshape(x, (-1, self.num_input))

    def _weight_and_bias(self) -> tuple[Array, Array | None]:
        return self._weight(), self.blobs[1].data if len(self.blobs) > 1 else None

    def _weight(self) -> Array:
        weight = self.blobs[0].data
        return weight.T if self.transposed else weight
