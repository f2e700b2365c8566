"""InnerProduct: the fully connected layer."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array
from ..ops.roles import Linear
from ..proto.caffe_pb2 import LayerParameter
from .common.fillers import fill
from .common.unit_vectors import unit_vectors


@register_layer("InnerProduct")
class InnerProductLayer(Layer):
    """y = x W^T + b, over everything from ``axis`` on.

    Bottoms: (M..., K...), flattened to (M, K) at ``axis``; optionally W, and after it b, instead of blobs of their own.
    Top: (M..., num_output).
    Blobs: W (num_output, K), or (K, num_output) with transpose; b (num_output).
    Reads ``inner_product_param``: num_output (that of W if W is a bottom), bias_term (true), axis (1), transpose
    (false), weight_filler, bias_filler, normalize (false). With normalize, each Forward in TRAIN first divides the
    weights of each output by sqrt(sum(w^2) + 1e-6), in the blob itself; Forward in TEST computes with such weights and
    leaves the blob alone. The gradient of W is that of the divided weights. With relu (false), of Intel's Caffe, the
    top is rectified as by ReLU, with negative_slope (0).
    Source: the original's inner_product_layer.cpp; W and b as bottoms, and normalize: OpenVINO's and happynear's.
    Differences: OpenVINO's and happynear's normalize divides in TEST, too, so that weights shrink a little with every
    pass, and divides by sqrt(sum(w^2)) on GPUs; they mix the weights of different outputs up if transpose is set, crash
    if W but not b is a bottom while bias_term is true, and add the gradients of W as a bottom to those of earlier
    iterations.
    """

    kind = Kind.PRODUCT
    formula = r"y = x W^T + b"
    bottoms = (1, 3)
    has_weights = True
    reads_fork_fields = tuple(f"InnerProductParameter.{field}" for field in ("normalize", "relu", "negative_slope"))

    @staticmethod
    def caption(param: LayerParameter) -> str:
        return f"→ {param.inner_product_param.num_output}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.inner_product_param
        if len(bottom) == 1 and p.num_output < 1:
            self.error(f"num_output is {p.num_output}", "give inner_product_param a num_output of at least 1")
        if len(bottom) > 2 and not p.bias_term:
            self.error("bias_term is false, and a third bottom is given", "remove that bottom, or bias_term")
        if p.negative_slope < 0:
            self.error(f"negative_slope is {p.negative_slope:g}", "use 0 or more, or a ReLU layer")
        self.slope = p.negative_slope if p.relu else None
        self.transposed = p.transpose
        self.first = self.axis(p.axis, bottom[0].num_axes)
        self.num_input = prod(bottom[0].shape[self.first :])
        if not self.num_input:
            self.error(
                f"the bottom's shape {bottom[0].shape} gives no inputs from axis {self.first} on",
                "only the axes before axis may be empty: check what makes this bottom, or set axis",
            )
        self.num_output = self._given_outputs(bottom[1].shape) if len(bottom) > 1 else p.num_output
        self.normalized = p.normalize and len(bottom) == 1
        if len(bottom) == 1:
            shape = (self.num_input, self.num_output) if p.transpose else (self.num_output, self.num_input)
            self.blobs = [Blob(self.ops, shape)]
            fill(self.blobs[0], p.weight_filler, self.rng)
        if p.bias_term and len(bottom) < 3:
            self.blobs.append(Blob(self.ops, (self.num_output,)))
            fill(self.blobs[-1], p.bias_filler, self.rng)

    def _given_outputs(self, shape: tuple[int, ...]) -> int:
        """Return how many outputs a bottom of weights makes; refuse weights that do not fit the inputs."""
        outputs, inputs = prod(shape[:1]), prod(shape[1:])
        if self.transposed:
            outputs, inputs = inputs, outputs
        if inputs != self.num_input or outputs == 0:
            self.error(
                f"the weights {shape} make {outputs} outputs of {inputs} inputs, the bottom has {self.num_input}",
                f"give weights {'(inputs, outputs)' if self.transposed else '(outputs, inputs)'}, at least one output",
            )
        return outputs

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if (inputs := prod(shape[self.first :])) != self.num_input:
            self.error(
                f"the bottom's shape {shape} gives {inputs} inputs, the weights have {self.num_input}",
                "keep the input size that the net was made with, or make the net anew",
            )
        if len(bottom) > 1:
            self.num_output = self._given_outputs(bottom[1].shape)
            for biases in [*bottom[2:], *self.blobs]:
                if biases.count != self.num_output:
                    self.error(
                        f"the weights {bottom[1].shape} make {self.num_output} outputs of {biases.count} biases",
                        "give as many biases as outputs, or set bias_term: false",
                    )
        top[0].Reshape((*shape[: self.first], self.num_output))

    def multiply_adds(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Count every weight once for each row."""
        return top[0].count * self.num_input

    def role(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> Linear | None:
        if len(bottom) > 1 or self.normalized or self.slope is not None:
            return None
        return Linear(top[0].num_axes == 2, self._weight_and_bias, self._rows, self.ops.inner_product)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.saved.x = self._rows(bottom[0].data)
        self.saved.weight, bias = self._weight_and_bias(bottom[1:])
        if self.normalized and bottom[0].count:
            unit = unit_vectors(self, self.blobs[0], 0 if self.transposed else 1, 1e-6)
            self.saved.weight = unit.T if self.transposed else unit
        y = self.ops.inner_product(self.saved.x, self.saved.weight, bias)
        if self.slope is not None:
            y = self.saved.y = self.ops.relu(y, self.slope)
        top[0].data = self.ops.reshape(y, top[0].shape)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        x = g.flat(bottom[0], self.first, bottom[0].ndim)
        rows = x if x.ndim == 2 else g.reshape(x, (g.merged(x.sizes[:-1]), self.num_input))
        weight, *bias = [*bottom[1:], *map(g.value, self.blobs)]
        if len(bottom) > 1:
            shape = (self.num_output, self.num_input)
            weight = g.reshape(weight, shape[::-1] if self.transposed else shape)
            bias = [g.reshape(b, shape[:1]) for b in bias]
        if self.normalized:
            squares = g.reduce("ReduceSum", g.Mul(weight, weight), [0 if self.transposed else 1])
            weight = g.Div(weight, g.Sqrt(g.Add(squares, 1e-6)))
        y = g.Gemm(rows, weight, *bias, transB=0 if self.transposed else 1)
        if self.slope is not None:
            y = g.LeakyRelu(y, alpha=self.slope) if self.slope else g.Relu(y)
        return [y if x.ndim == 2 else g.reshape(y, top[0].sizes)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy = self.ops.reshape(top[0].diff, (-1, self.num_output))
        if self.slope is not None:
            dy = self.ops.relu_backward(dy, self.saved.y, self.slope)
        need_x, need_weight, need_bias = (*propagate_down, *self.param_propagate_down, False)[:3]
        dx, dw, db = self.ops.inner_product_backward(
            dy, self.saved.x, self.saved.weight, (need_x, need_weight, need_bias)
        )
        if dx is not None:
            bottom[0].diff = self.ops.reshape(dx, bottom[0].shape)
        if dw is not None and self.transposed:
            dw = dw.T
        given = len(bottom) - 1
        for i, (blob, gradient) in enumerate(zip([*bottom[1:], *self.blobs], (dw, db), strict=False)):
            if gradient is not None and i < given:
                blob.diff = self.ops.reshape(gradient, blob.shape)
            elif gradient is not None:
                blob.add_diff(gradient)

    def _rows(self, x: Array) -> Array:
        return self.ops.reshape(x, (-1, self.num_input))

    def _weight_and_bias(self, given: Sequence[Blob] = ()) -> tuple[Array, Array | None]:
        """Return the weights as (num_output, num_input), and the biases: bottoms or blobs."""
        weight, *bias = (blob.data for blob in [*given, *self.blobs])
        if given:
            shape = (self.num_output, self.num_input)
            weight = self.ops.reshape(weight, shape[::-1] if self.transposed else shape)
            bias = [self.ops.reshape(x, shape[:1]) for x in bias]
        return weight.T if self.transposed else weight, bias[0] if bias else None
