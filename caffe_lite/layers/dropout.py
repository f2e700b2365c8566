"""Dropout: in training, sets elements to 0 at random."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.roles import Identity
from ..proto import caffe_pb2
from ..proto.caffe_pb2 import LayerParameter


@register_layer("Dropout")
class DropoutLayer(Layer):
    """In TRAIN y = x * m, where m is 0 with probability dropout_ratio, else 1 / (1 - dropout_ratio); in TEST y = x.

    With scale_train false, a field of Microsoft's fork, it is the other way round: m is 0 or 1 in TRAIN, and in TEST
    y = (1 - dropout_ratio) x. With sample_weights_test true, of SegNet's fork, TEST does what TRAIN does. With
    sqrt_scale, of happynear's, m is 0 or 1 / sqrt(1 - dropout_ratio) in TRAIN.
    Bottom and top: any shape. Reads ``dropout_param``: dropout_ratio (0.5), at least 0 and below 1, scale_train (true),
    sample_weights_test (false) and sqrt_scale (false).
    The original checks the ratio in debug builds only; a ratio of 1 gives NaNs there and is refused here.
    Source: Srivastava et al. 2014; the original's dropout_layer.cpp; Kendall, Badrinarayanan and Cipolla 2015 (sampling
    in TEST).
    """

    kind = Kind.NEURON
    formula = r"y = \begin{cases} 0 & \text{with probability } r \\ \frac{x}{1 - r} & \text{else} \end{cases}"

    reads_fork_fields = tuple(
        f"DropoutParameter.{field}" for field in ("scale_train", "sample_weights_test", "sqrt_scale")
    )

    @staticmethod
    def caption(param: LayerParameter) -> str:
        return f"{param.dropout_param.dropout_ratio:.3g}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.dropout_param
        self.ratio = self.ratio_given()
        if not 0 <= self.ratio < 1:
            self.error(f"dropout_ratio is {self.ratio:g}", "use at least 0 (forget nothing) and less than 1")
        self.forgets = (self.phase == caffe_pb2.TRAIN or p.sample_weights_test) and self.ratio > 0
        self.scale = 1.0
        if not p.scale_train:
            self.scale = 1 - self.ratio
        elif p.sqrt_scale and self.forgets:
            self.scale = (1 - self.ratio) ** 0.5

    def ratio_given(self) -> float:
        return self.param.dropout_param.dropout_ratio

    def role(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> Identity | None:
        return None if self.forgets or self.scale != 1 else Identity()

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.drawn = bottom[0].shape
        top[0].Reshape(bottom[0].shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data
        if self.forgets:
            mask = self.ops.dropout_mask(self.rng, self.drawn, self.ratio)
            self.saved.mask = mask if self.scale == 1 else mask * self.scale
            x = x * self.saved.mask
        elif self.scale != 1:
            x = x * self.scale
        top[0].data = x

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        if self.forgets:
            self.error("sample_weights_test draws numbers, which ONNX has no form for", "Set it to false")
        return [g.Mul(bottom[0], self.scale) if self.scale != 1 else bottom[0]]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        if self.forgets:
            bottom[0].diff = top[0].diff * self.saved.mask
        else:
            bottom[0].diff = top[0].diff if self.scale == 1 else top[0].diff * self.scale
