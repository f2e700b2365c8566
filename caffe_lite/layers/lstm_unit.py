"""LSTMUnit: one step of a long short-term memory."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array
from ..ops.base import Ops


def lstm_unit(ops: Ops[Array], c: Array, gates: Array, cont: Array) -> tuple[Array, Array, tuple[Array, ...]]:
    """Return the next c and h, by the formula of LSTMUnitLayer, and the values that ``lstm_unit_backward`` needs."""
    size = c.shape[-1]
    ifo, g = ops.sigmoid(gates[..., : 3 * size]), ops.tanh(gates[..., 3 * size :])
    i, f, o = _parts(ifo)
    c_before = cont * c
    c = f * c_before + i * g
    squashed = ops.tanh(c)
    return c, o * squashed, (cont, c_before, ifo, g, squashed)


def lstm_unit_onnx(g: OnnxGraph, c: Value, gates: Value, cont: Value, size: int) -> tuple[Value, Value]:
    """Write what ``lstm_unit`` computes: the next c and h, ``size`` values for each stream."""
    i, f, o, new = g.Split(gates, [size] * 4, axis=-1, outputs=4)
    c = g.Add(g.Mul(g.Sigmoid(f), g.Mul(cont, c)), g.Mul(g.Sigmoid(i), g.Tanh(new)))
    return c, g.Mul(g.Sigmoid(o), g.Tanh(c))


def lstm_unit_backward(
    ops: Ops[Array], kept: tuple[Array, ...], dc: Array | float, dh: Array | float
) -> tuple[Array, Array]:
    """Return the gradients of c and of the gates."""
    cont, c_before, ifo, g, squashed = kept
    i, f, o = _parts(ifo)
    dc = dc + dh * o * (1 - squashed * squashed)
    d_ifo = ops.concat([dc * g, dc * c_before, dh * squashed], -1) * ifo * (1 - ifo)
    return cont * dc * f, ops.concat([d_ifo, dc * i * (1 - g * g)], -1)


def _parts(ifo: Array) -> list[Array]:
    size = ifo.shape[-1] // 3
    return [ifo[..., k * size : (k + 1) * size] for k in range(3)]


@register_layer("LSTMUnit")
class LSTMUnitLayer(Layer):
    """c' = cont sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c'), for a row of gates (i, f, o, g).

    Bottoms: c (1, N, D); gates (1, N, 4 D); cont (1, N), 0 where a sequence begins, else 1. cont gets no gradient.
    Tops: c' and h', both (1, N, D).
    Where cont is neither 0 nor 1, the original's gradient of f is wrong on CPUs (it treats cont as part of the
    sigmoid); here it is the gradient of the formula, as on the original's GPUs.
    Source: Hochreiter and Schmidhuber 1997; Donahue et al. 2015 (LRCN); the original's lstm_unit_layer.cpp.
    """

    kind = Kind.PRODUCT
    formula = r"c_t = \text{cont}_t \, \sigma(f_t) c_{t-1} + \sigma(i_t) \tanh(g_t), \quad h_t = \sigma(o_t) \tanh(c_t)"
    bottoms = (3, 3)
    tops = (2, 2)
    not_differentiable = (2,)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        c, gates, cont = (blob.shape for blob in bottom)
        if len(c) != 3 or c[0] != 1:
            self.error(f"the first bottom's shape is {c}", "it is the cell of one step: (1, N, D)")
        if gates != (1, c[1], 4 * c[2]):
            self.error(f"the gates' shape is {gates}", f"for a cell of {c} it must be {(1, c[1], 4 * c[2])}")
        if cont != c[:2]:
            self.error(f"the shape of cont is {cont}", f"for a cell of {c} it must be {c[:2]}")
        for blob in top:
            blob.Reshape(c)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        c, gates, cont = (blob.data for blob in bottom)
        top[0].data, top[1].data, self.saved.kept = lstm_unit(self.ops, c, gates, cont[..., None])

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        c, gates, cont = bottom
        return lstm_unit_onnx(g, c, gates, g.reshape(cont, (*cont.sizes, 1)), top[0].image[0])

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[2]:
            self.error(
                "a gradient is asked for cont, and there is none",
                "give the layer one propagate_down for each bottom: false for cont, true for the others",
            )
        dc, dgates = lstm_unit_backward(self.ops, self.saved.kept, top[0].diff, top[1].diff)
        for blob, gradient, needed in zip(bottom, (dc, dgates), propagate_down, strict=False):
            if needed:
                blob.diff = gradient
