"""`scipy.misc` as in SciPy 1.1: Pillow does the work on images; names that have moved within SciPy are found there."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

import numpy as np

from .names import say, standing

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from PIL.Image import Image

_NAMES = {
    **{name: f"scipy.special.{name}" for name in ("comb", "factorial", "factorial2", "factorialk", "logsumexp")},
    **{name: f"scipy.datasets.{name}" for name in ("ascent", "electrocardiogram", "face")},
}
_INTERPOLATIONS: dict[str, Any] = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "cubic": 3}
_FILTERS = {
    **{name: name.upper() for name in ("blur", "contour", "detail", "emboss", "smooth", "sharpen")},
    "edge_enhance": "EDGE_ENHANCE",
    "edge_enhance_more": "EDGE_ENHANCE_MORE",
    "find_edges": "FIND_EDGES",
    "smooth_more": "SMOOTH_MORE",
}


def imread(name: str | IO[bytes], flatten: bool = False, mode: str | None = None) -> np.ndarray:
    """Read an image file into an array: (H, W) if it is grey or `flatten` is true, else (H, W, C)."""
    say("scipy.misc.imread", "cv2.imread(file), imageio.imread(file)")
    with _pillow().open(name) as image:
        return fromimage(image, flatten, mode)


def imsave(name: str | IO[bytes], arr: ArrayLike, format: str | None = None) -> None:
    """Write an array (H, W), (H, W, 3) or (H, W, 4) as an image; types other than uint8 are stretched to 0..255."""
    say("scipy.misc.imsave", "cv2.imwrite(file, array), imageio.imwrite(file, array)")
    toimage(arr, channel_axis=2).save(name, format)


def imresize(arr: ArrayLike, size: Any, interp: str = "bilinear", mode: str | None = None) -> np.ndarray:
    """Resize an image by per cent (int), by a factor (float) or to (height, width); the result is uint8 in 0..255."""
    say("scipy.misc.imresize", "cv2.resize(array, (width, height))")
    image = toimage(arr, mode=mode)
    if np.issubdtype(type(size), np.signedinteger):
        width, height = (int(side * (size / 100.0)) for side in image.size)
    elif np.issubdtype(type(size), np.floating):
        width, height = (int(side * size) for side in image.size)
    else:
        height, width = size
    return fromimage(image.resize((width, height), resample=_INTERPOLATIONS[interp]))


def imrotate(arr: ArrayLike, angle: float, interp: str = "bilinear") -> np.ndarray:
    """Turn an image anticlockwise about its centre, by an angle in degrees; its size stays the same."""
    say("scipy.misc.imrotate", "PIL.Image.fromarray(array).rotate(angle)")
    return fromimage(toimage(arr).rotate(angle, resample=_INTERPOLATIONS[interp]))


def imfilter(arr: ArrayLike, ftype: str) -> np.ndarray:
    """Apply one of Pillow's filters to an image: 'blur', 'contour', 'emboss', 'find_edges', ..."""
    from PIL import ImageFilter

    say("scipy.misc.imfilter", "PIL.Image.fromarray(array).filter(PIL.ImageFilter.BLUR)")
    if ftype not in _FILTERS:
        raise ValueError("Unknown filter type.")
    return fromimage(toimage(arr).filter(getattr(ImageFilter, _FILTERS[ftype])))


def imshow(arr: ArrayLike) -> None:
    """Show an array in the system's image viewer."""
    say("scipy.misc.imshow", "matplotlib.pyplot.imshow(array)")
    toimage(arr).show()


def bytescale(
    data: ArrayLike, cmin: float | None = None, cmax: float | None = None, high: int = 255, low: int = 0
) -> np.ndarray:
    """Turn an array into uint8: its range, or cmin to cmax, is stretched to low..high. uint8 stays as it is."""
    data = np.asarray(data)
    if data.dtype == np.uint8:
        return data
    if high > 255 or low < 0 or high < low:
        raise ValueError("`low` and `high` must be in 0..255, and `high` not less than `low`.")
    cmin, cmax = data.min() if cmin is None else cmin, data.max() if cmax is None else cmax
    if cmax < cmin:
        raise ValueError("`cmax` should be larger than `cmin`.")
    scale = float(high - low) / ((cmax - cmin) or 1)
    stretched = ((data - cmin) * scale + low).clip(low, high)
    return (stretched + 0.5).astype(np.uint8)


def fromimage(im: Image, flatten: bool = False, mode: str | None = None) -> np.ndarray:
    """Turn a Pillow image into an array."""
    if mode is not None:
        im = im.convert(mode) if mode != im.mode else im
    elif im.mode == "P":
        im = im.convert("RGBA" if "transparency" in im.info else "RGB")
    if flatten:
        im = im.convert("F")
    elif im.mode == "1":
        im = im.convert("L")
    return np.array(im)


def toimage(
    arr: ArrayLike,
    high: int = 255,
    low: int = 0,
    cmin: float | None = None,
    cmax: float | None = None,
    pal: ArrayLike | None = None,
    mode: str | None = None,
    channel_axis: int | None = None,
) -> Image:
    """Turn an array into a Pillow image: (H, W), or with an axis of 3 or 4 channels anywhere.

    In mode "1" values above `high` are white, as was intended (SciPy's images came out garbled).
    """
    data = np.asarray(arr)
    if np.iscomplexobj(data):
        raise ValueError("Cannot convert a complex-valued array.")
    if data.ndim == 2:
        return _grey(data, high, low, cmin, cmax, pal, mode)
    if data.ndim != 3 or not {3, 4} & set(data.shape):
        raise ValueError("'arr' does not have a suitable array shape for any mode.")
    if channel_axis is None:
        channel_axis = data.shape.index(3 if 3 in data.shape else 4)
    channels = data.shape[channel_axis]
    if channels not in (3, 4):
        raise ValueError("Channel axis dimension is not valid.")
    mode = mode or ("RGB" if channels == 3 else "RGBA")
    if {"RGB": 3, "YCbCr": 3, "RGBA": 4, "CMYK": 4}.get(mode) != channels:
        raise ValueError(f"An array of shape {data.shape} is no image of mode {mode}.")
    return _image(mode, np.moveaxis(bytescale(data, cmin, cmax, high, low), channel_axis, 2))


def _grey(
    data: np.ndarray,
    high: int,
    low: int,
    cmin: float | None,
    cmax: float | None,
    pal: ArrayLike | None,
    mode: str | None,
) -> Image:
    if mode == "F":
        return _image("F", data.astype(np.float32))
    if mode in (None, "L", "P"):
        image = _image("L", bytescale(data, cmin, cmax, high, low))
        if pal is not None:
            image.putpalette(np.asarray(pal, np.uint8).tobytes())
        elif mode == "P":
            image.putpalette(np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes())
        return image
    if mode == "1":
        return _image("L", np.where(data > high, np.uint8(255), np.uint8(0))).convert("1")
    if mode == "I":
        cmin, cmax = data.min() if cmin is None else cmin, data.max() if cmax is None else cmax
        return _image("I", ((data * 1.0 - cmin) * (high - low) / (cmax - cmin) + low).astype(np.uint32))
    raise ValueError(f"An array of two axes is no image of mode {mode}.")


def _image(mode: str, data: np.ndarray) -> Image:
    height, width = data.shape[:2]
    image: Image = _pillow().frombytes(mode, (width, height), data.tobytes())
    return image


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("scipy.misc works on images with Pillow; install it with: pip install pillow") from None
    return Image


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'scipy.misc' has no attribute {name!r}")
    value, now = standing(_NAMES[name])
    say(f"scipy.misc.{name}", now)
    return value
