"""EvalDetection: which boxes of a net of YOLO version 2 are right, for its mean average precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..data.boxes import corners, overlaps
from ..layer import Kind, register_layer
from ..proto.caffe_pb2 import EvalDetectionParameter
from .common.rows import ListsLayer
from .common.yolo import Truth, Version2, anchors_of, check_maps, check_truth, distinct, read_truth

P = EvalDetectionParameter
_LEAST = 0.005  # boxes with smaller scores are left out once duplicates are


@register_layer("EvalDetection")
class EvalDetectionLayer(ListsLayer):
    """Compares the boxes that a map predicts with the true ones of the same image and class, the best scores first.

    Boxes are decoded as YoloDetectionOutput does; a box has the class with the largest softmax. Its score is the
    sigmoid of the objectness, OBJ, that softmax, PROB, or their product, MULTIPLY. One is dropped if its intersection
    over union with a better kept one, of any class, is nms or more; then those with scores below 0.005. A box is right
    if the true box that it overlaps most, by threshold or more, is not taken by a better one, and wrong if it is taken,
    or there is no true box of its class; one that overlaps less is neither, as in the original.
    Bottoms: the map, (N, A (5 + C), H, W) for A anchors and C classes; the true boxes, (1, 1, M, 8), as from
    AnnotatedData, whose classes count from 1; any others, which are not read. Top: (N, C + 4 A H W): for each class the
    number of true boxes; then for each box, by class and score, class from 0 on, score, 1 if it is right, 1 if it is
    wrong; then zeros. There is no gradient.
    Reads ``eval_detection_param``: num_class (20), num_object (2), A; biases, the width and height of each anchor in
    places of the map; threshold (0.5), nms (-1: no box is dropped), score_type (MULTIPLY). side, sqrt and constriant
    change nothing.
    Source: Redmon and Farhadi 2017 (YOLO9000); eval_detection_layer.cpp of Intel's Caffe. Differences: with nms below 0
    all boxes are compared (the original then has none); num_object may be any number (the original always reads 5
    anchors); maps may have any size (the original reads outside the blob where they are not of side x side).
    """

    kind = Kind.LOSS
    formula = r"\text{right}_b = [\, \operatorname{IoU}(b, t_b) \ge u, \ t_b \text{ not taken} \,]"
    bottoms = (2, None)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.p = p = self.param.eval_detection_param
        if not p.num_object or not p.num_class:
            self.error(f"num_object is {p.num_object} and num_class {p.num_class}", "both are 1 or more")
        if p.nms == 0:
            self.error("nms is 0", "use a number above 0, or -1 to keep all boxes")
        self.anchors = anchors_of(self, p.biases, p.num_object)[: p.num_object]

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.p
        self.shape = check_maps(self, bottom[0], p.num_object, 5 + p.num_class)
        check_truth(self, bottom[1], self.shape[0])
        samples, anchors, _, height, width = self.shape
        top[0].Reshape((samples, p.num_class + 4 * anchors * height * width))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p, ops = self.p, self.ops
        truth = read_truth(self, bottom[1].shape, self.on_host(bottom[1]), self.shape[0], p.num_class)
        boxes, sure, classes = Version2.of(ops, ops.reshape(bottom[0].data, self.shape), self.anchors)
        best = classes.max(-1)
        scores = {P.OBJ: sure, P.PROB: best, P.MULTIPLY: sure * best}[p.score_type]
        labels = classes.argmax(-1)
        result = np.zeros(top[0].shape, boxes.dtype)
        for image, out in enumerate(result):
            box, score, label = (np.moveaxis(x[image], 0, 2) for x in (boxes, scores, labels))
            own = truth.image == image
            rows = self._rows(
                box.reshape(-1, 4),
                score.ravel(),
                label.ravel(),
                Truth(truth.image[own], truth.label[own], truth.box[own]),
            )
            out[: p.num_class] = np.bincount(truth.label[own], minlength=p.num_class)
            out[p.num_class : p.num_class + rows.size] = rows.ravel()
        top[0].data = ops.asarray(result)

    def _rows(self, box: np.ndarray, score: np.ndarray, label: np.ndarray, truth: Truth) -> np.ndarray:
        """Return the rows of an image: class, score, right, wrong."""
        order = np.argsort(-score, kind="stable")
        if self.p.nms > 0:
            order = order[distinct(box[order], self.p.nms)]
            order = order[score[order] >= _LEAST]
        order = order[np.argsort(label[order], kind="stable")]
        rows = np.stack([label[order], score[order], np.zeros(len(order)), np.zeros(len(order))], 1)
        for number in np.unique(label[order]):
            mine, own = order[label[order] == number], truth.box[truth.label == number]
            places = np.flatnonzero(label[order] == number)
            if not len(own):
                rows[places, 3] = 1
                continue
            shared = overlaps(corners(box[mine]), corners(own))
            nearest = shared.argmax(1)
            close = np.flatnonzero(shared.max(1) >= self.p.threshold)
            first = close[np.unique(nearest[close], return_index=True)[1]]
            rows[places[close], 3] = 1
            rows[places[first], 2:] = [1, 0]
        return rows
