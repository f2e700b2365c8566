"""scikit-image: `resize` and `rescale` as 0.13 computed them, `multichannel`, `as_grey`, and the module `filter`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

from ..imports import watch
from .names import give_modules, missing_modules, say

_MODULES = {"skimage.filter": "skimage.filters"}
# Callers that give one of these know today's functions, or those of 0.14 to 0.18, whose other defaults were the same.
_TODAYS = {"anti_aliasing", "anti_aliasing_sigma", "channel_axis", "multichannel"}

PREVENTED = (
    *missing_modules(_MODULES),
    r"TypeError: .*got an unexpected keyword argument '(multichannel|as_grey)'",
)


def install() -> None:
    give_modules(_MODULES)
    watch("skimage.transform", _patch_transform)
    watch("skimage.io", _patch_io)


def _patch_transform(transform: Any) -> None:
    todays_resize, todays_rescale = _todays(transform, "resize"), _todays(transform, "rescale")

    def resize(image: Any, output_shape: Any, *args: Any, **kw: Any) -> Any:
        if kw.keys() & _TODAYS:
            return todays_resize()(image, output_shape, *args, **_with_channel_axis(kw))
        say("skimage.transform.resize of old", "resize(image, shape, anti_aliasing=...), whose values differ")
        return _resized(transform, image, output_shape, *args, **kw)

    def rescale(image: Any, scale: Any, *args: Any, **kw: Any) -> Any:
        if kw.keys() & _TODAYS:
            return todays_rescale()(image, scale, *args, **_with_channel_axis(kw))
        say("skimage.transform.rescale of old", "rescale(image, scale, channel_axis=-1), whose values differ")
        return _rescaled(transform, image, scale, *args, **kw)

    transform.resize, transform.rescale = resize, rescale


def _todays(module: ModuleType, name: str) -> Callable[[], Any]:
    """Return a function that finds scikit-image's own function; if that is lazy, it is imported only by the call."""
    there = vars(module).get(name)

    @cache
    def find() -> Any:
        if there is not None:
            return there
        ours, todays = vars(module)[name], module.__getattr__(name)
        setattr(module, name, ours)  # the module's __getattr__ has set its own function
        return todays

    return find


def _with_channel_axis(kw: dict[str, Any]) -> dict[str, Any]:
    if "multichannel" not in kw:
        return kw
    say("multichannel", "channel_axis=-1")
    rest = {name: value for name, value in kw.items() if name != "multichannel"}
    return rest | ({"channel_axis": -1} if kw["multichannel"] else {})


def _resized(
    transform: Any,
    image: Any,
    output_shape: Any,
    order: int = 1,
    mode: str | None = None,
    cval: float = 0,
    clip: bool = True,
    preserve_range: bool = False,
) -> Any:
    """Resize an image (H, W) or (H, W, C) to another height and width, as float64, by interpolation without blurring.

    The outside of the image is `cval`, which reaches half a pixel into enlarged images.
    """
    image = image.astype(float) if image.dtype.kind == "f" else image
    if len(output_shape) == 3 and image.shape[2:] != (output_shape[2],):
        raise ValueError(f"an image of shape {image.shape} has no {output_shape[2]} channels to resize")
    how = {"order": order, "mode": mode or "constant", "cval": cval, "clip": clip, "preserve_range": preserve_range}
    rows, columns = (old / new for old, new in zip(image.shape[:2], output_shape[:2], strict=True))
    shift = (columns / 2 - 0.5, rows / 2 - 0.5)
    matrix = transform.AffineTransform(scale=(columns, rows), translation=shift)
    return transform.warp(image, matrix, output_shape=output_shape, **how)


def _rescaled(transform: Any, image: Any, scale: Any, *args: Any, **kw: Any) -> Any:
    """Resize an image by one factor, or by one for the rows and one for the columns."""
    rows, columns = scale if hasattr(scale, "__len__") else (scale, scale)
    shape = tuple(round(float(factor * size)) for factor, size in zip((rows, columns), image.shape[:2], strict=True))
    return _resized(transform, image, shape, *args, **kw)


def _patch_io(io: Any) -> None:
    todays = _todays(io, "imread")

    def imread(fname: Any, as_gray: bool = False, *args: Any, as_grey: bool | None = None, **kw: Any) -> Any:
        if as_grey is not None:
            say("skimage.io.imread(as_grey=)", "as_gray=")
            as_gray = as_grey
        return todays()(fname, as_gray, *args, **kw)

    io.imread = imread
