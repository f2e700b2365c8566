"""pycaffe's Detector: a net that scores windows of images (R-CNN)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from .classifier import ImageNet
from .errors import DataError, EngineError, NetError
from .pycaffe.images import load_image, resize_image

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .proto.caffe_pb2 import NetParameter


class Detector(ImageNet):
    """A net that scores windows of images.

    Args:
        model_file, pretrained_file: the prototxt and its weights.
        mean, input_scale, raw_scale, channel_swap: see ``caffe_lite.io.Transformer``.
        context_pad: number of the net's input pixels around a window that show its surroundings (R-CNN: 16).
    """

    def __init__(
        self,
        model_file: str | os.PathLike[str] | NetParameter,
        pretrained_file: str | os.PathLike[str] | None = None,
        mean: ArrayLike | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        context_pad: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model_file, pretrained_file, mean, input_scale, raw_scale, channel_swap, **options)
        self.configure_crop(context_pad)

    def detect_windows(
        self, images_windows: Iterable[tuple[str | os.PathLike[str], Iterable[Sequence[int]]]]
    ) -> list[dict[str, Any]]:
        """Run the net on windows (ymin, xmin, ymax, xmax), given as pairs of an image's file and its windows.

        Return a dict for each window, with ``window``, ``prediction`` and ``filename``.
        """
        found: list[dict[str, Any]] = []
        crops: list[np.ndarray] = []
        for filename, windows in images_windows:
            image = load_image(filename)
            for window in windows:
                crops.append(self.crop(image, window))
                found.append({"window": window, "prediction": None, "filename": filename})
        if found:
            for detection, prediction in zip(found, self.predictions(crops), strict=True):
                detection["prediction"] = prediction
        return found

    def detect_selective_search(self, image_fnames: Iterable[str | os.PathLike[str]]) -> NoReturn:
        """Raise EngineError: Selective Search needs MATLAB code that is neither part of Caffe nor included here."""
        raise EngineError(
            "selective search is a MATLAB program that Caffe called, and there is no such program here",
            hint="find windows by other means and give them to detect_windows",
        )

    def crop(self, im: np.ndarray, window: Sequence[int]) -> np.ndarray:
        """Return a window (ymin, xmin, ymax, xmax) of an image, with its surroundings if ``context_pad`` is set.

        In that case it has the net's input size, and the mean fills it beyond the image's borders.
        """
        top, left, bottom, right = (int(edge) for edge in np.asarray(window).tolist())
        if not (0 <= top < bottom and 0 <= left < right and top < im.shape[0] and left < im.shape[1]):
            raise DataError(
                f"there is no window {(top, left, bottom, right)} in an image of {im.shape[0]} x {im.shape[1]}",
                hint="a window is (ymin, xmin, ymax, xmax)",
            )
        if not self.context_pad:
            return im[top:bottom, left:right]
        size = self.crop_dims[1]
        scale = size / (size - 2 * self.context_pad)
        (first_row, last_row), (first_column, last_column) = _grown(top, bottom, scale), _grown(left, right, scale)
        rows = _Extent(first_row, last_row, im.shape[0], size)
        columns = _Extent(first_column, last_column, im.shape[1], size)
        context = im[rows.first : rows.last, columns.first : columns.last]
        crop = np.ones(self.crop_dims, np.float32) * self.crop_mean
        if rows.size and columns.size and context.size:
            crop[rows.pad : rows.pad + rows.size, columns.pad : columns.pad + columns.size] = resize_image(
                context, (rows.size, columns.size)
            )
        return crop

    def configure_crop(self, context_pad: int | None) -> None:
        """Set how much of its surroundings a window shows, and the mean that fills it."""
        transformer, name = self.transformer, self.input_name
        back = np.argsort(transformer.transpose[name])
        self.crop_dims = np.array(self.blobs[name].shape[1:])[back]
        self.context_pad = context_pad
        if not context_pad:
            return
        if not 0 < 2 * context_pad < min(self.crop_dims[:2]):
            raise NetError(
                f"context_pad {context_pad} leaves nothing of {self.crop_dims[0]} x {self.crop_dims[1]} pixels",
                hint="give less than half of what the net takes",
            )
        self.crop_mean = np.zeros(self.crop_dims, np.float32)
        mean = transformer.mean.get(name)
        if mean is not None:
            # The mean fills crops before the transformer sees them: undo the transformer's steps on it.
            self.crop_mean = np.broadcast_to(mean, self.blobs[name].shape[1:]).astype(np.float32)
            if name in transformer.channel_swap:
                self.crop_mean = self.crop_mean[np.argsort(transformer.channel_swap[name])]
            self.crop_mean = self.crop_mean.transpose(back) / np.float32(transformer.raw_scale.get(name, 1))


def _grown(first: int, last: int, scale: float) -> tuple[float, float]:
    half = (last - first + 1) / 2
    return float(np.round(first + half - scale * half)), float(np.round(first + half + scale * half))


class _Extent:
    """One axis of a window with its surroundings: the part inside the image, and its place in the crop."""

    def __init__(self, first: float, last: float, length: int, size: int) -> None:
        scale = size / (last - first + 1)
        self.pad = min(round(max(0, -first) * scale), size)
        self.first, self.last = (int(np.clip(edge, 0, length)) for edge in (first, last))
        self.size = min(round((self.last - self.first + 1) * scale), size - self.pad)
