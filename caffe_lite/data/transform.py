"""transform_param: cropping, mirroring, mean subtraction and scaling of images on their way into a net."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np

from ..errors import DataError, LayerError, Where
from ..logs.log import logger
from ..proto import caffe_pb2
from .augmentation.augmentation import Augmentation, check_augmentation, sizings
from .augmentation.erasing import Erasure, draw_erasure
from .augmentation.scale_jitter import fixed_places
from .augmentation.stretching import stretches
from .binaryproto import read_binaryproto
from .images.image import BYTE

Shape = tuple[int, ...]


ROW_MAJOR = (0, 1, 2, 3)
_BRIGHTEST = 255

# What forks add to transform_param, and DataTransformer reads for images without objects.
FORK_FIELDS = tuple(
    f"TransformationParameter.{name}"
    for name in (
        *("random_resize_param", "random_aspect_ratio_param", "flow"),
        *("img_rand_resize_lower", "img_rand_resize_upper", "rand_resize_ratio_lower", "rand_resize_ratio_upper"),
        *("vertical_stretch_lower", "vertical_stretch_upper", "horizontal_stretch_lower", "horizontal_stretch_upper"),
        *("interpolation_algo_down", "interpolation_algo_up", "allow_upscale"),
        *("multi_scale", "scale_ratios", "max_distort", "fix_crop", "more_fix_crop", "is_flow"),
        *("center_crop", "erase_ratio", "scale_min", "scale_max", "aspect_min", "aspect_max"),
    )
)


def lay_out(images: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """Return the same images (N, C, H, W), with their axes in this order in memory."""
    return np.ascontiguousarray(images.transpose(order)).transpose(np.argsort(order))


def by(shape: Shape) -> str:
    """Write a shape for a message: "3 x 224 x 224"."""
    return " x ".join(map(str, shape))


def check_transform(param: caffe_pb2.TransformationParameter) -> None:
    """Refuse a transform_param that contradicts itself."""
    if param.mean_file and param.mean_value:
        raise LayerError("mean_file and mean_value exclude each other", hint="Keep one of them in transform_param")
    for height, width in (("crop_h", "crop_w"), ("crop_height", "crop_width")):
        if bool(getattr(param, height)) != bool(getattr(param, width)):
            raise LayerError(f"one of {height} and {width} is given", hint="Give both, or crop_size, or none")
    check_augmentation(param)


def crop_shape(param: caffe_pb2.TransformationParameter) -> tuple[int, int]:
    """Return the height and width of the crop that transform_param asks for, by any of its names, or zeros."""
    height, width = (param.crop_size, param.crop_size) if param.crop_size else (param.crop_h, param.crop_w)
    return height or param.crop_height, width or param.crop_width


def has_random_size(param: caffe_pb2.TransformationParameter) -> bool:
    """Return whether transform_param resizes images at random, before they are cropped."""
    return bool(sizings(param, training=True))


class Crops(NamedTuple):
    """For each image of a batch, the first row and column of its crop, and -1 if it is mirrored, else 1."""

    rows: list[int]
    columns: list[int]
    steps: list[int]


class DataTransformer:
    """y = (x - mean) * scale over a crop of x, mirrored or not.

    Reads ``transform_param``: crop_size (0, the whole image), or crop_h and crop_w, at a random place in the TRAIN
    phase and the centre in TEST; mirror (false), which flips each image with probability 1/2, in TEST too, as in the
    original; mean_file, a mean image that is cropped and flipped with the image, or mean_value, one or one per channel;
    scale (1). Before that, as in SSD and in this order: distort_param, other colours; expand_param, a larger image
    around it, of the mean colour; resize_param; noise_param. SSD reads the first two in AnnotatedData only, and
    compresses images as JPEG between the steps.
    Of other forks: random_resize_param, see ShorterSide, and random_aspect_ratio_param, see AreaCrop; NVIDIA's random
    sizes, see Stretching; multi_scale, scale_ratios, max_distort, fix_crop and more_fix_crop, see ScaleJitter;
    center_crop (false), the crop of the TEST phase in TRAIN, too; erase_ratio, scale_min, scale_max, aspect_min and
    aspect_max, see draw_erasure; for mirrored images of optical flow, whose horizontal part changes its sign with 255
    minus it, flow (false), which is that of channel 2, and is_flow (false), that of the channels 0, 2, 4, ...
    The mean image goes along with the crop; but with NVIDIA's sizes its centre is subtracted, and with multi_scale its
    upper left corner, as in these forks. mean_value may be given once for each of a group of channels that is repeated.
    ``order`` is the order of a batch's axes in memory: an engine's ``image_order``.
    Source: the original's data_transformer.cpp, and SSD's.
    """

    def __init__(
        self,
        param: caffe_pb2.TransformationParameter,
        phase: int,
        where: Where | None = None,
        order: Sequence[int] = ROW_MAJOR,
        samplers: Sequence[caffe_pb2.BatchSampler] = (),
        jitter: float = 0,
    ) -> None:
        check_transform(param)
        self.crop_size = param.crop_size
        self.crop = crop_shape(param)
        self.param = param
        training = phase == caffe_pb2.TRAIN
        self.random_crop = training and not param.center_crop
        self.mirror = param.mirror
        self.scale = np.float32(param.scale)
        self.mean_values = np.array(param.mean_value, np.float32)
        self.mean_image = _read_mean(param.mean_file, where) if param.mean_file else None
        self.order = order
        self.augmentation = Augmentation(param, self._mean_color(), samplers, jitter, training)
        self.central_mean = stretches(param)
        self.fixed_mean = self.central_mean or (param.multi_scale and training)

    def _mean_color(self) -> Sequence[float]:
        mean: np.ndarray = self.mean_values if self.mean_image is None else self.mean_image.mean((1, 2))
        return mean.tolist() or [0]

    def shape(self, image: Shape) -> Shape:
        """Return the shape to which an augmented image (C, H, W) is transformed; raise DataError if it cannot be."""
        channels, height, width = image
        crop_height, crop_width = self.crop
        if crop_height > height or crop_width > width:
            name, size = ("crop_size", self.crop_size) if self.crop_size else ("crop_h x crop_w", by(self.crop))
            raise DataError(
                f"{name} {size} is larger than the image: {height} x {width}",
                hint=f"Make {name} smaller, or the images larger",
            )
        if self.mean_image is not None and self.mean_image.shape != image and not self.fixed_mean:
            raise DataError(
                f"the image is {by(image)} (C x H x W), the one in mean_file {by(self.mean_image.shape)}",
                hint="Use a mean computed over images of this size",
            )
        if self.mean_values.size and channels % self.mean_values.size:
            raise DataError(
                f"mean_value is given {self.mean_values.size} times, the image has {channels} channels",
                hint="Give it once, or once per channel",
            )
        whole = (channels, crop_height or height, crop_width or width)
        if self.fixed_mean and self.mean_image is not None:
            self._mean_part(whole)
        return whole

    def __call__(self, images: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
        """Transform augmented images, for which ``shape`` gives one shape, to a batch (N, C, H, W) in float32."""
        crops = self.choose([image.shape for image in images], rng)
        if not self.param.erase_ratio:
            return self.apply(images, crops)
        shape = self.shape(images[0].shape)
        return self.apply(images, crops, [draw_erasure(self.param, shape, rng) for _ in images])

    def apply(self, images: Sequence[np.ndarray], crops: Crops, erasures: Sequence[Erasure | None] = ()) -> np.ndarray:
        """Return the batch with these crops of the images, and with what is erased of each."""
        bytes_only = self.mean_image is None and {image.dtype for image in images} == {BYTE}
        dtype = BYTE if bytes_only else np.dtype(np.float32)
        if any(self.crop) or self.mirror or erasures or self.fixed_mean:
            pixels = self._patches(images, crops, erasures or [None] * len(images), dtype)
        else:
            pixels = np.array(images, dtype)
            pixels = pixels if self.mean_image is None else pixels - self.mean_image
        batch = lay_out(pixels, self.order)
        if self.mean_values.size:
            batch = batch - np.resize(self.mean_values, batch.shape[1])[:, None, None]
        return np.multiply(batch, self.scale, dtype=np.float32)

    def _patches(
        self, images: Sequence[np.ndarray], crops: Crops, erasures: Sequence[Erasure | None], dtype: np.dtype
    ) -> np.ndarray:
        """Return the crop of each image, minus that of the mean image, mirrored or not."""
        shape = self.shape(images[0].shape)
        pixels: np.ndarray = np.empty((len(images), *shape), dtype)
        fixed = self._mean_part(shape) if self.fixed_mean and self.mean_image is not None else None
        for i, (image, row, column, step, erasure) in enumerate(zip(images, *crops, erasures, strict=True)):
            window = (slice(None), slice(row, row + shape[1]), slice(column, column + shape[2]))
            patch = image[window]
            if erasure is not None:
                patch = erasure.erase(patch)
            if step < 0:
                patch = self._with_flow_reversed(patch)
            if self.mean_image is not None:
                patch = patch - (self.mean_image[window] if fixed is None else fixed)
            pixels[i, :, :, ::step] = patch
        return pixels

    def _with_flow_reversed(self, patch: np.ndarray) -> np.ndarray:
        """Return a patch of optical flow in whose horizontal channels v becomes 255 - v; one of colours stays."""
        horizontal = slice(0, None, 2) if self.param.is_flow else slice(2, 3) if self.param.flow else None
        if horizontal is None:
            return patch
        changed = patch.copy()
        changed[horizontal] = _BRIGHTEST - changed[horizontal]
        return changed

    def _mean_part(self, shape: Shape) -> np.ndarray:
        """Return the part (C, H, W) of the mean image that all crops of this shape have subtracted."""
        assert self.mean_image is not None
        room = np.array(self.mean_image.shape) - np.array(shape)
        if room[0] or min(room) < 0:
            raise DataError(
                f"crops are {by(shape)} (C x H x W), the image in mean_file is {by(self.mean_image.shape)}",
                hint="Use a mean image that is at least as large",
            )
        top, left = room[1:] // 2 if self.central_mean else (0, 0)
        return self.mean_image[:, top : top + shape[1], left : left + shape[2]]

    def choose(self, shapes: Sequence[Shape], rng: np.random.Generator) -> Crops:
        """Draw the crops of augmented images: mirroring for the whole batch, then rows, then columns."""
        steps = 1 - 2 * rng.integers(2, size=len(shapes)) if self.mirror else np.ones(len(shapes), int)
        if not any(self.crop):
            return Crops([0] * len(shapes), [0] * len(shapes), steps.tolist())
        room = np.array(shapes).T[1:] - np.array(self.crop)[:, None]
        if self.random_crop and self.param.fix_crop:
            places = [fixed_places(self.param, each) for each in room.T]
            rows, columns = np.array([each[rng.integers(len(each))] for each in places]).T
        else:
            rows, columns = rng.integers(room + 1) if self.random_crop else room // 2
        return Crops(rows.tolist(), columns.tolist(), steps.tolist())


def _read_mean(file: str, where: Where | None) -> np.ndarray:
    """Read the mean image (C, H, W) of a .binaryproto."""
    logger.info("Loading mean file from: %s", file)
    path, mean = read_binaryproto(file, "mean_file", "transform_param", where, "compute-image-mean makes")
    if mean.ndim < 3 or prod(mean.shape[:-3]) != 1:
        raise DataError(f"mean_file {path!r} holds an array of shape {mean.shape}, not one image (1, C, H, W)")
    return mean.reshape(mean.shape[-3:]).astype(np.float32)
