"""MatMul: the product of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array


@register_layer("MatMul")
class MatMulLayer(Layer):
    """Y = A B, for the matrices in the last two axes.

    Bottoms: A (..., M, K); B (..., K, N), with the same axes before, or one matrix (K, N) for all. Top: (..., M, N).
    Blobs: with one bottom, B, with the sizes in blob_shape, 0 at first.
    Reads ``matmul_param``: transpose_a (false), transpose_b (false), for B with as many axes as A only: A is (..., K,
    M), B (..., N, K); blob_shape.
    Source: matmul_layer.cpp of Synopsys' Caffe, which has no gradient.
    """

    kind = Kind.PRODUCT
    formula = r"Y = A B"
    bottoms = (1, 2)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.matmul_param
        if len(bottom) == 1:
            if not p.blob_shape:
                self.error("it has one bottom and no blob_shape", "give it a second bottom, or blob_shape")
            self.blobs = [Blob(self.ops, tuple(p.blob_shape))]

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.matmul_param
        a, b = bottom[0].shape, self._second(bottom).shape
        self.shared = len(b) == 2 < len(a)
        if min(len(a), len(b)) < 2 or not (self.shared or len(a) == len(b)):
            self.error(f"A is {a}, B is {b}", "give B as many axes as A, or two")
        if self.shared and (p.transpose_a or p.transpose_b):
            self.error(f"A is {a}, B is {b}, and one is to be transposed", "give B as many axes as A")
        rows, inner = a[-2:][::-1] if p.transpose_a else a[-2:]
        other, columns = b[-2:][::-1] if p.transpose_b else b[-2:]
        if inner != other or not (self.shared or a[:-2] == b[:-2]):
            self.error(f"A is {a}, B is {b}", f"B needs {inner} rows for A's {inner} columns, and A's axes before them")
        self.mixes = len(bottom) > 1 and len(b) == 2
        top[0].Reshape((*a[:-2], rows, columns))

    @property
    def mixes_samples(self) -> bool:
        return self.mixes

    def multiply_adds(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        inner = bottom[0].shape[-2 if self.param.matmul_param.transpose_a else -1]
        return top[0].count * inner

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.matmul_param
        self.saved.a = _transposed(bottom[0].data, p.transpose_a)
        self.saved.b = _transposed(self._second(bottom).data, p.transpose_b)
        top[0].data = self.saved.a @ self.saved.b

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        p = self.param.matmul_param
        a, b = [*bottom, *map(g.value, self.blobs)][:2]
        return [g.MatMul(_transposed_onnx(g, a, p.transpose_a), _transposed_onnx(g, b, p.transpose_b))]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        p, dy = self.param.matmul_param, top[0].diff
        if propagate_down[0]:
            bottom[0].diff = _transposed(dy @ _transposed(self.saved.b), p.transpose_a)
        if len(bottom) > 1 and propagate_down[1]:
            bottom[1].diff = self._gradient_of_second(dy)
        if self.blobs and self.param_propagate_down[0]:
            self.blobs[0].add_diff(self._gradient_of_second(dy))

    def _second(self, bottom: Sequence[Blob]) -> Blob:
        return (*bottom, *self.blobs)[1]

    def _gradient_of_second(self, dy: Array) -> Array:
        a = self.saved.a
        if self.shared:
            a = self.ops.reshape(a, (prod(a.shape[:-1]), a.shape[-1]))
            dy = self.ops.reshape(dy, (prod(dy.shape[:-1]), dy.shape[-1]))
        return _transposed(_transposed(a) @ dy, self.param.matmul_param.transpose_b)


def _transposed(x: Array, really: bool = True) -> Array:
    return x.swapaxes(-1, -2) if really else x


def _transposed_onnx(g: OnnxGraph, x: Value, really: bool) -> Value:
    y: Value = g.Transpose(x, perm=[*range(x.ndim - 2), x.ndim - 1, x.ndim - 2]) if really else x
    return y
