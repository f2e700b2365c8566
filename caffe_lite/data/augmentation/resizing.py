"""resize_param: images in another size, and their boxes."""

from __future__ import annotations

import numpy as np

from ...errors import DataError, LayerError
from ...proto.caffe_pb2 import ResizeParameter
from ..images.image import import_cv2
from .objects import BOX, with_boxes
from .pixels import per_channel, through_cv2

_INTERPOLATIONS = {
    ResizeParameter.LINEAR: "INTER_LINEAR",
    ResizeParameter.AREA: "INTER_AREA",
    ResizeParameter.NEAREST: "INTER_NEAREST",
    ResizeParameter.CUBIC: "INTER_CUBIC",
    ResizeParameter.LANCZOS4: "INTER_LANCZOS4",
}
_BORDERS = {
    ResizeParameter.CONSTANT: "BORDER_CONSTANT",
    ResizeParameter.MIRRORED: "BORDER_REFLECT_101",
    ResizeParameter.REPEAT_NEAREST: "BORDER_REPLICATE",
}


def check_resize(param: ResizeParameter) -> None:
    """Refuse a resize_param without a size."""
    if not (param.height and param.width):
        raise LayerError(
            f"height and width in resize_param are {param.height} and {param.width}", hint="Give both of them"
        )


def resized(param: ResizeParameter, height: int, width: int) -> tuple[int, int]:
    """Return the height and width that an image gets."""
    if param.resize_mode == ResizeParameter.FIT_SMALL_SIZE:
        return _keeping_aspect(param, height, width, cover=True)
    return param.height, param.width


def _keeping_aspect(param: ResizeParameter, height: int, width: int, cover: bool) -> tuple[int, int]:
    """Return the size of the image's shape that covers param's, or that fits into it."""
    aspect, frame = np.float32(width) / np.float32(height), np.float32(param.width) / np.float32(param.height)
    if aspect < frame if cover else aspect > frame:
        return max(1, int(np.float32(param.width) / aspect)), param.width
    return param.height, max(1, int(aspect * np.float32(param.height)))


def resize(param: ResizeParameter, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an image (C, H, W) in its new size.

    Reads ``resize_param``: height and width; resize_mode (WARP), which takes both as they are, FIT_SMALL_SIZE, which
    keeps the image's shape and is at least as large, or FIT_LARGE_SIZE_AND_PAD, which keeps it within, and fills the
    rest; pad_mode (CONSTANT), or MIRRORED, REPEAT_NEAREST; pad_value (0), one or one per channel; interp_mode (LINEAR),
    of which several may be given: one is drawn for each image. prob is not read, as in SSD.
    """
    cv2 = import_cv2()
    modes = list(param.interp_mode) or [ResizeParameter.LINEAR]
    mode = modes[rng.integers(len(modes)) if len(modes) > 1 else 0]
    interpolation = getattr(cv2, _INTERPOLATIONS[mode])
    channels, old_height, old_width = image.shape
    if param.resize_mode != ResizeParameter.FIT_LARGE_SIZE_AND_PAD:
        height, width = resized(param, old_height, old_width)
        return through_cv2(image, lambda x: cv2.resize(x, (width, height), interpolation=interpolation))
    height, width = _keeping_aspect(param, old_height, old_width, cover=False)
    top, left = (param.height - height) // 2, (param.width - width) // 2
    bottom, right = param.height - height - top, param.width - width - left
    border = getattr(cv2, _BORDERS[param.pad_mode])
    value = per_channel(param.pad_value or [0], channels, "pad_value in resize_param").tolist()

    def within(x: np.ndarray) -> np.ndarray:
        inner = cv2.resize(x, (width, height), interpolation=interpolation)
        framed: np.ndarray = cv2.copyMakeBorder(inner, top, bottom, left, right, border, value=value)
        return framed

    return through_cv2(image, within)


def resize_objects(param: ResizeParameter, objects: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the objects of an image of this size where they are once it is resized: without padding, at the same
    fractions of it."""
    if param.resize_mode != ResizeParameter.FIT_LARGE_SIZE_AND_PAD:
        return with_boxes(objects, np.clip(objects[:, BOX], 0, 1))
    aspect, frame = np.float32(width) / np.float32(height), np.float32(param.width) / np.float32(param.height)
    share = np.minimum(1, np.array([aspect / frame, frame / aspect], np.float32))
    share = np.tile(share, 2)
    return with_boxes(objects, np.clip(objects[:, BOX], 0, 1) * share + (1 - share) / 2)


def rescale(param: ResizeParameter | None, objects: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the objects of a crop of this size in units of height_scale and width_scale.

    Both are sizes in pixels; they count with FIT_SMALL_SIZE, whose images have different sizes.
    """
    if param is None or param.resize_mode != ResizeParameter.FIT_SMALL_SIZE:
        return objects
    if not (param.height_scale and param.width_scale):
        return objects
    if height < param.height_scale or width < param.width_scale:
        raise DataError(
            f"the image is {height} x {width}, smaller than height_scale x width_scale in resize_param, "
            f"{param.height_scale} x {param.width_scale}",
            hint="Make them smaller, or height and width larger",
        )
    factors = np.array([width / param.width_scale, height / param.height_scale] * 2, np.float32)
    return with_boxes(objects, objects[:, BOX] * factors)
