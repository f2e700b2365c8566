"""transform_param: cropping, mirroring, mean subtraction and scaling of images on their way into a net."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np

from ..errors import DataError, LayerError, Where
from ..logs.log import logger
from ..proto import caffe_pb2
from .augmentation.augmentation import Augmentation, check_augmentation
from .binaryproto import read_binaryproto
from .images.image import BYTE

Shape = tuple[int, ...]


ROW_MAJOR = (0, 1, 2, 3)


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
    if bool(param.crop_h) != bool(param.crop_w):
        raise LayerError("one of crop_h and crop_w is given", hint="Give both, or crop_size, or none")
    check_augmentation(param)


def crop_shape(param: caffe_pb2.TransformationParameter) -> tuple[int, int]:
    """Return the height and width of the crop that transform_param asks for, or zeros."""
    return (param.crop_size, param.crop_size) if param.crop_size else (param.crop_h, param.crop_w)


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
        self.random_crop = phase == caffe_pb2.TRAIN
        self.mirror = param.mirror
        self.scale = np.float32(param.scale)
        self.mean_values = np.array(param.mean_value, np.float32)
        self.mean_image = _read_mean(param.mean_file, where) if param.mean_file else None
        self.order = order
        self.augmentation = Augmentation(param, self._mean_color(), samplers, jitter)

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
        if self.mean_image is not None and self.mean_image.shape != image:
            raise DataError(
                f"the image is {by(image)} (C x H x W), the one in mean_file {by(self.mean_image.shape)}",
                hint="Use a mean computed over images of this size",
            )
        if self.mean_values.size not in (0, 1, channels):
            raise DataError(
                f"mean_value is given {self.mean_values.size} times, the image has {channels} channels",
                hint="Give it once, or once per channel",
            )
        return (channels, crop_height or height, crop_width or width)

    def __call__(self, images: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
        """Transform augmented images, for which ``shape`` gives one shape, to a batch (N, C, H, W) in float32."""
        return self.apply(images, self.choose([image.shape for image in images], rng))

    def apply(self, images: Sequence[np.ndarray], crops: Crops) -> np.ndarray:
        """Return the batch with these crops of the images."""
        bytes_only = self.mean_image is None and {image.dtype for image in images} == {BYTE}
        dtype = BYTE if bytes_only else np.dtype(np.float32)
        if any(self.crop) or self.mirror:
            pixels = self._patches(images, crops, dtype)
        else:
            pixels = np.array(images, dtype)
            pixels = pixels if self.mean_image is None else pixels - self.mean_image
        batch = lay_out(pixels, self.order)
        if self.mean_values.size:
            batch = batch - self.mean_values[:, None, None]
        return np.multiply(batch, self.scale, dtype=np.float32)

    def _patches(self, images: Sequence[np.ndarray], crops: Crops, dtype: np.dtype) -> np.ndarray:
        """Return the crop of each image, minus that of the mean image, mirrored or not."""
        channels, height, width = self.shape(images[0].shape)
        pixels: np.ndarray = np.empty((len(images), channels, height, width), dtype)
        for i, (image, row, column, step) in enumerate(zip(images, *crops, strict=True)):
            window = (slice(None), slice(row, row + height), slice(column, column + width))
            patch = image[window] if self.mean_image is None else image[window] - self.mean_image[window]
            pixels[i, :, :, ::step] = patch
        return pixels

    def choose(self, shapes: Sequence[Shape], rng: np.random.Generator) -> Crops:
        """Draw the crops of augmented images: mirroring for the whole batch, then rows, then columns."""
        steps = 1 - 2 * rng.integers(2, size=len(shapes)) if self.mirror else np.ones(len(shapes), int)
        if not any(self.crop):
            return Crops([0] * len(shapes), [0] * len(shapes), steps.tolist())
        room = np.array(shapes).T[1:] - np.array(self.crop)[:, None]
        rows, columns = rng.integers(room + 1) if self.random_crop else room // 2
        return Crops(rows.tolist(), columns.tolist(), steps.tolist())


def _read_mean(file: str, where: Where | None) -> np.ndarray:
    """Read the mean image (C, H, W) of a .binaryproto."""
    logger.info("Loading mean file from: %s", file)
    path, mean = read_binaryproto(file, "mean_file", "transform_param", where, "compute-image-mean makes")
    if mean.ndim < 3 or prod(mean.shape[:-3]) != 1:
        raise DataError(f"mean_file {path!r} holds an array of shape {mean.shape}, not one image (1, C, H, W)")
    return mean.reshape(mean.shape[-3:]).astype(np.float32)
