"""Images in pycaffe's form, (H, W, C) from 0 to 1, and their way into a net and back."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from ..data.images.image import decode_image
from ..errors import ArrayError, DataError, MissingExtra, NetError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_URL = re.compile(r"(file|https?|ftp)://", re.IGNORECASE)
_LUMINANCE = np.array([0.2125, 0.7154, 0.0721])


class ImageError(DataError, OSError):
    """An image cannot be read. This is an OSError in pycaffe."""


def load_image(filename: str | os.PathLike[str] | IO[bytes], color: bool = True) -> np.ndarray:
    """Load an image as float32 from 0 to 1: (H, W, 3) in the order R, G, B, or (H, W, 1) with ``color=False``.

    ``filename`` is a path, a URL (``file://``, ``http://``, ``https://``, ``ftp://``), or a file that is open for
    reading bytes. Grey is copied to all three channels, colour becomes grey with the weights of Rec. 709, and
    transparency is dropped.
    """
    name = getattr(filename, "name", None) or type(filename).__name__ if hasattr(filename, "read") else filename
    try:
        image = decode_image(_bytes_of(filename))
    except (OSError, TypeError, ValueError) as error:  # a ValueError for characters that no path can have
        what = getattr(error, "strerror", None) or getattr(error, "reason", None) or error
        raise ImageError(f"the image {_shown(name)} cannot be read: {what}") from error
    except DataError as error:
        raise ImageError(f"the image {_shown(name)} cannot be read: {error.what}", hint=error.hint) from error
    if image.dtype.kind in "iu":
        image = image / np.iinfo(image.dtype).max
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3 if color else 1, axis=2)
    else:
        image = image[:, :, 2::-1]
        if not color:
            image = image @ _LUMINANCE[:, None]
    return image.astype(np.float32)


def _bytes_of(file: str | os.PathLike[str] | IO[bytes]) -> bytes:
    if hasattr(file, "read"):
        data = file.read()
        if not isinstance(data, bytes):
            raise TypeError(f"its read() gives {type(data).__name__}, not bytes")
        return data
    if isinstance(file, str) and _URL.match(file):
        from urllib.request import urlopen

        with urlopen(file) as answer:
            return answer.read()
    return Path(file).read_bytes()


def _shown(name: object) -> str:
    return repr(os.fspath(name) if isinstance(name, os.PathLike) else name)


def resize(
    image: ArrayLike,
    output_shape: Sequence[int],
    order: int = 1,
    mode: str = "constant",
    cval: float = 0.0,
    clip: bool = True,
    preserve_range: bool = False,
    **options: Any,
) -> np.ndarray:
    """Resize an image (H, W) or (H, W, C) to (height, width), like the scikit-image of pycaffe's time.

    The result is float64; integers are scaled to the range from 0 to 1 unless ``preserve_range`` is true. Shrinking an
    image does not smooth it; values outside the image are ``cval``. Orders above 1, other modes and other options are
    left to the installed scikit-image.
    """
    image = np.asarray(image)
    if order not in (0, 1) or mode != "constant" or options or image.ndim not in (2, 3) or not image.size:
        given = {"order": order, "mode": mode, "cval": cval, "clip": clip, "preserve_range": preserve_range}
        return import_skimage().transform.resize(image, output_shape, **given, **options)
    if (
        len(output_shape) not in (2, image.ndim)
        or min(output_shape) < 1
        or tuple(output_shape[2:])
        not in (
            (),
            image.shape[2:],
        )
    ):
        raise ArrayError(
            f"an image of shape {image.shape} cannot be resized to {tuple(output_shape)}", hint="give (height, width)"
        )
    values = image.astype(np.float64)
    if image.dtype.kind in "iu" and not preserve_range:
        values = values / np.iinfo(image.dtype).max
    resized = values - cval
    for axis, size in enumerate(output_shape[:2]):
        resized = _resample(resized, axis, int(size), order, areas=True)
    resized = resized + cval
    # Values mixed from inside and outside are clipped to the image's range; those entirely from outside are not.
    return np.where(resized == cval, cval, np.clip(resized, values.min(), values.max())) if clip else resized


def import_skimage() -> Any:
    """Import scikit-image, with the modules that scripts use through ``caffe.io.skimage``."""
    try:
        import skimage
        import skimage.io
        import skimage.transform
    except ImportError:
        raise MissingExtra("scikit-image", "images", "work on images with its functions") from None
    return skimage


def import_zoom() -> Any:
    """Import SciPy's ``zoom``, which pycaffe has in ``caffe.io``."""
    try:
        from scipy.ndimage import zoom
    except ImportError:
        raise MissingExtra("scipy", "images", "zoom arrays") from None
    return zoom


def resize_image(im: ArrayLike, new_dims: Sequence[int], interp_order: int = 1) -> np.ndarray:
    """Resize an image (H, W, C) to (height, width), as float32.

    The result is the same as pycaffe's with the scikit-image of its time. In images of 1 or 3 channels, pixels are
    areas, whose centres are mapped; values outside the image are that of the darkest pixel. In others, the corner
    pixels are mapped onto each other. Shrinking an image does not smooth it (scikit-image has done so since 0.15,
    unless anti_aliasing=False). ``interp_order`` is 1 (bilinear) or 0 (nearest pixel); orders up to 5 are left to the
    installed scikit-image.
    """
    im = np.asarray(im)
    if im.ndim != 3 or not im.size:
        raise ArrayError(f"an image is of shape (H, W, C), not {im.shape}")
    if len(new_dims) != 2 or min(new_dims) < 1:
        raise DataError(
            f"an image cannot be resized to {tuple(new_dims)}", hint="give (height, width), at least 1 each"
        )
    if interp_order not in range(6):
        raise DataError(f"there is no interpolation of order {interp_order}", hint="use 1, bilinear, or 0, nearest")
    areas = im.shape[-1] in (1, 3)
    if interp_order > 1:
        return _resized_by_splines(im.astype(np.float64), new_dims, interp_order, areas).astype(np.float32)
    darkest = im.min() if areas else 0.0
    resized = im.astype(np.float64) - darkest
    for axis, size in enumerate(new_dims):
        resized = _resample(resized, axis, int(size), interp_order, areas)
    return (resized + darkest).astype(np.float32)


def _resized_by_splines(im: np.ndarray, new_dims: Sequence[int], order: int, areas: bool) -> np.ndarray:
    if not areas:
        return import_zoom()(im, (*(new / old for new, old in zip(new_dims, im.shape, strict=False)), 1), order=order)
    least, span = im.min(), np.ptp(im)
    options = {"mode": "constant", "anti_aliasing": False}
    shape = (*new_dims, im.shape[-1])
    return import_skimage().transform.resize((im - least) / (span or 1), shape, order, **options) * span + least


def _resample(im: np.ndarray, axis: int, size: int, order: int, areas: bool) -> np.ndarray:
    old = im.shape[axis]
    at = (np.arange(size) + 0.5) * (old / size) - 0.5 if areas else np.linspace(0, old - 1 if size > 1 else 0, size)
    if order == 0:
        return im.take(np.clip(np.floor(at + 0.5).astype(int), 0, old - 1), axis)
    low = np.floor(at).astype(int)
    share = at - low
    column = (-1,) + (1,) * (im.ndim - 1 - axis)
    result = 0.0
    for index, weight in ((low, 1 - share), (low + 1, share)):
        inside = (index >= 0) & (index < old)
        result = result + im.take(np.clip(index, 0, old - 1), axis) * (weight * inside).reshape(column)
    return np.asarray(result)


class NoImages(NetError, DataError, IndexError):
    """The list of images is empty. This is an IndexError in pycaffe."""


def oversample(images: Sequence[Any], crop_dims: Sequence[int]) -> np.ndarray:
    """Cut ten crops from each image: four corners, the centre, and these five mirrored; (10 N, height, width, C)."""
    images = [np.asarray(image) for image in images]
    if not images:
        raise NoImages("there are no images to crop")
    (rows, columns), (height, width) = images[0].shape[:2], (int(size) for size in crop_dims)
    for image in images:
        if image.shape != images[0].shape or image.ndim != 3 or height > rows or width > columns:
            raise ArrayError(f"a crop of {height} x {width} cannot be cut from an image of shape {image.shape}")
    corners = [(top, left) for top in (0, rows - height) for left in (0, columns - width)]
    places = [*corners, ((rows - height) // 2, (columns - width) // 2)]
    crops = [image[top : top + height, left : left + width] for image in images for top, left in places]
    stacked = np.stack(crops).astype(np.float32).reshape(len(images), 5, height, width, -1)
    return np.concatenate([stacked, stacked[:, :, :, ::-1]], axis=1).reshape(-1, *stacked.shape[2:])


class TransformerError(ArrayError):
    """A setting of a Transformer does not fit the net's input."""


class Transformer:
    """Prepares images for a net's inputs: resize, transpose, swap channels, scale, subtract the mean, scale.

    ``inputs`` has the shape of each input by name: ``Transformer({"data": net.blobs["data"].data.shape})``. The steps
    that are set for an input happen in this order, whatever the order of the calls.
    """

    def __init__(self, inputs: Mapping[str, Sequence[int]]) -> None:
        self.inputs = {name: tuple(shape) for name, shape in inputs.items()}
        self.transpose: dict[str, Sequence[int]] = {}
        self.channel_swap: dict[str, Sequence[int]] = {}
        self.raw_scale: dict[str, float] = {}
        self.mean: dict[str, np.ndarray] = {}
        self.input_scale: dict[str, float] = {}

    def preprocess(self, in_: str, data: ArrayLike) -> np.ndarray:
        """Turn an image (H, W, C) into the net's input; ``data`` is not changed (pycaffe may write into it)."""
        rows_and_columns = self._shape(in_)[2:]
        data = np.asarray(data, np.float32)
        if data.shape[:2] != rows_and_columns:
            data = resize_image(data, rows_and_columns)
        if in_ in self.transpose:
            data = self._transposed(data, self.transpose[in_])
        if in_ in self.channel_swap:
            data = self._swapped(data, self.channel_swap[in_])
        if in_ in self.raw_scale:
            data = data * np.float32(self.raw_scale[in_])
        if in_ in self.mean:
            data = self._with_mean(np.subtract, data, in_)
        if in_ in self.input_scale:
            data = data * np.float32(self.input_scale[in_])
        return data

    def deprocess(self, in_: str, data: ArrayLike) -> np.ndarray:
        """Turn the net's input of one item back into an image, without the resizing.

        Axes of size 1 are removed, but a transpose or channel swap keeps the axes that it works on (where pycaffe
        fails).
        """
        self._shape(in_)
        data = np.array(data, np.float32)
        kept = 3 if in_ in self.channel_swap or in_ in self.transpose else 0
        data = data.reshape(data.shape[-kept:]) if kept and data.size == np.prod(data.shape[-kept:]) else data.squeeze()
        if in_ in self.input_scale:
            data = data / np.float32(self.input_scale[in_])
        if in_ in self.mean:
            data = self._with_mean(np.add, data, in_)
        if in_ in self.raw_scale:
            data = data / np.float32(self.raw_scale[in_])
        if in_ in self.channel_swap:
            data = self._swapped(data, np.argsort(self.channel_swap[in_]).tolist())
        if in_ in self.transpose:
            data = self._transposed(data, np.argsort(self.transpose[in_]).tolist())
        return data

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """Set the order of the image's axes in the input: (2, 0, 1) turns (H, W, C) into (C, H, W)."""
        axes = len(self._shape(in_)) - 1
        if sorted(order) != list(range(axes)):
            raise TransformerError(
                f"Transpose order {tuple(order)} needs to have the same number of dimensions as the input {in_!r}",
                hint=f"give each of 0 to {axes - 1} once",
            )
        self.transpose[in_] = tuple(order)

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """Set the order of the image's channels in the input: (2, 1, 0) turns R, G, B into B, G, R."""
        channels = self._shape(in_)[1]
        if sorted(order) != list(range(channels)):
            raise TransformerError(
                f"Channel swap {tuple(order)} needs to have the same number of dimensions as the input {in_!r} "
                f"has channels: {channels}",
                hint=f"give each of 0 to {channels - 1} once",
            )
        self.channel_swap[in_] = tuple(order)

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """Set the factor for images before the mean is subtracted: 255 for nets trained on values up to 255."""
        self._shape(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: ArrayLike) -> None:
        """Set the mean to subtract, in the order and scale of the input: (C), (H, W), or (C, H, W) of any size."""
        shape = self._shape(in_)
        mean = np.asarray(mean)
        if mean.ndim == 1:
            if len(mean) != shape[1]:
                raise TransformerError(
                    f"Mean channels incompatible with input {in_!r}: {len(mean)} for {shape[1]} channels"
                )
            self.mean[in_] = mean[:, None, None]
            return
        if mean.ndim == 2:
            mean = mean[None]
        if mean.ndim != 3 or mean.shape[0] not in (1, shape[1]):
            raise TransformerError(
                f"Mean shape invalid: {mean.shape} for the input {in_!r} of shape {shape}",
                hint="give (C), (H, W) or (C, H, W); of a .binaryproto that holds (1, C, H, W), take [0]",
            )
        if mean.shape[1:] != shape[2:]:
            mean = resize_image(mean.transpose(1, 2, 0), shape[2:]).transpose(2, 0, 1)
        self.mean[in_] = mean

    def set_input_scale(self, in_: str, scale: float) -> None:
        """Set the factor for images after the mean is subtracted."""
        self._shape(in_)
        self.input_scale[in_] = scale

    def _shape(self, in_: str) -> tuple[int, ...]:
        if in_ not in self.inputs:
            raise TransformerError(f"{in_} is not one of the net inputs: {', '.join(self.inputs)}")
        return self.inputs[in_]

    def _transposed(self, data: np.ndarray, order: Sequence[int]) -> np.ndarray:
        if data.ndim != len(order):
            raise TransformerError(f"an image of shape {data.shape} cannot be transposed by {tuple(order)}")
        return data.transpose(order)

    def _swapped(self, data: np.ndarray, order: Sequence[int]) -> np.ndarray:
        if data.ndim != 3 or len(data) != len(order):
            raise TransformerError(f"an image of shape {data.shape} has not the channels to swap: {tuple(order)}")
        return data[list(order)]

    def _with_mean(self, combine: np.ufunc, data: np.ndarray, in_: str) -> np.ndarray:
        mean = self.mean[in_].astype(np.float32)
        try:
            return np.asarray(combine(data, mean))
        except ValueError:
            raise TransformerError(
                f"an image of shape {data.shape} does not fit the mean of shape {mean.shape}",
                hint="is a set_transpose missing?",
            ) from None
