"""Model and its kin: a net together with how images get into it, and what its outputs mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..errors import NetError
from .blobs import blobFromImage
from .errors import also_cv2_error
from .net import Net
from .reading import readNet

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

M = TypeVar("M", bound="Model")


class Model:
    """A net whose inputs are images: ``Model(caffemodel, prototxt)``, in either order, or ``Model(net)``.

    Images (H, W, C) are resized to the input's size, which is the prototxt's unless another one is set; from them
    ``mean`` is subtracted, and they are multiplied by ``scale``. Every ``set...`` but setInputParams returns the model.
    """

    def __init__(self, model: Any, config: Any = "") -> None:
        self._net = model if isinstance(model, Net) else readNet(model, config)
        self._size = self._net._image_size()
        self._mean: ArrayLike = ()
        self._scale: ArrayLike = 1.0
        self._swap = self._crop = False
        self._outputs = self._net.getUnconnectedOutLayersNames()

    def setInputSize(self: M, size: Sequence[int] | int, height: int | None = None) -> M:
        """Set the size as (width, height), or as two numbers."""
        width, height = (size, height) if isinstance(size, int) else size
        self._size = int(width), int(height or 0)
        return self

    def setInputMean(self: M, mean: ArrayLike) -> M:
        """Set the number to subtract from each channel, in the order of the blob's channels."""
        self._mean = mean
        return self

    def setInputScale(self: M, scale: ArrayLike) -> M:
        """Set the factor for all channels, or for each."""
        self._scale = scale
        return self

    def setInputCrop(self: M, crop: bool) -> M:
        """Choose whether images keep their shape, and their middle is cut out."""
        self._crop = crop
        return self

    def setInputSwapRB(self: M, swapRB: bool) -> M:
        """Choose whether the first channel and the third are exchanged."""
        self._swap = swapRB
        return self

    def setInputParams(
        self,
        scale: float = 1.0,
        size: Sequence[int] = (0, 0),
        mean: ArrayLike = (),
        swapRB: bool = False,
        crop: bool = False,
    ) -> None:
        """Set everything at once."""
        self.setInputScale(scale).setInputSize(size).setInputMean(mean).setInputSwapRB(swapRB).setInputCrop(crop)

    def setPreferableBackend(self: M, backendId: int) -> M:
        """Accept OpenCV's choice of a library, which has no effect."""
        self._net.setPreferableBackend(backendId)
        return self

    def setPreferableTarget(self: M, targetId: int) -> M:
        """Accept OpenCV's choice of a device, which has no effect."""
        self._net.setPreferableTarget(targetId)
        return self

    def enableWinograd(self: M, useWinograd: bool) -> M:
        """Accept OpenCV's switch, which has no effect."""
        return self

    @also_cv2_error()
    def predict(self, frame: np.ndarray, outs: Any = None) -> tuple[np.ndarray, ...]:
        """Run the net on an image; return the outputs of the layers that no other layer reads."""
        if not all(self._size):
            raise NetError("the size of the input is not known", hint="model.setInputSize((width, height))")
        scales = np.atleast_1d(np.asarray(self._scale, np.float32)).ravel()
        one = len(scales) == 1 or not scales[1:].any()
        blob = blobFromImage(frame, float(scales[0]) if one else 1.0, self._size, self._mean, self._swap, self._crop)
        if not one:
            blob *= np.concatenate([scales, np.zeros(4, np.float32)])[: blob.shape[1], None, None]
        self._net.setInput(blob)
        if self._has_im_info:
            width, height = self._size
            self._net.setInput(np.array([[height, width, 1.6]], np.float32), "im_info")
        outputs: tuple[np.ndarray, ...] = self._net.forward(self._outputs)
        return outputs

    @property
    def _has_im_info(self) -> bool:
        return self._net.getLayer(0).outputNameToIndex("im_info") >= 0

    def _only_output(self, frame: np.ndarray) -> np.ndarray:
        outputs = self.predict(frame)
        if len(outputs) != 1:
            raise NetError(f"the net has {len(outputs)} outputs, not one", hint=f"they are {', '.join(self._outputs)}")
        return outputs[0]


