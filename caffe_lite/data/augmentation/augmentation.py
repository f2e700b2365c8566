"""The steps between decoding an image and cropping it, in SSD's order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...logs.log import logger
from ...proto.caffe_pb2 import BatchSampler, TransformationParameter
from .distortion import check_distortion, distort
from .expansion import check_expansion, expand
from .noise import add_noise, check_noise
from .objects import project
from .resizing import check_resize, resize, resize_objects, resized
from .sampling import check_samplers, draw_patch


def check_augmentation(param: TransformationParameter) -> None:
    """Refuse settings of transform_param that cannot work."""
    checks = (
        ("resize_param", check_resize),
        ("distort_param", check_distortion),
        ("noise_param", check_noise),
        ("expand_param", check_expansion),
    )
    for field, check in checks:
        if param.HasField(field):
            check(getattr(param, field))


class Augmentation:
    """distort_param, expand_param, a patch that a batch_sampler draws, resize_param and noise_param, in this order.

    ``mean`` is the colour around an expanded image. Calling it changes an image (C, H, W) and the objects in it; an
    Augmentation that changes nothing is false.
    """

    def __init__(
        self, param: TransformationParameter, mean: Sequence[float] = (0,), samplers: Sequence[BatchSampler] = ()
    ) -> None:
        check_augmentation(param)
        check_samplers(samplers)
        self.mean = mean
        self.samplers = samplers
        self.distort = param.distort_param if param.HasField("distort_param") else None
        self.expand = param.expand_param if param.HasField("expand_param") else None
        self.resize = param.resize_param if param.HasField("resize_param") else None
        self.noise = param.noise_param if param.HasField("noise_param") else None
        self.emit = param.emit_constraint if param.HasField("emit_constraint") else None
        if param.resize_param.prob != 1 or param.noise_param.HasField("prob"):
            logger.warning("prob in resize_param and noise_param is ignored, as in SSD: they change every image")

    def __bool__(self) -> bool:
        return bool(self.samplers) or any(
            step is not None for step in (self.distort, self.expand, self.resize, self.noise)
        )

    def shape(self, image: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape in which an image (C, H, W) leaves, unless it is cut before and keeps its aspect."""
        channels, height, width = image
        return image if self.resize is None else (channels, *resized(self.resize, height, width))

    def __call__(
        self, image: np.ndarray, objects: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        if self.distort is not None:
            image = distort(self.distort, image, rng)
        if self.expand is not None and (expanded := expand(self.expand, image, self.mean, rng)):
            image, window = expanded
            objects = project(objects, window, self.emit)
        if self.samplers and (patch := draw_patch(self.samplers, objects, rng)) is not None:
            image = cut(image, patch)
            objects = project(objects, patch, self.emit)
        if self.resize is not None:
            objects = resize_objects(self.resize, objects, *image.shape[1:])
            image = resize(self.resize, image, rng)
        if self.noise is not None:
            image = add_noise(self.noise, image, rng)
        return image, objects


def cut(image: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Return the part of an image (C, H, W) in a window; corners are rounded down, as in SSD."""
    height, width = image.shape[1:]
    left, top, right, bottom = np.clip(window, 0, 1) * np.array([width, height, width, height], np.float32)
    x, y = min(int(left), width - 1), min(int(top), height - 1)
    return image[:, y : y + max(1, int(bottom - top)), x : x + max(1, int(right - left))]
