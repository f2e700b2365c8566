"""Interp: images in another size, linear between pixels."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value

# The operator Resize computes places in float32: of more pixels, they would be off by more than 1e-4 of one.
_EXACT = 1000


@register_layer("Interp")
class InterpLayer(Layer):
    """y[n, c, i, j] = x[n, c] at the height i (H - 1) / (H' - 1) and the width j (W - 1) / (W' - 1).

    Between pixels x is linear in both directions, and the pixels at its corners are those at the corners of y. A height
    H' of 1 takes the first row, a width W' of 1 the first column.
    Bottom: (N, C, H + cropped, W + cropped), from which pad_beg and pad_end, if negative, crop so many pixels at the
    beginning and at the end of both axes. A second bottom, for use_blob_size, only gives its size. Top: (N, C, H', W').
    The first of these rules that applies decides H', and W' likewise: the size of the second bottom, if use_blob_size
    is true; (H - 1) / shrink_factor + 1, rounded down, if no zoom_factor is given; (H - 1) zoom_factor + 1, if no
    shrink_factor is given; height, if width is given, too; both factors, the shrinking one first; H full_zoom_factor.
    Reads ``interp_param``: height, width, zoom_factor, shrink_factor, full_zoom_factor, use_blob_size (false),
    pad_beg (0), pad_end (0).
    Source: Chen, Papandreou and others 2014 (DeepLab); interp_layer.cpp of PSPNet's Caffe; full_zoom_factor: Synopsys'.
    """

    kind = Kind.ARRANGEMENT
    formula = r"y_{ij} = x\left(i \tfrac{H - 1}{H' - 1},\ j \tfrac{W - 1}{W' - 1}\right)"
    bottoms = (1, 2)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.interp_param
        for name in ("pad_beg", "pad_end"):
            if getattr(p, name) > 0:
                self.error(f"{name} is {getattr(p, name)}", "use 0, or less to crop: Interp does not pad")
        for name in ("shrink_factor", "zoom_factor", "full_zoom_factor"):
            if getattr(p, name) < 1:
                self.error(f"{name} is {getattr(p, name)}", "use 1 or more")
        if p.use_blob_size and len(bottom) < 2:
            self.error("use_blob_size is true, and there is one bottom", "give the blob that has the size as second")
        if len(bottom) > 1 and not p.use_blob_size:
            self.error("there are two bottoms, and use_blob_size is false", "set it, or remove the second bottom")
        self.crop = -p.pad_beg, -p.pad_end

    def gradient_reaches(self, bottom_index: int, num_bottoms: int) -> bool:
        return bottom_index == 0

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for blob in bottom:
            if len(blob.shape) != 4:
                self.error(
                    f"the bottom's shape {blob.shape} has {len(blob.shape)} axes", "Interp needs 4: (N, C, H, W)"
                )
        shape = bottom[0].shape
        sizes = tuple(n - sum(self.crop) for n in shape[2:])
        for size in sizes:
            if size < 1:
                self.error(
                    f"nothing is left of the bottom's shape {shape} without {self.crop[0]} pixels at the beginning "
                    f"and {self.crop[1]} at the end",
                    "crop less (pad_beg, pad_end), or give larger images",
                )
        out = bottom[1].shape[2:] if len(bottom) > 1 else self._out(sizes)
        for size in out:
            if size < 1:
                self.error(f"the size of the top is {out[0]} x {out[1]}", "give it a height and a width of at least 1")
        top[0].Reshape((*shape[:2], *out))
        self.kept = sizes

    def _out(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """Return the size of the top for that of the cropped bottom, by the first of the fields that are given."""
        p = self.param.interp_param
        shrinks, zooms = p.HasField("shrink_factor"), p.HasField("zoom_factor")
        if shrinks == zooms and p.HasField("height") and p.HasField("width"):
            return p.height, p.width
        if shrinks or zooms:
            shrunk = [(n - 1) // p.shrink_factor + 1 for n in sizes]
            return tuple((n - 1) * p.zoom_factor + 1 for n in shrunk)
        if not p.HasField("full_zoom_factor"):
            self.error("it has no size", "give height and width, zoom_factor, shrink_factor or use_blob_size")
        return tuple(n * p.full_zoom_factor for n in sizes)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data
        if any(self.crop):
            first, (h, w) = self.crop[0], self.kept
            x = x[:, :, first : first + h, first : first + w]
        top[0].data = x if top[0].shape == x.shape else self.ops.interpolate(x, top[0].shape[2:])

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        x, first, image = bottom[0], self.crop[0], top[0].image
        if any(self.crop):
            x = g.slice(x, [first] * 2, [first + size for size in self.kept], [2, 3])
        if image == self.kept:
            return [x]
        if max(self.kept) <= _EXACT:
            return [g.resize(x, image, mode="linear", coordinate_transformation_mode="align_corners")]
        down, across = map(self.ops.host_view, self.ops.between_corners(self.kept, image))
        return [g.MatMul(g.MatMul(down, x), across.T)]

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dx = top[0].diff
        if dx.shape[2:] != self.kept:
            dx = self.ops.interpolate_backward(dx, self.kept)
        before, after = ((n, n) for n in self.crop)
        bottom[0].diff = self.ops.pad(dx, before, after)