class ClassificationModel(Model):
    """A net that gives each class a score."""

    _softmax = False

    def setEnableSoftmaxPostProcessing(self, enable: bool) -> ClassificationModel:
        """Choose whether a softmax makes probabilities of the scores."""
        self._softmax = enable
        return self

    def getEnableSoftmaxPostProcessing(self) -> bool:
        """Return whether a softmax makes probabilities of the scores."""
        return self._softmax

    @also_cv2_error()
    def classify(self, frame: np.ndarray) -> tuple[int, float]:
        """Return the class of an image, and its score."""
        scores = self._only_output(frame).ravel()
        if self._softmax:
            scores = np.exp(scores - scores.max())
            scores /= scores.sum()
        best = int(scores.argmax())
        return best, float(scores[best])


class SegmentationModel(Model):
    """A net that gives each pixel a score for each class."""

    @also_cv2_error()
    def segment(self, frame: np.ndarray, mask: Any = None) -> np.ndarray:
        """Return the class of each pixel of the net's output, (H, W), as uint8."""
        return self._only_output(frame)[0].argmax(0).astype(np.uint8)


class KeypointsModel(Model):
    """A net that finds points: a map for each (the last is of the background), or their coordinates."""

    @also_cv2_error()
    def estimate(self, frame: np.ndarray, thresh: float = 0.5) -> np.ndarray:
        """Return the points (K, 2), x and y in the image; (-1, -1) for those whose score is not above ``thresh``."""
        output = self._only_output(frame)
        if output.ndim != 4:
            return output[0, :, :2].copy()
        maps = output[0, :-1]
        count, height, width = maps.shape
        rows = maps.reshape(count, -1)
        y, x = np.divmod(rows.argmax(1), width)
        sizes = np.array([frame.shape[1], frame.shape[0]], np.float32) / np.array([width, height], np.float32)
        points = np.stack([x, y], 1).astype(np.float32) * sizes
        points[rows.max(1) <= thresh] = -1
        return points


class DetectionModel(Model):
    """A net that ends with DetectionOutput."""

    _across_classes = False

    def setNmsAcrossClasses(self, value: bool) -> DetectionModel:
        """Accept OpenCV's choice for nets of Darknet, which has no effect here: DetectionOutput has its own."""
        self._across_classes = value
        return self

    def getNmsAcrossClasses(self) -> bool:
        """Return what was set."""
        return self._across_classes

    @also_cv2_error()
    def detect(self, frame: np.ndarray, confThreshold: float = 0.5, nmsThreshold: float = 0.0) -> tuple[Any, Any, Any]:
        """Return the classes, as int32, the scores, and the boxes (K, 4): x, y, width and height in pixels, as int32.

        Without any detection these are empty tuples. ``nmsThreshold`` has no effect, because the net's layer has one.
        """
        outputs = self.predict(frame)
        last = self._net.getLayer(len(self._net.getLayerNames()))
        if last.type != "DetectionOutput":
            raise NetError(
                f"the last layer is {last.name!r}, a {last.type}",
                hint="only what DetectionOutput finds is known: use Model.predict",
            )
        rows = np.concatenate([output.reshape(-1, 7) for output in outputs])
        rows = rows[rows[:, 2] >= np.float32(confThreshold)]
        if not len(rows):
            return (), (), ()
        width, height = self._size if self._has_im_info else (frame.shape[1], frame.shape[0])
        return rows[:, 1].astype(np.int32), rows[:, 2].copy(), _boxes(rows[:, 3:7], width, height)


def _boxes(corners: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return boxes within an image, from corners in pixels or, if these lie too near, in fractions of its sides."""
    pixels = corners.astype(np.int32)
    small = ((pixels[:, 2:] - pixels[:, :2] + 1) <= 2).any(1)
    pixels[small] = (corners[small] * np.array([width, height] * 2, np.float32)).astype(np.int32)
    sizes = pixels[:, 2:] - pixels[:, :2] + 1
    frame = np.array([width, height], np.int32)
    begin = np.clip(pixels[:, :2], 0, frame - 1)
    return np.concatenate([begin, np.maximum(1, np.minimum(sizes, frame - begin))], 1)
