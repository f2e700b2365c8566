"""Noise: in training, random numbers added to a blob, or multiplied with its samples."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..proto import caffe_pb2
from .common.fields import refuse_other_fields


@register_layer("Noise")
class NoiseLayer(Layer):
    """Random numbers, added to the bottom or multiplied with its samples.

    happynear's: in TRAIN y = x + e; e is normal with the mean ``bias`` and
    gaussian_std times the root of the mean of x^2 as deviation, or uniform in bias +- uniform_range; in TEST y = x.
    naibaf7's: in TRAIN y = s x, with one normal number s for each sample, of mean mu and
    deviation sigma; in TEST y = 0.
    Bottom and top: any shape.
    Meanings: with gaussian_std or uniform_range it is happynear's, with mu or sigma or without a field naibaf7's.
    Reads ``noise_param``: gaussian_std (0), uniform_range (0), bias (0), mu (0), sigma (1).
    The other fields of this message are SSD's, for transform_param, and refused here: prob, hist_eq, inverse,
    decolorize, gauss_blur, jpeg, posterize, erode, saltpepper, saltpepper_param, clahe, convert_to_hsv, convert_to_lab.
    Source: noise_layer.cpp of happynear's Caffe, and of naibaf7's.
    """

    kind = Kind.NEURON
    formula = r"y = x + e \quad \text{or} \quad y_n = s_n x_n"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.noise_param
        refuse_other_fields(self, p, ("gaussian_std", "uniform_range", "bias", "mu", "sigma"))
        added = [field for field in ("gaussian_std", "uniform_range", "bias") if p.HasField(field)]
        multiplied = [field for field in ("mu", "sigma") if p.HasField(field)]
        if added and multiplied:
            self.error(f"it has both {added[0]} and {multiplied[0]}", "keep happynear's fields or naibaf7's")
        if added == ["bias"]:
            self.error("it has a bias, and neither gaussian_std nor uniform_range", "give one of them")
        if added:
            self.meaning = f"happynear's Noise, because {added[0]} is given"
        else:
            reason = f"{multiplied[0]} is given" if multiplied else "no field of happynear's is given"
            self.meaning = f"naibaf7's Noise, because {reason}"
        for field in ("gaussian_std", "uniform_range", "sigma"):
            if getattr(p, field) < 0:
                self.error(f"{field} is {getattr(p, field):g}", "use 0 or more")
        self.adds, self.trains = bool(added), self.phase == caffe_pb2.TRAIN

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        self.drawn = shape if self.adds else (*shape[:1], *[1] * (len(shape) - 1))
        top[0].Reshape(shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, x, p = self.ops, bottom[0].data, self.param.noise_param
        if not self.adds:
            self.saved.factor = ops.drawn(lambda: self.rng.normal(p.mu, p.sigma, self.drawn)) if self.trains else 0.0
            top[0].data = x * self.saved.factor
        elif self.trains and p.HasField("gaussian_std"):
            size = ops.sqrt(self.total(ops.sum_of_squares(x)) / max(1, self.total_size(bottom[0].count)))
            top[0].data = x + ops.drawn(lambda: self.rng.normal(0, p.gaussian_std, self.drawn)) * size + p.bias
        elif self.trains:
            top[0].data = x + ops.drawn(lambda: p.bias + self.rng.uniform(-1, 1, self.drawn) * p.uniform_range)
        else:
            top[0].data = x

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        return [bottom[0] if self.adds else g.Mul(bottom[0], 0.0)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            bottom[0].diff = top[0].diff if self.adds else top[0].diff * self.saved.factor
