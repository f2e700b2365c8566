"""Affinity: how strongly neighbouring pixels belong together."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array


@register_layer("Affinity")
class AffinityLayer(Layer):
    """y = the smaller of the values p of a pixel and its neighbour: below it in channel 0, to the right in channel 1.

    Bottoms, one or more: (N, C, H, W), of which p is the channel ``offset``. Tops: (N, 2, H, W), one for each. The last
    row and the last column are 0.
    The gradient goes to the smaller of the two values, or to the neighbour if they are equal. With C = 2, the other
    channel is taken for 1 - p, and gets the negative gradient.
    Reads ``affinity_param``: offset (0), for each bottom.
    Source: Turaga and others 2009; affinity_layer.cpp of naibaf7's Caffe. Differences: that takes the first sample
    only, gives all of the gradient to the pixel itself, even if the neighbour's value is the smaller one, and gives
    negative gradients with any C.
    """

    kind = Kind.OTHER
    formula = r"y_{0hw} = \min(p_{h w}, p_{h + 1, w}), \quad y_{1hw} = \min(p_{h w}, p_{h, w + 1})"
    bottoms = (1, None)
    tops = (1, None)
    equal_bottoms_tops = True

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        given = list(self.param.affinity_param.offset)
        self.offsets = (given + [0] * len(bottom))[: len(bottom)]

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for source, target, offset in zip(bottom, top, self.offsets, strict=True):
            shape = source.shape
            if len(shape) != 4:
                self.error(f"the bottom's shape {shape} has {len(shape)} axes", "affinities need 4: (N, C, H, W)")
            if not 0 <= offset < shape[1]:
                self.error(f"offset is {offset}", f"it is the number of a channel of {shape}: 0 to {shape[1] - 1}")
            target.Reshape((shape[0], 2, *shape[2:]))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops = self.ops
        self.saved.own = []
        for source, target, offset in zip(bottom, top, self.offsets, strict=True):
            p = source.data[:, offset : offset + 1]
            pixel = p[:, :, :-1, :-1]
            neighbours = ops.concat([p[:, :, 1:, :-1], p[:, :, :-1, 1:]], 1)
            own = pixel < neighbours
            self.saved.own.append(own)
            target.data = ops.pad(ops.where(own, pixel, neighbours), (0, 0), _last(p))

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        results = []
        for x, offset in zip(bottom, self.offsets, strict=True):
            (height, width), (row, column) = x.image, (min(1, size) for size in x.image)
            p = g.slice(x, [offset], [offset + 1], [1])
            pixel = g.slice(p, [0, 0], [height - row, width - column], [2, 3])
            below = g.slice(p, [row, 0], [height, width - column], [2, 3])
            beside = g.slice(p, [0, column], [height - row, width], [2, 3])
            smaller = g.Min(pixel, g.Concat(below, beside, axis=1))
            results.append(g.Pad(smaller, [0, 0, 0, 0, 0, 0, row, column]))
        return results

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        ops = self.ops
        for i, source in enumerate(bottom):
            if not propagate_down[i]:
                continue
            dy, own, (row, column) = top[i].diff[:, :, :-1, :-1], self.saved.own[i], _last(top[i].diff)
            to_pixel = ops.where(own, dy, ops.scalar(0))
            to_neighbour = dy - to_pixel
            dp = ops.pad(ops.sum(to_pixel, 1, keepdims=True), (0, 0), (row, column))
            dp = dp + ops.pad(to_neighbour[:, :1], (row, 0), (0, column))
            dp = dp + ops.pad(to_neighbour[:, 1:], (0, column), (row, 0))
            source.diff = self._among_channels(dp, self.offsets[i], source.shape)

    def _among_channels(self, dp: Array, offset: int, shape: tuple[int, ...]) -> Array:
        """Return the gradient of the bottom, given that of its channel ``offset``."""
        n, channels, h, w = shape
        if channels == 2:
            return self.ops.concat([dp, -dp] if offset == 0 else [-dp, dp], 1)
        before, after = (self.ops.zeros((n, size, h, w)) for size in (offset, channels - offset - 1))
        return self.ops.concat([before, dp, after], 1)


def _last(images: Array) -> tuple[int, int]:
    """Return how many rows and columns at the end have no neighbour: 1, or 0 if there are none at all."""
    return min(1, images.shape[2]), min(1, images.shape[3])
