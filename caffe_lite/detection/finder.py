"""Finding the objects in an image with a net in the form of SSD, of R-CNN or of Cascade R-CNN."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from ..data.boxes import best_first, clip, from_deltas, nms
from ..errors import NetError
from ..layers.common.detection_files import in_pixels
from ..media.preparation import ImageNet, Preparation
from ..proto.caffe_pb2 import ResizeParameter
from ..pycaffe.net import Net
from .given_regions import GivenRegions

_COLUMNS = 7  # of a row of DetectionOutput: image, label, score, x1, y1, x2, y2
_SIDES = (600, 1000)  # of R-CNN's images: the shorter one, unless the longer one is above its limit
_STEP = 32  # the sides of images for Cascade R-CNN's nets are multiples of it


class Found(NamedTuple):
    """An object: its label, the score of that, and its box in pixels of the image."""

    label: int
    score: float
    box: tuple[float, float, float, float]  # x, y, width, height


class Finder(ImageNet, ABC):
    """Runs a net on one image after the other; lists what it finds, the best first, with scores above threshold."""

    def __init__(self, net: Net, given: Preparation, threshold: float) -> None:
        super().__init__(net, given)
        self.threshold = threshold

    @abstractmethod
    def __call__(self, name: str, image: np.ndarray) -> list[Found]:
        """Return the objects in an image (H, W, 3) of bytes, in the order B, G, R."""


class RowsFinder(Finder):
    """Takes the rows of a DetectionOutput layer, or of another one with a top (1, 1, n, 7) of the same form."""

    def __init__(self, net: Net, given: Preparation, threshold: float, output: str) -> None:
        super().__init__(net, given, threshold)
        self.output = output
        self.resize = self.usual_resize(given.size)

    def __call__(self, name: str, image: np.ndarray) -> list[Found]:
        self.fill(image, self.resize)
        rows = self.net.forward()[self.output].reshape(-1, _COLUMNS)
        rows = rows[best_first(np.where(rows[:, 1] == -1, -np.inf, rows[:, 2]), above=self.threshold)]
        boxes = in_pixels(rows[:, 3:], image.shape[0], image.shape[1], self.resize)
        boxes[:, 2:] -= boxes[:, :2]
        return _listed(rows[:, 1], rows[:, 2], boxes)


class ClassesFinder(Finder):
    """Base of the finders for nets that put out many boxes and, for each, the probabilities of all classes.

    Of the boxes of a class, one is dropped if its intersection over union with a better one is above ``overlap``.
    """

    def __init__(self, net: Net, given: Preparation, threshold: float, overlap: float) -> None:
        super().__init__(net, given, threshold)
        resize_param = self.transform.resize_param if self.transform.HasField("resize_param") else None
        self.sides = given.size or ((resize_param.height, resize_param.width) if resize_param else self.usual_sides())
        self.overlap = overlap

    def usual_sides(self) -> tuple[int, int]:
        """Return the shorter and the longer side of images, if neither users nor the net give any."""
        return _SIDES

    def seen_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width with which the net sees an image."""
        factor = min(self.sides[0] / min(height, width), self.sides[1] / max(height, width))
        return max(1, round(height * factor)), max(1, round(width * factor))

    @abstractmethod
    def candidates(self, name: str, sides: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run the net; return probabilities (R, K) and, in pixels of the image, boxes (R, K, 4) or (R, 1, 4).

        ``sides`` is what to multiply the corners of a box in the net with, (4,), for pixels of the image.
        """

    def __call__(self, name: str, image: np.ndarray) -> list[Found]:
        height, width = image.shape[:2]
        seen_height, seen_width = self.seen_size(height, width)
        seen_height, seen_width = self.fill(image, ResizeParameter(height=seen_height, width=seen_width))
        scores, boxes = self.candidates(name, np.array([width / seen_width, height / seen_height] * 2, np.float32))
        boxes = np.broadcast_to(clip(boxes, width - 1, height - 1), (*scores.shape, 4))
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


class RegionsFinder(ClassesFinder):
    """Takes the regions ``rois`` of R-CNN's nets, their classes ``cls_prob`` and the deltas of boxes ``bbox_pred``.

    Nets without ``bbox_pred`` leave the regions as they are. Nets with an input ``rois`` look at the given regions.
    """

    def __init__(
        self, net: Net, given: Preparation, threshold: float, overlap: float, regions: GivenRegions | None
    ) -> None:
        super().__init__(net, given, threshold, overlap)
        self.given = regions

    def candidates(self, name: str, sides: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.given is not None:
            corners = self.given.of(name)
            self.net.blobs["rois"].reshape(len(corners), 5)
            self.net.blobs["rois"].data[...] = np.insert(corners / sides, 0, 0, 1)
        outputs = self.net.forward(["rois"])
        count = len(outputs["rois"])
        if not count:
            return np.empty((0, 1), np.float32), np.empty((0, 1, 4), np.float32)
        regions = outputs["rois"].reshape(count, -1)[:, None, 1:5] * sides
        scores = outputs["cls_prob"].reshape(count, -1)
        if "bbox_pred" not in outputs:
            return scores, regions
        return scores, from_deltas(regions, self._deltas(outputs["bbox_pred"], scores))

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


class CascadeFinder(ClassesFinder):
    """Takes the boxes ``output_bbox_3rd`` of Cascade R-CNN's last stage, and their classes ``cls_prob_3rd_avg``.

    The probabilities are those averaged over stages, or those of the last stage, as ``cls_prob_1st``, if there is only
    one. Images become as large as the net's input, in steps of 32 pixels.
    """

    def __init__(self, net: Net, given: Preparation, threshold: float, overlap: float, stage: str) -> None:
        super().__init__(net, given, threshold, overlap)
        self.boxes, average = f"output_bbox_{stage}", f"cls_prob_{stage}_avg"
        self.scores = average if average in net.outputs else f"cls_prob_{stage}"

    def usual_sides(self) -> tuple[int, int]:
        height, width = self.net.blobs[self.input].shape[2:]
        return min(height, width), max(height, width)

    def seen_size(self, height: int, width: int) -> tuple[int, int]:
        factor = self.sides[0] / min(height, width)
        steps = [max(1, round(min(side * factor, self.sides[1]) / _STEP)) for side in (height, width)]
        return steps[0] * _STEP, steps[1] * _STEP

    def candidates(self, name: str, sides: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        outputs = self.net.forward()
        boxes = outputs[self.boxes].reshape(-1, 5)[:, None, 1:] * sides
        return outputs[self.scores].reshape(len(boxes), outputs[self.scores].shape[1]), boxes


def finder_of(
    net: Net, given: Preparation, threshold: float, overlap: float, regions: GivenRegions | None = None
) -> Finder:
    """Return the finder for what the net puts out; raise NetError if it is no detector."""
    if "rois" in net.inputs and regions is None:
        raise NetError("the net has an input rois, for regions that another program finds", hint="give --regions")
    if regions is not None and "rois" not in net.inputs:
        raise NetError("--regions is given, and the net has no input rois", hint="leave it out")
    rows = [name for name in net.outputs if _is_rows(net.blobs[name].shape)]
    if len(rows) == 1:
        return RowsFinder(net, given, threshold, rows[0])
    stages = [name.removeprefix("output_bbox_") for name in net.outputs if name.startswith("output_bbox_")]
    if stages and f"cls_prob_{max(stages)}" in net.blobs:
        return CascadeFinder(net, given, threshold, overlap, max(stages))
    moved = "bbox_pred" in net.outputs or "bbox_pred" not in net.blobs  # else a later stage moves the regions
    if moved and "cls_prob" in net.outputs and "rois" in net.blobs:
        return RegionsFinder(net, given, threshold, overlap, regions)
    outputs = ", ".join(f"{name} {net.blobs[name].shape}" for name in net.outputs)
    hint = (
        "end it with a DetectionOutput layer (for YOLO's maps, Yolov3DetectionOutput), "
        "or with cls_prob and bbox_pred of the regions rois"
    )
    if "rois" in net.outputs:
        hint = "it proposes regions, and does not say what they are: give the whole detector"
    raise NetError(f"the net puts out {outputs or 'nothing'}, which no detector does", hint=hint)


def _is_rows(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and shape[:2] == (1, 1) and shape[3] == _COLUMNS


def _listed(labels: np.ndarray, scores: np.ndarray, boxes: np.ndarray) -> list[Found]:
    """Return the objects, the best first."""
    order = np.argsort(-scores, kind="stable")
    return [
        Found(int(label), score, tuple(box))
        for label, score, box in zip(labels[order], scores[order].tolist(), boxes[order].tolist(), strict=True)
    ]
