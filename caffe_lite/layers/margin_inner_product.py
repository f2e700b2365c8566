"""MarginInnerProduct: a fully connected layer whose angles have a margin, for faces (A-Softmax)."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi, prod

import numpy as np

from ..blobs import Blob
from ..layer import Kind, register_layer
from ..onnx_graph import INT64, OnnxGraph, Value
from ..ops.array import Array
from ..proto.caffe_pb2 import LayerParameter, MarginInnerProductParameter
from .common.counting import CountingLayer
from .common.fillers import fill
from .common.loss import class_labels
from .common.unit_vectors import unit_vectors


@register_layer("MarginInnerProduct")
class MarginInnerProductLayer(CountingLayer):
    """y_k = w_k x, with |w_k| = 1, but for the class l of the sample y_l = (|x| psi + lambda w_l x) / (1 + lambda).

    psi(c) = (-1)^j cos(m t) - 2 j continues the cosine of m angles, c = cos t, without a step: j counts how many times
    pi / m fits into t. m is 1 for SINGLE (psi is c), 2 for DOUBLE, 3 for TRIPLE, 4 for QUADRUPLE.
    lambda = base (1 + gamma i)^(-power), at least lambda_min, with the number i of the Forward.
    The gradient is the original's: that of W is the one without margin; in that of x, the margin's part for the class l
    is psi' w_l + (psi - c psi') / |x| x, its two coefficients scaled together to the length 1.
    Each Forward in TRAIN first divides each w_k by its length, in the blob itself; in TEST the blob stays as it is.
    Bottoms: x (M..., K...), flattened to (M, K) at ``axis``; labels, M of them. Tops: (M..., num_output); optionally
    lambda, (1). Blobs: W (num_output, K).
    Reads ``margin_inner_product_param``: num_output, type (SINGLE), weight_filler, axis (1), base (1), gamma (0), power
    (1), iteration (0), one less than the first i, lambda_min (0).
    Source: Liu et al. 2017 (SphereFace); happynear's margin_inner_product_layer.cpp. Differences: there may be one top
    (the original crashes); a label that is no class is an error (the original reads and writes other memory); the
    scores of x = 0 are 0 and it gets a gradient (the original gives NaN).
    """

    kind = Kind.PRODUCT
    formula = r"y_k = w_k x, \quad y_l = \frac{\lVert x \rVert \psi(\theta_l) + \lambda w_l x}{1 + \lambda}"
    bottoms = (2, 2)
    tops = (1, 2)
    not_differentiable = (1,)
    has_weights = True

    @staticmethod
    def caption(param: LayerParameter) -> str:
        return f"→ {param.margin_inner_product_param.num_output}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.margin_inner_product_param
        if p.num_output < 1:
            self.error(f"num_output is {p.num_output}", "give margin_inner_product_param the number of classes")
        self.first = self.axis(p.axis, bottom[0].num_axes)
        self.blobs = [Blob(self.ops, (p.num_output, prod(bottom[0].shape[self.first :])))]
        fill(self.blobs[0], p.weight_filler, self.rng)
        self.count_from(p.iteration + 1)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        samples, inputs = prod(shape[: self.first]), prod(shape[self.first :])
        outputs, known = self.blobs[0].shape
        if inputs != known:
            self.error(
                f"the bottom's shape {shape} gives {inputs} inputs, the weights have {known}",
                "keep the input size that the net was made with, or make the net anew",
            )
        if bottom[1].count != samples:
            self.error(
                f"the bottom {shape} needs {samples} labels, and the labels {bottom[1].shape} are {bottom[1].count}",
                "give one label for each sample",
            )
        self.rows, self.scores = (samples, inputs), (samples, outputs)
        top[0].Reshape((*shape[: self.first], outputs))
        if len(top) > 1:
            top[1].Reshape((1,))

    def multiply_adds(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Count every weight once for each row."""
        return self.rows[0] * self.blobs[0].count

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, saved, p = self.ops, self.saved, self.param.margin_inner_product_param
        factor = ops.at_least(p.base * (1.0 + p.gamma * self.counted()) ** -p.power, p.lambda_min)
        saved.share = 1.0 / (1.0 + factor)
        saved.x = ops.reshape(bottom[0].data, self.rows)
        saved.weight = unit_vectors(self, self.blobs[0]) if self.total_size(self.rows[0]) else self.blobs[0].data
        saved.index, _ = class_labels(self, bottom[1], self.scores, 1)
        y = ops.inner_product(saved.x, saved.weight, None)
        if p.type != MarginInnerProductParameter.SINGLE:
            own = ops.pick(y, saved.index, 1)
            saved.length = ops.at_least(ops.sqrt(ops.sum(saved.x * saved.x, 1, keepdims=True)), 1e-37)
            saved.cosine = own / saved.length
            saved.psi, saved.slope = self._psi(saved.cosine, p.type)
            gain = (saved.length * saved.psi - own) * saved.share
            y = y + gain * ops.one_hot(saved.index, self.scores[1], 1)
        top[0].data = ops.reshape(y, top[0].shape)
        if len(top) > 1:
            top[1].data = factor

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        p = self.param.margin_inner_product_param
        margin = p.type != MarginInnerProductParameter.SINGLE
        if p.gamma and (margin or len(top) > 1):
            self.error("lambda changes with every pass, which ONNX cannot say", "Set gamma to 0, and base to lambda")
        factor = max(p.base, p.lambda_min)
        x = g.flat(bottom[0], self.first, bottom[0].ndim)
        y = g.MatMul(x, self.ops.host_view(unit_vectors(self, self.blobs[0])).T)
        if margin:
            angles = {kind: angle for angle, kind in enumerate(("SINGLE", "DOUBLE", "TRIPLE", "QUADRUPLE"), 1)}
            squares = g.reduce("ReduceSum", g.Mul(x, x), [x.ndim - 1])
            length = g.Max(g.Sqrt(squares), 1e-37)
            m = angles[MarginInnerProductParameter.MarginType.Name(p.type)]
            of_class = g.Mul(length, _psi_onnx(g, g.Div(y, length), m))
            with_margin = g.Div(g.Add(of_class, g.Mul(y, factor)), 1.0 + factor)
            labels = g.reshape(g.Cast(bottom[1], to=INT64), (*x.sizes[:-1], 1))
            y = g.Where(g.Equal(np.arange(self.scores[1]), labels), with_margin, y)
        return [y, g.constant(np.full(1, factor, np.float32))][: len(top)]

    def example(self, index: int, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray | None:
        return rng.integers(0, self.scores[1], shape) if index == 1 else None

    def _psi(self, c: Array, kind: int) -> tuple[Array, Array]:
        """Return psi and its derivative in the cosine."""
        sign = self.ops.sign
        side = sign(c)
        if kind == MarginInnerProductParameter.DOUBLE:
            return 2.0 * side * c * c - 1.0, 4.0 * side * c
        if kind == MarginInnerProductParameter.TRIPLE:
            flip = sign(self.ops.abs(c) - 0.5)
            return flip * (4.0 * c * c - 3.0) * c + side * (1.0 + flip) - 2.0, flip * (12.0 * c * c - 3.0)
        flip = side * sign(2.0 * c * c - 1.0)
        psi = flip * (8.0 * c * c * (c * c - 1.0) + 1.0) + 2.0 * side + flip - 3.0
        return psi, flip * (32.0 * c * c - 16.0) * c

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[1]:
            self.error("a gradient is asked for the labels, and there is none", "set propagate_down: false for them")
        ops, saved = self.ops, self.saved
        dy = ops.reshape(top[0].diff, self.scores)
        need = (propagate_down[0], self.param_propagate_down[0], False)
        dx, dw, _ = ops.inner_product_backward(dy, saved.x, saved.weight, need)
        if dw is not None:
            self.blobs[0].add_diff(dw)
        if dx is None:
            return
        if self.param.margin_inner_product_param.type != MarginInnerProductParameter.SINGLE:
            of_w, of_x = saved.slope, (saved.psi - saved.cosine * saved.slope) / saved.length
            scale = ops.at_least(ops.sqrt(of_w * of_w + of_x * of_x), 1e-37)
            own = ops.take_rows(saved.weight, ops.reshape(saved.index, (-1,)))
            margin = (of_w / scale - 1.0) * own + of_x / scale * saved.x
            dx = dx + ops.pick(dy, saved.index, 1) * saved.share * margin
        bottom[0].diff = ops.reshape(dx, bottom[0].shape)


def _psi_onnx(g: OnnxGraph, cosine: Value, m: int) -> Value:
    """Write psi with m angles."""
    angle = g.Mul(g.Acos(g.Clip(cosine, -1.0, 1.0)), float(m))
    j = g.Floor(g.Div(angle, pi))
    sign = g.Sub(1.0, g.Mul(g.Mod(j, 2.0, fmod=1), 2.0))
    psi: Value = g.Sub(g.Mul(sign, g.Cos(angle)), g.Mul(j, 2.0))
    return psi
