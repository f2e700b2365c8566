"""InnerDistance: the distance of each vector from each of several learned centres."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array
from ..proto.caffe_pb2 import LayerParameter
from .common.fillers import fill
from .common.loss import class_labels
from .common.unit_vectors import unit_vectors

_AT_ONCE = 1 << 21  # differences that are computed at a time


@register_layer("InnerDistance")
class InnerDistanceLayer(Layer):
    """y_k = |x - w_k|^2, or the sum of |x - w_k| with distance_type "L1".

    Bottoms: x (M..., K...), flattened to (M, K) at ``axis``; optionally the centres, (num_output, K), instead of a blob
    of its own; with update_center_only, labels last, M of them. Top: (M..., num_output).
    Blobs: the centres, (num_output, K), or (K, num_output) with transpose.
    Reads ``inner_distance_param``: num_output (that of the centres if they are a bottom), axis (1), weight_filler,
    transpose (false), distance_type ("L2"), normalize (false: true divides each centre of the blob by its length, in
    TRAIN in the blob itself), update_center_only (false: true gives a centre the gradient of its distance from the
    samples of its class alone). bias_term and bias_filler have no effect, as in the original.
    Source: happynear's inner_distance_layer.cpp. Differences: the original computes nonsense with transpose, and with
    update_center_only unless the centres are a bottom; a label that is no class is no error there, and the length gets
    1e-6 under its root on CPUs alone.
    """

    kind = Kind.PRODUCT
    formula = r"y_k = \lVert x - w_k \rVert^2"
    bottoms = (1, 3)
    has_weights = True

    @staticmethod
    def caption(param: LayerParameter) -> str:
        return f"→ {param.inner_distance_param.num_output}"

    def gradient_reaches(self, bottom_index: int, num_bottoms: int) -> bool:
        return bottom_index == 0 or bottom_index < num_bottoms - self.param.inner_distance_param.update_center_only

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.inner_distance_param
        if p.distance_type not in ("L1", "L2"):
            self.error(f"distance_type is {p.distance_type!r}", 'use "L1" or "L2"')
        self.given = len(bottom) - p.update_center_only > 1
        if len(bottom) != 1 + self.given + p.update_center_only:
            self.error(
                f"{len(bottom)} bottoms {'with' if p.update_center_only else 'without'} update_center_only",
                "give it x; the centres, if no blob holds them; and with update_center_only the labels, last",
            )
        self.first = self.axis(p.axis, bottom[0].num_axes)
        self.num_input = prod(bottom[0].shape[self.first :])
        if self.given:
            return
        if p.num_output < 1:
            self.error(f"num_output is {p.num_output}", "give inner_distance_param a num_output of at least 1")
        shape = (p.num_output, self.num_input)
        self.blobs = [Blob(self.ops, shape[::-1] if p.transpose else shape)]
        fill(self.blobs[0], p.weight_filler, self.rng)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p, shape = self.param.inner_distance_param, bottom[0].shape
        samples, inputs = prod(shape[: self.first]), prod(shape[self.first :])
        centres = (bottom[1] if self.given else self.blobs[0]).shape
        classes, size = prod(centres[:1]), prod(centres[1:])
        if p.transpose and not self.given:
            classes, size = size, classes
        if inputs != size or classes == 0:
            self.error(
                f"the bottom's shape {shape} gives vectors of {inputs} values, {classes} centres {centres} have {size}",
                "give both as many, and at least one centre",
            )
        if p.update_center_only and bottom[-1].count != samples:
            self.error(f"{samples} vectors, and the labels {bottom[-1].shape}", "give one label for each vector")
        self.rows, self.shape = (samples, inputs), (samples, classes)
        top[0].Reshape((*shape[: self.first], classes))

    def multiply_adds(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Count every value of a centre once for each row."""
        return prod(self.shape) * self.rows[1]

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, p = self.ops, self.param.inner_distance_param
        if p.update_center_only:
            index, _ = class_labels(self, bottom[-1], self.shape, 1)
            self.saved.own = ops.one_hot(index, self.shape[1], 1)
        self.saved.x = ops.reshape(bottom[0].data, self.rows)
        self.saved.w = ops.reshape(bottom[1].data, (self.shape[1], -1)) if self.given else self._own_centres()
        parts = [ops.sum(ops.abs(d) if p.distance_type == "L1" else d * d, 2) for _, d in self._differences()]
        top[0].data = ops.reshape(ops.concat(parts, 1), top[0].shape)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        x = g.flat(bottom[0], self.first, bottom[0].ndim)
        x = g.reshape(x, (*x.sizes[:-1], 1, x.sizes[-1]))
        centres = g.flat(bottom[1], 1, bottom[1].ndim) if self.given else self.ops.host_view(self._own_centres())
        d = g.Sub(x, centres)
        terms = g.Abs(d) if self.param.inner_distance_param.distance_type == "L1" else g.Mul(d, d)
        return [g.reduce("ReduceSum", terms, [x.ndim - 1], keepdims=False)]

    def example(self, index: int, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray | None:
        labels = self.param.inner_distance_param.update_center_only and index == 1 + self.given
        return rng.integers(0, self.shape[1], shape) if labels else None

    def _own_centres(self) -> Array:
        """Return the centres of the blob, (num_output, K), divided by their lengths if so asked."""
        p = self.param.inner_distance_param
        if p.normalize and self.total_size(self.rows[0]):
            centres = unit_vectors(self, self.blobs[0], 0 if p.transpose else 1, 1e-6)
        else:
            centres = self.blobs[0].data
        return centres.T if p.transpose else centres

    def _differences(self) -> Iterator[tuple[slice, Array]]:
        """Yield the differences of all vectors from some of the centres, (M, some, K), and which these are."""
        (samples, inputs), classes = self.rows, self.shape[1]
        x = self.ops.reshape(self.saved.x, (samples, 1, inputs))
        some = max(1, _AT_ONCE // max(1, samples * inputs))
        for start in range(0, classes, some):
            part = slice(start, min(start + some, classes))
            yield part, x - self.saved.w[part]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        ops, p, saved = self.ops, self.param.inner_distance_param, self.saved
        need_w = propagate_down[1] if self.given else self.param_propagate_down[0]
        if p.update_center_only and propagate_down[-1]:
            self.error("a gradient is asked for the labels, and there is none", "set propagate_down: false for them")
        dy = ops.reshape(top[0].diff, self.shape)
        of_own = dy * saved.own if p.update_center_only else dy
        if p.distance_type == "L1":
            dx, parts = ops.zeros(self.rows), []
            for some, d in self._differences():
                sign, shape = ops.sign(d), (*d.shape[:2], 1)
                dx = dx + ops.sum(sign * ops.reshape(dy[:, some], shape), 1)
                parts.append(-ops.sum(sign * ops.reshape(of_own[:, some], shape), 0))
            dw = ops.concat(parts, 0)
        else:
            dx = 2.0 * (saved.x * ops.sum(dy, 1, keepdims=True) - dy @ saved.w)
            dw = 2.0 * (saved.w * ops.reshape(ops.sum(of_own, 0), (-1, 1)) - of_own.T @ saved.x)
        if propagate_down[0]:
            bottom[0].diff = ops.reshape(dx, bottom[0].shape)
        if need_w and self.given:
            bottom[1].diff = ops.reshape(dw, bottom[1].shape)
        elif need_w:
            self.blobs[0].add_diff(dw.T if p.transpose else dw)
