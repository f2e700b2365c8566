"""Batches of windows cut out of images and warped to one size."""

from __future__ import annotations

from math import copysign, floor
from typing import NamedTuple

import numpy as np

from ...errors import DataError, Where
from ...proto import caffe_pb2
from ..batches import Batch, Batches
from ..images.image import decode_image, read_image_file, resize_image
from ..order import Place
from ..transform import DataTransformer, Shape, by, lay_out
from .window_file import IMAGE, LABEL, X1, Y2, WindowFile

_CHANNELS = 3


class WindowBatches(Batches):
    """Windows drawn with replacement: first those of the background, then ``num_fg`` of the foreground.

    All shares draw the windows of all, each of them keeps its own: together they are those that one process would draw.
    """

    def __init__(
        self,
        windows: WindowFile,
        param: caffe_pb2.WindowDataParameter,
        transformer: DataTransformer,
        rng: np.random.Generator,
        where: Where | None,
    ) -> None:
        self.windows = windows
        self.param = param
        self.rng = self.draws = rng
        self.where = where
        self.crop_size = transformer.crop_size
        self.mirror = transformer.mirror
        self.order = transformer.order
        self.mean = _mean(transformer)
        self.scale = np.float32(param.scale)
        self.num_fg = int(np.float32(param.batch_size) * np.float32(param.fg_fraction))
        self._files: dict[int, bytes] = {}

    def shapes(self) -> list[Shape]:
        return [(self.param.batch_size, _CHANNELS, self.crop_size, self.crop_size), (self.param.batch_size,)]

    def load(self) -> Batch:
        num_bg = self.param.batch_size - self.num_fg
        chosen = np.concatenate(
            [self._drawn(self.windows.background, num_bg), self._drawn(self.windows.foreground, self.num_fg)]
        )
        flips = self.rng.integers(2 if self.mirror else 1, size=len(chosen))
        data, labels = (np.zeros(shape, np.float32) for shape in self.shapes())
        for crop, window, flip in zip(data, chosen, flips.tolist(), strict=True):
            self._cut(window, bool(flip), crop)
        labels[:] = chosen[:, LABEL]
        return Batch((lay_out(data, self.order), labels), self.state())

    def _drawn(self, windows: np.ndarray, count: int) -> np.ndarray:
        if not count:
            return windows[:0]
        drawn = self.draws.integers(len(windows), size=count * self.share.count).tolist()
        return windows[list(self.share.of(drawn))]

    def place(self) -> Place:
        windows = [len(self.windows.background), len(self.windows.foreground)]
        return {"windows": windows, "before": self.draws.bit_generator.state}

    def seek(self, place: Place) -> None:
        if place["windows"] != self.place()["windows"]:
            raise DataError(
                "the numbers of windows of background and foreground are {} and {}, and were {} and {} when the "
                "snapshot was made".format(*self.place()["windows"], *place["windows"]),
                hint="Resume with the same window file and thresholds, or start anew",
            )
        # Older snapshots, of one process, have one state for all random numbers.
        self.draws.bit_generator.state = place["before"] if "before" in place else place["rng"]

    def _cut(self, window: np.ndarray, flip: bool, crop: np.ndarray) -> None:
        """Fill ``crop`` (C, H, W), which holds zeros, with the window's pixels; zeros stay outside of the image."""
        image = self._image(int(window[IMAGE]))
        height, width = image.shape[:2]
        x1, y1, x2, y2 = box = tuple(window[X1 : Y2 + 1].tolist())
        part = Part(x1, y1, x2, y2, 0, 0, self.crop_size, self.crop_size)
        square = self.param.crop_mode == "square"
        if self.param.context_pad or square:
            part = expanded(box, height, width, self.crop_size, self.param.context_pad, square, flip)
        if not (0 <= part.x1 <= part.x2 < width and 0 <= part.y1 <= part.y2 < height):
            raise DataError(
                f"the window {' '.join(map(str, box))} is not inside the image "
                f"{self._path(window[IMAGE])!r}, which is {height} x {width}",
                where=self.windows.where_window(window),
                hint="x1 and y1, the first column and row, count from 0; x2 and y2 are the last",
            )
        if part.height < 1 or part.width < 1:
            return
        patch = resize_image(image[part.y1 : part.y2 + 1, part.x1 : part.x2 + 1], part.height, part.width)
        patch = (patch[:, ::-1] if flip else patch).transpose(2, 0, 1)
        place = (
            slice(None),
            slice(part.top, part.top + part.height),
            slice(part.left, part.left + part.width),
        )
        crop[place] = (patch.astype(np.float32) - np.broadcast_to(self.mean, crop.shape)[place]) * self.scale

    def _path(self, index: int) -> str:
        return self.param.root_folder + self.windows.paths[index]

    def _image(self, index: int) -> np.ndarray:
        try:
            data = self._files.get(index) or read_image_file(self._path(index), self.where)
            if self.param.cache_images:
                self._files[index] = data
            return decode_image(data, color=True)
        except DataError as error:
            what = f"the image {self._path(index)!r} cannot be used: {error.what}"
            raise DataError(what, where=self.windows.where_image(index), hint=error.hint) from error.__cause__


