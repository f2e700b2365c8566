"""Images in front of a written net: what is done to them on their way into it becomes part of the graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from ..agreement.comparing import Trial, inputs
from ..data.transform import DataTransformer
from ..errors import ArgumentError, NetError
from ..media.preparation import Preparation, transform_of, values_of
from ..onnx_graph import OnnxGraph, Sizes, Value
from ..ops.windows import by
from ..proto.caffe_pb2 import TEST, ResizeParameter
from ..pycaffe.net import Net
from .writing import WrittenNet

_WHITE = 255


class ImageInput(NamedTuple):
    """The images that a graph takes, with values from 0 to 255, and how they are prepared for the net.

    size: their height and width, or "free" for any; None for the size to which they would be resized otherwise.
    rgb: the order of their channels is R, G, B, not B, G, R as OpenCV reads them.
    channels_last: they are (N, H, W, C), not (N, C, H, W).
    """

    preparation: Preparation = Preparation()
    size: tuple[int, int] | Literal["free"] | None = None
    rgb: bool = False
    channels_last: bool = False


class Preparing:
    """The way of images into a net, which takes the blobs ``names``.

    They are brought to the net's order of channels, resized linearly, and cropped at the centre to the size of the
    net's input; then the mean is subtracted, and the result scaled. What the preparation does not say is taken from the
    net's transform_param: mean_value or mean_file, scale, and the size of resize_param or of the mean image.
    """

    def __init__(self, net: Net, names: Sequence[str], given: ImageInput) -> None:
        self.names = list(names)
        self.place = _image_input(net, names)
        self.name = names[self.place]
        shape = net.blobs[self.name].data.shape
        self.channels, self.target = shape[1], shape[2:]
        self.channels_last = given.channels_last
        self.swaps = self.channels == 3 and given.rgb != given.preparation.rgb
        transform, where = transform_of(net)
        values = values_of(transform, given.preparation)
        values.crop_h, values.crop_w = self.target
        self.transformer = DataTransformer(values, TEST, where)
        how, mean = transform.resize_param, self.transformer.mean_image
        if given.preparation.size:
            self.resized = given.preparation.size
        elif how.height and how.width:
            self.resized = (how.height, how.width)
        else:
            self.resized = mean.shape[-2:] if mean is not None else self.target
        if any(size < wanted for size, wanted in zip(self.resized, self.target, strict=True)):
            raise ArgumentError(
                f"images of {by(self.resized)} are smaller than the net's input, {by(self.target)}",
                hint="Give a size that is as large, or another net",
            )
        self.transformer.shape((self.channels, *self.resized))  # raises if the mean does not fit
        self.size: Sizes = (None, None) if given.size == "free" else given.size or self.resized
        if self.size != self.resized:
            _check_linear(how)

    def prepend(self, written: WrittenNet) -> None:
        """Put the preparation in front of a net's graph, whose input for images becomes a value in it."""
        g = written.graph
        prepared, of_net = g.inputs[self.place], g.nodes
        shape = (prepared.sizes[0], self.channels, *self.size)
        order = (0, 2, 3, 1) if self.channels_last else (0, 1, 2, 3)
        image = Value(g.unused_name("image"), tuple(shape[axis] for axis in order))
        g.nodes, g.layer = [], "preparation"
        self._write(g, image, shape)
        g.nodes[-1].outputs = [prepared]
        g.nodes += of_net
        g.inputs[self.place] = image
        written.inputs[self.place] = image.name
        names = (written.free.get((self.name, 0), ""), "channels", "height", "width")
        for axis, of_axis in enumerate(order):
            if image.sizes[axis] is None:
                written.free[image.name, axis] = names[of_axis]

    def _write(self, g: OnnxGraph, x: Value, shape: Sizes) -> None:
        """Write the preparation of images, which are ``shape`` with the channels first."""
        if self.channels_last:
            x = g.Transpose(x, perm=[0, 3, 1, 2])
            x.shape = shape
        if self.swaps:
            x = g.flip(x, [1])
        if self.size != self.resized:
            shape = (*shape[:2], *self.resized)
            linear = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
            x = g.Resize(x, None, None, g.sizes(x, shape), **linear)
            x.shape = shape
        if self.resized != self.target:
            rows, columns = self._crop()
            x = g.slice(x, [rows.start, columns.start], [rows.stop, columns.stop], [2, 3])
        mean = self._mean()
        if mean is not None:
            x = g.Sub(x, mean)
        if self.transformer.scale != 1:
            x = g.Mul(x, float(self.transformer.scale))
        if not g.nodes:
            g.Identity(x)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Prepare images with NumPy; return what the net takes, (N, C, H, W)."""
        x = images.transpose(0, 3, 1, 2) if self.channels_last else images
        x = x[:, ::-1] if self.swaps else x
        x = _resized(_resized(x.astype(np.float32), 2, self.resized[0]), 3, self.resized[1])
        return self.transformer(list(x), np.random.default_rng(0))

    def trials(self, net: Net, written: WrittenNet) -> Iterator[Trial]:
        """Yield images to try a graph out with that begins with the preparation: of random values, black, white."""
        image = written.inputs[self.place]
        count = net.blobs[self.name].data.shape[0]
        height, width = (size or 2 * wanted + 3 for size, wanted in zip(self.size, self.resized, strict=True))
        shape = (count, height, width, self.channels) if self.channels_last else (count, self.channels, height, width)
        noise = np.random.default_rng(0).integers(0, _WHITE, shape, endpoint=True)
        for (kind, values), pixels in zip(inputs(net, self.names), (noise, 0 * noise, 0 * noise + _WHITE), strict=True):
            yield Trial(kind, {**values, self.name: self(pixels)}, {**values, image: pixels})

    def _crop(self) -> list[slice]:
        starts = [(size - wanted) // 2 for size, wanted in zip(self.resized, self.target, strict=True)]
        return [slice(start, start + wanted) for start, wanted in zip(starts, self.target, strict=True)]

    def _mean(self) -> np.ndarray | None:
        """Return what is subtracted, (C, 1, 1) or (C, H, W)."""
        transformer = self.transformer
        if transformer.mean_image is not None:
            part: np.ndarray = transformer.mean_image[(slice(None), *self._crop())]
            return part
        values = transformer.mean_values
        return np.resize(values, self.channels)[:, None, None] if values.size else None


def _image_input(net: Net, names: Sequence[str]) -> int:
    """Return the place of the input for images: the only one with four axes."""
    places = [place for place, name in enumerate(names) if len(net.blobs[name].data.shape) == 4]
    if len(places) == 1:
        return places[0]
    shapes = ", ".join(f"{name} {net.blobs[name].data.shape}" for name in names)
    raise NetError(f"the net takes {shapes or 'nothing'}", hint="Preparation needs one input of images, (N, C, H, W)")


def _check_linear(how: ResizeParameter) -> None:
    modes = [ResizeParameter.Interp_mode.Name(mode) for mode in how.interp_mode[:1]] or ["LINEAR"]
    if how.resize_mode != ResizeParameter.WARP or modes != ["LINEAR"]:
        raise NetError(
            f"resize_param has {ResizeParameter.Resize_mode.Name(how.resize_mode)} and {modes[0]}",
            hint="A graph resizes with WARP and LINEAR only: resize images before, and let it take them as they are",
        )


def _resized(x: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Interpolate linearly along an axis, as OpenCV does: the centres of the first pixels lie half a pixel inside."""
    old = x.shape[axis]
    places = np.clip((np.arange(size) + 0.5) * (old / size) - 0.5, 0, old - 1)
    before = places.astype(int)
    share = (places - before).reshape(-1, *[1] * (x.ndim - axis - 1))
    first, second = x.take(before, axis), x.take(np.minimum(before + 1, old - 1), axis)
    return np.asarray(first + (second - first) * share, np.float32)
