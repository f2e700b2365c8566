"""Finding the objects in an image with a net in the form of SSD or of R-CNN."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..data.augmentation.resizing import resize
from ..data.boxes import best_first, clip, from_deltas, nms
from ..data.images.image import channels_first, import_cv2
from ..data.transform import DataTransformer
from ..errors import NetError, Where
from ..layers.common.detection_files import in_pixels
from ..logs.log import logger
from ..proto.caffe_pb2 import TEST, ResizeParameter, TransformationParameter
from ..pycaffe.net import Net

_COLUMNS = 7  # of a row of DetectionOutput: image, label, score, x1, y1, x2, y2
_REGIONS = {"cls_prob", "bbox_pred"}  # what R-CNN's nets put out, besides the regions
_SIDES = (600, 1000)  # of R-CNN's images: the shorter one, unless the longer one is above its limit


class Found(NamedTuple):
    """An object: its label, the score of that, and its box in pixels of the image."""

    label: int
    score: float
    box: tuple[float, float, float, float]  # x, y, width, height


class Preparation(NamedTuple):
    """What users say about how images are prepared; None leaves it to the net."""

    mean: Sequence[float] | None = None
    scale: float | None = None
    size: tuple[int, int] | None = None
    rgb: bool = False


class Finder(ABC):
    """Runs a net on one image after the other and makes a list of its outputs: the best first, scores above threshold.

    Images are prepared as the net's transform_param says, where a layer has one: resize_param, mean_value or mean_file,
    and scale. What is random in it, and crops, are left out.
    """

    def __init__(self, net: Net, given: Preparation, threshold: float) -> None:
        self.net, self.threshold, self.rgb = net, threshold, given.rgb
        self.input = _image_input(net)
        self.channels = net.blobs[self.input].shape[1]
        if self.channels not in (1, 3):
            raise NetError(f"the net takes images of {self.channels} channels", hint="only 1 and 3 are known")
        self.transform, where = _transform_of(net)
        values = _values(self.transform, given)
        if values.scale == 1 and not (values.mean_file or values.mean_value):
            logger.info("Neither transform_param nor options give a mean or a scale: the net gets values from 0 to 255")
        self.transformer = DataTransformer(values, TEST, where)

    @abstractmethod
    def __call__(self, image: np.ndarray) -> list[Found]:
        """Return the objects in an image (H, W, 3) of bytes, in the order B, G, R."""

    def fill(self, image: np.ndarray, how: ResizeParameter) -> tuple[int, int]:
        """Put the resized image into the net; return its height and width there."""
        if self.channels == 1:
            cv2 = import_cv2()
            image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        elif self.rgb:
            image = image[:, :, ::-1]
        resized = resize(how, channels_first(image), np.random.default_rng(0))
        _, height, width = self.transformer.shape(resized.shape)
        blob = self.net.blobs[self.input]
        blob.reshape(1, *resized.shape)
        blob.data[...] = self.transformer([resized], np.random.default_rng(0))
        if "im_info" in self.net.inputs:
            self.net.blobs["im_info"].reshape(1, 3)
            self.net.blobs["im_info"].data[...] = [height, width, height / len(image)]
        return height, width


class RowsFinder(Finder):
    """Takes the rows of a DetectionOutput layer, or of another one with a top (1, 1, n, 7) of the same form."""

    def __init__(self, net: Net, given: Preparation, threshold: float, output: str) -> None:
        super().__init__(net, given, threshold)
        self.output = output
        self.resize = ResizeParameter()
        self.resize.CopyFrom(self.transform.resize_param)
        del self.resize.interp_mode[1:]  # one of several would be drawn
        if given.size or not self.transform.HasField("resize_param"):
            self.resize.height, self.resize.width = given.size or net.blobs[self.input].shape[2:]

    def __call__(self, image: np.ndarray) -> list[Found]:
        self.fill(image, self.resize)
        rows = self.net.forward()[self.output].reshape(-1, _COLUMNS)
        rows = rows[best_first(np.where(rows[:, 1] == -1, -np.inf, rows[:, 2]), above=self.threshold)]
        boxes = in_pixels(rows[:, 3:], image.shape[0], image.shape[1], self.resize)
        boxes[:, 2:] -= boxes[:, :2]
        return _listed(rows[:, 1], rows[:, 2], boxes)


class RegionsFinder(Finder):
    """Takes the regions ``rois`` of R-CNN's nets, their classes ``cls_prob`` and the deltas of boxes ``bbox_pred``.

    Of the boxes of a class, one is dropped if its intersection over union with a better one is above ``overlap``.
    """

    def __init__(self, net: Net, given: Preparation, threshold: float, overlap: float) -> None:
        super().__init__(net, given, threshold)
        self.sides = given.size or _SIDES
        self.overlap = overlap

    def __call__(self, image: np.ndarray) -> list[Found]:
        height, width = image.shape[:2]
        factor = min(self.sides[0] / min(height, width), self.sides[1] / max(height, width))
        how = ResizeParameter(height=max(1, round(height * factor)), width=max(1, round(width * factor)))
        seen_height, seen_width = self.fill(image, how)
        outputs = self.net.forward(["rois"])
        if not len(outputs["rois"]):
            return []
        regions = outputs["rois"].reshape(len(outputs["rois"]), -1)[:, 1:5]
        scores = outputs["cls_prob"].reshape(len(regions), -1)
        deltas = self._deltas(outputs["bbox_pred"], scores)
        sides = np.array([width / seen_width, height / seen_height] * 2, np.float32)
        boxes = clip(from_deltas((regions * sides)[:, None], deltas), width - 1, height - 1)
        boxes = np.broadcast_to(boxes, (*scores.shape, 4))
        labels, best, kept = [], [], []
        for label in range(1, scores.shape[1]):
            index = best_first(scores[:, label], above=self.threshold)
            mine = boxes[index, label]
            stay = nms(mine, self.overlap, inclusive=True)
            labels.append(np.full(len(stay), label))
            best.append(scores[index[stay], label])
            kept.append(mine[stay])
        found = np.concatenate([np.empty((0, 4), np.float32), *kept])
        found[:, 2:] += 1 - found[:, :2]
        return _listed(np.concatenate([[], *labels]), np.concatenate([[], *best]), found)

    def _deltas(self, values: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Return the deltas (R, classes, 4), or (R, 1, 4) of nets that predict the same box for all classes."""
        regions, classes = scores.shape
        columns = values.size // max(1, regions)
        if columns not in (4 * classes, 8, 4) or values.size != regions * columns:
            raise NetError(
                f"bbox_pred has the shape {values.shape}, and cls_prob has {classes} classes for {regions} regions",
                hint=f"it needs four numbers for each class, or for background and object: ({regions}, {4 * classes})",
            )
        deltas = values.reshape(regions, columns // 4, 4)
        return deltas if columns == 4 * classes else deltas[:, -1:]


def finder_of(net: Net, given: Preparation, threshold: float, overlap: float) -> Finder:
    """Return the finder for what the net puts out; raise NetError if it is no detector."""
    rows = [name for name in net.outputs if _is_rows(net.blobs[name].shape)]
    if len(rows) == 1:
        return RowsFinder(net, given, threshold, rows[0])
    if set(net.outputs) >= _REGIONS and "rois" in net.blobs:
        return RegionsFinder(net, given, threshold, overlap)
    outputs = ", ".join(f"{name} {net.blobs[name].shape}" for name in net.outputs)
    raise NetError(
        f"the net puts out {outputs or 'nothing'}, which no detector does",
        hint="end it with a DetectionOutput layer, or with cls_prob and bbox_pred of the regions rois",
    )


def _is_rows(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and shape[:2] == (1, 1) and shape[3] == _COLUMNS


def _image_input(net: Net) -> str:
    """Return the net's input for images."""
    images = [name for name in net.inputs if len(net.blobs[name].shape) == 4]
    others = set(net.inputs) - {"im_info", *images}
    if len(images) == 1 and not others:
        return images[0]
    inputs = ", ".join(f"{name} {net.blobs[name].shape}" for name in net.inputs)
    raise NetError(
        f"the net has the inputs {inputs}" if inputs else "the net has no input",
        hint="give a deploy net that takes images, (N, C, H, W), and otherwise at most im_info; "
        "a net that has it as a stage needs --stage",
    )


def _transform_of(net: Net) -> tuple[TransformationParameter, Where | None]:
    """Return the transform_param of the net's first layer that has one, and the place of that layer."""
    for node in net.nodes:
        if node.layer.param.HasField("transform_param"):
            return node.layer.param.transform_param, node.layer.where
    return TransformationParameter(), None


def _values(transform: TransformationParameter, given: Preparation) -> TransformationParameter:
    """Return what is done with the values of a resized image."""
    values = TransformationParameter(scale=transform.scale if given.scale is None else given.scale)
    if given.mean is not None:
        values.mean_value.extend(given.mean)
    elif transform.mean_file:
        values.mean_file = transform.mean_file
    else:
        values.mean_value.extend(transform.mean_value)
    return values


def _listed(labels: np.ndarray, scores: np.ndarray, boxes: np.ndarray) -> list[Found]:
    """Return the objects, the best first."""
    order = np.argsort(-scores, kind="stable")
    return [
        Found(int(label), score, tuple(box))
        for label, score, box in zip(labels[order], scores[order].tolist(), boxes[order].tolist(), strict=True)
    ]