class Part(NamedTuple):
    """The part of an image that a window shows, ends included, and its place and size in the crop."""

    x1: int
    y1: int
    x2: int
    y2: int
    top: int
    left: int
    height: int
    width: int


def expanded(
    box: tuple[int, ...], height: int, width: int, crop_size: int, context_pad: int, square: bool, flip: bool
) -> Part:
    """Widen a box so that ``context_pad`` pixels of the crop lie around it, then clip it to the image.

    All in float32 and with the original's roundings.
    """
    f32 = np.float32
    x1, y1, x2, y2 = box
    context_scale = f32(crop_size) / f32(crop_size - 2 * context_pad)
    half_height, half_width = f32(y2 - y1 + 1) / f32(2), f32(x2 - x1 + 1) / f32(2)
    center_x, center_y = f32(x1) + half_width, f32(y1) + half_height
    if square:
        half_height = half_width = max(half_height, half_width)
    x1, x2 = _round(center_x - half_width * context_scale), _round(center_x + half_width * context_scale)
    y1, y2 = _round(center_y - half_height * context_scale), _round(center_y + half_height * context_scale)
    scale_x, scale_y = f32(crop_size) / f32(x2 - x1 + 1), f32(crop_size) / f32(y2 - y1 + 1)
    left, top = max(0, -x1), max(0, -y1)
    right, bottom = max(0, x2 - width + 1), max(0, y2 - height + 1)
    x1, y1, x2, y2 = x1 + left, y1 + top, x2 - right, y2 - bottom
    pad_h = _round(f32(top) * scale_y)
    pad_w = _round(f32(right if flip else left) * scale_x)
    return Part(
        x1,
        y1,
        x2,
        y2,
        pad_h,
        pad_w,
        min(_round(f32(y2 - y1 + 1) * scale_y), crop_size - pad_h),
        min(_round(f32(x2 - x1 + 1) * scale_x), crop_size - pad_w),
    )


def _round(x: np.float32) -> int:
    """Round as C does: halves away from zero."""
    return int(copysign(floor(abs(float(x)) + 0.5), x))


def _mean(transformer: DataTransformer) -> np.ndarray:
    """Return the mean to subtract from a crop; of a mean image, the middle part, where crops always lie."""
    size, image = transformer.crop_size, transformer.mean_image
    if image is None:
        if transformer.mean_values.size not in (0, 1, _CHANNELS):
            raise DataError(f"mean_value is given {transformer.mean_values.size} times", hint="Give it once or 3 times")
        return transformer.mean_values[:, None, None] if transformer.mean_values.size else np.zeros(1, np.float32)
    channels, height, width = image.shape
    offset = (width - size) // 2  # for rows, too, as in the original
    if channels != _CHANNELS or offset < 0 or offset + size > height:
        raise DataError(
            f"the image in mean_file is {by(image.shape)} (C x H x W)",
            hint=f"It needs {_CHANNELS} channels, and at least crop_size {size} rows and columns around its middle",
        )
    return image[:, offset : offset + size, offset : offset + size]
