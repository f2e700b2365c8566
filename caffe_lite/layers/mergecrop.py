"""MergeCrop: stacks or adds two blobs, the second cropped to the size of the first."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array
from ..proto.caffe_pb2 import MergeCropParameter


@register_layer("MergeCrop")
class MergeCropLayer(Layer):
    """y = [a, b] along the channels (STACK), or a + b (ADD), with the middle of b, as large as a.

    Bottoms: a, (N, A, ...); b, (N, B, ...), as large as a or larger along each axis from the third on: it loses half of
    the difference, rounded down, at the beginning. Top: (N, A + B, ...), or (N, A, ...) for ADD, where B must be A.
    Reads ``mergecrop_param``: operation (STACK); forward (true, true), for each bottom whether its values count, or
    zeros instead; backward (true, false), for each bottom whether it gets a gradient.
    Source: Ronneberger, Fischer and Brox 2015 (U-Net); mergecrop_layer.cu of naibaf7's Caffe, which runs on GPUs only.
    Differences: the original stacks wrong channels if A is not B; it asks for no gradient of b if a needs none.
    """

    kind = Kind.ARRANGEMENT
    formula = r"y = [\, a, \operatorname{crop}(b) \,] \quad \text{or} \quad y = a + \operatorname{crop}(b)"
    bottoms = (2, 2)
    backward: Sequence[bool] = (True, False)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.mergecrop_param
        for name in ("forward", "backward"):
            if len(getattr(p, name)) > 2:
                self.error(f"{name} is given {len(getattr(p, name))} times", "give it once for each of two bottoms")
        self.forward = (*p.forward, *(True, True)[len(p.forward) :])
        self.backward = (*p.backward, *(True, False)[len(p.backward) :])
        self.adds = p.operation == MergeCropParameter.ADD

    def gradient_reaches(self, bottom_index: int, num_bottoms: int) -> bool:
        return self.backward[bottom_index]

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        a, b = (blob.shape for blob in bottom)
        if len(a) != len(b) or len(a) < 2 or a[0] != b[0]:
            self.error(
                f"the bottoms {a} and {b} do not fit together", "give both as many samples and axes: (N, C, ...)"
            )
        if self.adds and a[1] != b[1]:
            self.error(
                f"the bottoms {a} and {b} differ in their channels", "give both as many, or use operation: STACK"
            )
        for axis, (small, large) in enumerate(zip(a[2:], b[2:], strict=True), 2):
            if large < small:
                self.error(f"the second bottom {b} is smaller than the first, {a}, along axis {axis}", "exchange them")
        self.before = [(large - small) // 2 for small, large in zip(a[2:], b[2:], strict=True)]
        self.after = [n - m - skip for m, n, skip in zip(a[2:], b[2:], self.before, strict=True)]
        self.middle = (..., *(slice(skip, skip + n) for skip, n in zip(self.before, a[2:], strict=True)))
        top[0].Reshape(a if self.adds else (a[0], a[1] + b[1], *a[2:]))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        parts = [bottom[0].data, bottom[1].data[self.middle]]
        parts = [x if counts else self.ops.zeros(x.shape) for x, counts in zip(parts, self.forward, strict=True)]
        top[0].data = parts[0] + parts[1] if self.adds else self.ops.concat(parts, 1)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        a, b = bottom
        ends = [start + size for start, size in zip(self.before, a.image, strict=True)]
        parts = [a, g.slice(b, self.before, ends, range(2, b.ndim)) if b.image != a.image else b]
        parts = [x if counts else g.Expand(0.0, g.Shape(x)) for x, counts in zip(parts, self.forward, strict=True)]
        return [g.Add(*parts) if self.adds else g.Concat(*parts, axis=1)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        first, second = self._parts(top[0].diff, bottom[0].shape[1])
        if propagate_down[0]:
            bottom[0].diff = first
        if propagate_down[1]:
            bottom[1].diff = self.ops.pad(second, self.before, self.after)

    def _parts(self, dy: Array, channels: int) -> tuple[Array, Array]:
        return (dy, dy) if self.adds else (dy[:, :channels], dy[:, channels:])
