"""The steps between decoding an image and cropping it, in SSD's order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import LayerError
from ...logs.log import logger
from ...proto.caffe_pb2 import BatchSampler, ResizeParameter, TransformationParameter
from .area_crop import AreaCrop, check_area_crop
from .distortion import check_distortion, distort
from .erasing import check_erasing
from .expansion import check_expansion, expand
from .noise import add_noise, check_noise
from .objects import project
from .resizing import check_resize, resize, resize_objects, resized
from .sampling import check_samplers, draw_jittered, draw_patch
from .scale_jitter import ScaleJitter, check_scale_jitter
from .shorter_side import ShorterSide, check_shorter_side
from .sizing import Sizing
from .stretching import Stretching, check_stretching, stretches

_NEAR = 0.01  # how far probabilities may be from 1 together


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
    check_stretching(param)
    check_scale_jitter(param)
    check_erasing(param)
    if param.HasField("random_resize_param"):
        check_shorter_side(param.random_resize_param)
    if param.HasField("random_aspect_ratio_param"):
        check_area_crop(param.random_aspect_ratio_param, param.crop_size)
    if param.further_resize_param:
        for size in param.further_resize_param:
            check_resize(size)
        total = sum(size.prob for size in sizes_of(param))
        if abs(total - 1) > _NEAR:
            raise LayerError(f"the prob of all resize_param are {total:g} together", hint="Make them 1 together")


def sizes_of(param: TransformationParameter) -> list[ResizeParameter]:
    """Return every resize_param; several are MobileNet-YOLO's, of which one is drawn at a time."""
    return [param.resize_param, *param.further_resize_param] if param.HasField("resize_param") else []


def sizings(param: TransformationParameter, training: bool) -> list[Sizing]:
    """Return the steps that give images random sizes, in their order."""
    steps: list[Sizing] = []
    if param.HasField("random_resize_param"):
        steps.append(ShorterSide(param.random_resize_param))
    elif param.HasField("random_aspect_ratio_param"):
        steps.append(AreaCrop(param.random_aspect_ratio_param, param.crop_size))
    if stretches(param):
        steps.append(Stretching(param))
    if param.multi_scale and training:
        steps.append(ScaleJitter(param))
    return steps


class Augmentation:
    """distort_param, expand_param, a patch that a batch_sampler draws, random sizes, resize_param and noise_param.

    The steps are in this order. Random sizes are for images without objects: random_resize_param or else
    random_aspect_ratio_param; NVIDIA's, see Stretching; in training, multi_scale. ``mean`` is the colour around an
    expanded image. ``jitter`` makes patches where there are no samplers. Of several ``sizes``, ``resize`` is the
    current one: the first, until ``draw_size`` draws another. Calling it changes an image (C, H, W) and the objects in
    it; an Augmentation that changes nothing is false.
    """

    def __init__(
        self,
        param: TransformationParameter,
        mean: Sequence[float] = (0,),
        samplers: Sequence[BatchSampler] = (),
        jitter: float = 0,
        training: bool = True,
    ) -> None:
        check_augmentation(param)
        check_samplers(samplers)
        self.mean = mean
        self.samplers = samplers
        self.jitter = jitter
        self.sizings = sizings(param, training)
        self.distort = param.distort_param if param.HasField("distort_param") else None
        self.expand = param.expand_param if param.HasField("expand_param") else None
        self.sizes = sizes_of(param)
        self.size = 0
        self.noise = param.noise_param if param.HasField("noise_param") else None
        self.emit = param.emit_constraint if param.HasField("emit_constraint") else None
        if (len(self.sizes) == 1 and param.resize_param.prob != 1) or param.noise_param.HasField("prob"):
            logger.warning("prob in resize_param and noise_param is ignored, as in SSD: they change every image")

    def __bool__(self) -> bool:
        return bool(self.samplers or self.jitter or self.sizings) or any(
            step is not None for step in (self.distort, self.expand, self.resize, self.noise)
        )

    @property
    def resize(self) -> ResizeParameter | None:
        return self.sizes[self.size] if self.sizes else None

    def draw_size(self, rng: np.random.Generator) -> None:
        """Draw the current one of several resize_param, by their prob."""
        weights = np.array([size.prob for size in self.sizes], float)
        self.size = int(rng.choice(len(weights), p=weights / weights.sum()))

    def shape(self, image: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape in which an image (C, H, W) leaves, unless it is cut before and keeps its aspect.

        Of random sizes, it is the smallest.
        """
        channels, height, width = image
        for step in self.sizings:
            height, width = step.least(height, width)
        image = (channels, height, width)
        return image if self.resize is None else (channels, *resized(self.resize, height, width))

    def __call__(
        self, image: np.ndarray, objects: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        image, objects, _ = self.with_patch(image, objects, rng)
        return image, objects

    def with_patch(
        self, image: np.ndarray, objects: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Change an image as calling does; return also the window that was cut out, None if there was no patch."""
        if self.distort is not None:
            image = distort(self.distort, image, rng)
        if self.expand is not None and (expanded := expand(self.expand, image, self.mean, rng)):
            image, window = expanded
            objects = project(objects, window, self.emit)
        if (patch := self._patch(objects, rng)) is not None:
            image = cut(image, patch)
            objects = project(objects, patch, self.emit)
        for step in self.sizings:
            image = step(image, rng)
        if self.resize is not None:
            objects = resize_objects(self.resize, objects, *image.shape[1:])
            image = resize(self.resize, image, rng)
        if self.noise is not None:
            image = add_noise(self.noise, image, rng)
        return image, objects, patch

    def _patch(self, objects: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
        if self.samplers:
            return draw_patch(self.samplers, objects, rng)
        if self.jitter:
            pads = self.resize is not None and self.resize.resize_mode == ResizeParameter.FIT_LARGE_SIZE_AND_PAD
            return draw_jittered(self.jitter, pads, rng)
        return None


def cut(image: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Return the part of an image (C, H, W) in a window; corners are rounded down, as in SSD."""
    height, width = image.shape[1:]
    left, top, right, bottom = np.clip(window, 0, 1) * np.array([width, height, width, height], np.float32)
    x, y = min(int(left), width - 1), min(int(top), height - 1)
    return image[:, y : y + max(1, int(bottom - top)), x : x + max(1, int(right - left))]
