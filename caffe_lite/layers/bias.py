"""Bias: adds an operand, learned or given, that spans some axes.

Also SpanningLayer, the base class of Bias and Scale.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array
from ..ops.roles import LearnedChannelMap
from .common.fillers import fill


class SpanningLayer(Layer):
    """A layer whose operand spans some neighbouring axes of its first bottom and is the same along all others.

    The operand is the second bottom or, without one, a learned blob that spans ``num_axes`` axes from ``axis`` on.
    """

    kind = Kind.NORMALISATION
    bottoms = (1, 2)

    def learned_shape(self, shape: tuple[int, ...], axis: int, num_axes: int) -> tuple[int, ...]:
        """Return the shape of a learned operand; ``num_axes`` -1 means all axes from ``axis`` on, 0 a scalar."""
        first = self.axis(axis, len(shape))
        if num_axes < -1:
            self.error(f"num_axes is {num_axes}", "use 0 or more, or -1 for all axes from axis on")
        if first + num_axes > len(shape):
            self.error(
                f"num_axes {num_axes} from axis {first} on goes past the end of the bottom's shape {shape}",
                f"use at most {len(shape) - first}, or -1 for all axes from axis on",
            )
        return shape[first:] if num_axes == -1 else shape[first : first + num_axes]

    def meet(self, shape: tuple[int, ...], operand: tuple[int, ...], axis: int) -> None:
        """Find the axes of the first bottom that the operand spans, and check that their sizes agree."""
        # A scalar spans no axis, so any ``axis`` is right, as in the original.
        first = self.axis(axis, len(shape)) if operand else 0
        if shape[first : first + len(operand)] != operand:
            self.error(
                f"the {self.type.lower()}'s shape {operand} does not agree with the bottom's shape {shape} from axis "
                f"{first} on, which is {shape[first:]}",
                "set axis to where the two agree",
            )
        self.operand_shape = operand
        self.behind = (1,) * (len(shape) - first - len(operand))
        self.others = (*range(first), *range(first + len(operand), len(shape)))

    def spans_channels(self, bottom: Sequence[Blob]) -> bool:
        """Return whether the operands are learned, with one value for each channel (axis 1)."""
        shape = bottom[0].shape
        first = len(shape) - len(self.behind) - 1
        return len(bottom) == 1 and self.operand_shape == shape[1:2] and first == 1

    def spread_onnx(self, g: OnnxGraph, operand: Value) -> Value:
        """Write ``spread`` into a graph."""
        return g.reshape(operand, (*operand.sizes, *self.behind))

    def spread(self, operand: Array) -> Array:
        """Reshape the operand so that it can be broadcast over the first bottom."""
        return self.ops.reshape(operand, (*self.operand_shape, *self.behind))

    def gather(self, gradient: Array) -> Array:
        """Sum the gradient of the broadcast operand to the gradient of the operand itself."""
        total = self.ops.sum(gradient, self.others, keepdims=True) if self.others else gradient
        return self.ops.reshape(total, self.operand_shape)


@register_layer("Bias")
class BiasLayer(SpanningLayer):
    """y = x + b, with b the same along every axis that it does not span.

    Bottoms: x, any shape; and, unless b is learned, b of any number of axes, which must have the sizes of x's axes
    from ``axis`` on. Top: the shape of x.
    Blobs, with one bottom: b, with the sizes of num_axes axes of x from ``axis`` on.
    Reads ``bias_param``: axis (1), num_axes (1; -1 for all that follow, 0 for a scalar), filler (constant 0); the last
    two apply only to a learned b.
    Source: the original's bias_layer.cpp.
    """

    formula = r"y = x + b"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if len(bottom) == 1:
            p = self.param.bias_param
            self.blobs = [Blob(self.ops, self.learned_shape(bottom[0].shape, p.axis, p.num_axes))]
            fill(self.blobs[0], p.filler, self.rng)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        bias = (*bottom[1:], *self.blobs)[0]
        self.meet(bottom[0].shape, bias.shape, self.param.bias_param.axis)
        top[0].Reshape(bottom[0].shape)

    def role(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> LearnedChannelMap | None:
        return LearnedChannelMap(lambda: (None, self.blobs[0].data)) if self.spans_channels(bottom) else None

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        bias = (*bottom[1:], *self.blobs)[0]
        top[0].data = bottom[0].data + self.spread(bias.data)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        (bias,) = (*bottom[1:], *map(g.value, self.blobs))
        return [g.Add(bottom[0], self.spread_onnx(g, bias))]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy = top[0].diff
        if propagate_down[0]:
            bottom[0].diff = dy
        if len(bottom) > 1:
            if propagate_down[1]:
                bottom[1].diff = self.gather(dy)
        elif self.param_propagate_down[0]:
            self.blobs[0].add_diff(self.gather(dy))
