"""DetectionOutput: the boxes that a detector has found."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..blobs import Blob
from ..blobs.unknown import UnknownSize
from ..data.boxes import clip, decode, nms, nms_of_many
from ..layer import register_layer
from ..logs.log import logger
from ..onnx_graph import OnnxGraph, Value
from ..proto.caffe_pb2 import DetectionOutputParameter, PriorBoxParameter
from .common.detection_files import result_files
from .common.onnx_boxes import best_of_all, decoded, places, sorted_scores, without_overlapped
from .common.rows import DetectionsLayer

_OF_SYNOPSYS = range(DetectionOutputParameter.OBJECTNESS_SCORE_FIELD_NUMBER, DetectionOutputParameter.CLIP_FIELD_NUMBER)
_FEW = 50_000  # pairs of boxes, for which it does not pay to treat each class by itself


@register_layer("DetectionOutput")
class DetectionOutputLayer(DetectionsLayer):
    """For each image and class, the best boxes that do not overlap a better one too much.

    Of each class, except background_label_id, the boxes with a score above confidence_threshold are taken, at most
    nms_param.top_k of them, best first; one is dropped if its intersection over union with one that was kept is above
    nms_param.nms_threshold. With eta below 1 that threshold is multiplied by eta after each kept box while it is
    above 0.5. Then keep_top_k of an image's boxes stay, of all classes. Equal scores are taken in the order of classes
    and priors (the original leaves the order at the last step open).
    Bottoms: the locations of P priors, (N, P 4) or, for each class, (N, P C 4), as code_type and variances encode
    them; their scores, (N, P C); the priors, (1, 2, P 4), as from PriorBox; optionally the images, which are not read.
    Top: (1, 1, K, 7), each row an image's index, label, score, x1, y1, x2, y2 as fractions of the image; by image, then
    label, then score. Without any box, one row for each image: its index, then -1s. There is no gradient.
    Reads ``detection_output_param``: num_classes, share_location (true), background_label_id (0; -1: none), nms_param
    (nms_threshold 0.3, top_k -1: all, eta 1), keep_top_k (-1: all), code_type (CORNER; or CENTER_SIZE, CORNER_SIZE),
    variance_encoded_in_target (false), confidence_threshold (none), clip (false; true, OpenCV's: boxes are moved into
    the image before they are compared), save_output_param, visualize (false; true is
    accepted, and nothing is drawn). visualize_threshold and save_file belong to visualize.
    With save_output_param, which reads ``save_output_param``: output_directory, output_name_prefix, output_format (VOC,
    COCO or ILSVRC), label_map_file, name_size_file, num_test_image (all) and resize_param, the boxes are also written
    to files, in pixels, once num_test_image images have passed; the files are replaced as a whole. Without
    output_directory, none of these files is read.
    A net with this layer cannot be compiled, because its shapes depend on values.
    RefineDet's layer of this name, with five bottoms, is refused, and so are synopsys' fields: objectness_score,
    arm_conf_no_concat, arm_loc_no_concat, ratio_permute, no_permute, nbottom, ratio0, ratio1, ratio2, ratio3, ratio4,
    ratio5, tflite_detection, tflite_use_regular_nms, max_classes_per_detection and scale_xywh.
    Source: Liu et al. 2016; detection_output_layer.cpp of SSD's Caffe.
    Differences: where an image was padded to fit the net, boxes in the padding become empty (the original writes them
    as if there were no padding); COCO's files are JSON for any name (in the original's, names that begin with 0 are no
    JSON).
    """

    formula = r"\{ b : s_b > t, \ \text{no better kept } b' \text{ with } \operatorname{IoU}(b, b') > u \}"
    bottoms = (3, 5)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._check(bottom)
        self.files = result_files(self, self.param.detection_output_param.save_output_param, self.labels)
        if self.files:
            self.check_undivided("it writes the detections of all batches into files")
        if self.param.detection_output_param.visualize:
            logger.info("visualize is set: nothing is drawn")

    def outline(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._check(bottom)
        self.Reshape(bottom, top)
        self.reshape_top(top, UnknownSize())

    def _check(self, bottom: Sequence[Blob]) -> None:
        p = self.param.detection_output_param
        if len(bottom) > 4:
            self.error("it has five bottoms, as RefineDet's layer of this name", "only SSD's is known: give three")
        for field, value in p.ListFields():
            if field.number in _OF_SYNOPSYS and value != field.default_value:
                self.error(f"{field.name} is set, a field of synopsys' Caffe", "only SSD's fields are known: remove it")
        if not p.num_classes:
            self.error("there is no num_classes", "count the classes, and the background as one of them")
        if p.nms_param.nms_threshold < 0:
            self.error(f"nms_threshold is {p.nms_param.nms_threshold:g}", "use 0 or more")
        if not 0 < p.nms_param.eta <= 1:
            self.error(f"eta is {p.nms_param.eta:g}", "use a number above 0, and at most 1")
        self.places = 1 if p.share_location else p.num_classes
        self.threshold = p.confidence_threshold if p.HasField("confidence_threshold") else -np.inf
        self.labels = [label for label in range(p.num_classes) if label != p.background_label_id]

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        locations, scores, priors = (blob.shape for blob in bottom[:3])
        classes = self.param.detection_output_param.num_classes
        if len(priors) < 3 or priors[1] != 2 or prod(priors) != 2 * priors[2] or priors[2] % 4:
            self.error(f"the priors have the shape {priors}", "give the top of a PriorBox, (1, 2, P 4)")
        self.count = priors[2] // 4
        for shape, each, what in ((locations, 4 * self.places, "locations"), (scores, classes, "scores")):
            if prod(shape[1:]) != self.count * each:
                self.error(
                    f"{self.count} priors need {self.count * each} numbers for each image, and the {what} have "
                    f"the shape {shape}",
                    f"give {each} for each prior",
                )
        if locations[0] != scores[0]:
            self.error(f"the locations are of {locations[0]} images, the scores of {scores[0]}", "give both of a batch")
        self.reshape_top(top)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        images = bottom[0].shape[0]
        locations, scores, priors = map(self.on_host, bottom[:3])
        locations = locations.reshape(images, self.count, self.places, 4)
        scores = scores.reshape(images, self.count, self.param.detection_output_param.num_classes)
        priors = priors.reshape(2, self.count, 4)
        self._check_priors(priors[0])
        found = [self._detections(i, locations[i], scores[i], priors) for i in range(images)]
        if self.files is not None:
            for rows in found:
                self.files.add_image(rows)
        self.deliver(top, found)

    def _check_priors(self, boxes: np.ndarray) -> None:
        if self.param.detection_output_param.code_type == PriorBoxParameter.CORNER:
            return
        good = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        if not good.all():
            first = int(good.argmin())
            self.error(f"prior {first} is {boxes[first].tolist()}", "its width and height must be above 0")

    def _detections(self, image: int, locations: np.ndarray, scores: np.ndarray, priors: np.ndarray) -> np.ndarray:
        """Return the rows of an image: from (P, places, 4), (P, classes) and (2, P, 4)."""
        p, most = self.param.detection_output_param, self._most_of_class()
        good = (scores > self.threshold) & np.isin(range(p.num_classes), self.labels)
        prior, label = _nonzero(good)
        if len(label) and np.bincount(label).max() > most > 0:
            good &= scores >= np.partition(np.where(good, scores, -np.inf), -most, axis=0)[-most]
            prior, label = _nonzero(good)
        score = scores[prior, label]
        order = np.lexsort((-score, label))
        place = np.arange(len(order)) - np.searchsorted(label[order], label[order])  # among those of the class
        order = order[place < most]
        prior, label, score = prior[order], label[order], score[order]

        def kept_of(chosen: np.ndarray) -> np.ndarray:
            at, of = prior[chosen], label[chosen]
            variances = None if p.variance_encoded_in_target else priors[1, at]
            boxes = decode(p.code_type, locations[at, 0 if p.share_location else of], priors[0, at], variances)
            if p.clip:
                boxes = clip(boxes)
            index = self._suppressed(boxes, of)
            rows = np.empty((len(index), self.columns), score.dtype)
            rows[:, 0], rows[:, 1], rows[:, 2] = image, of[index], score[chosen[index]]
            rows[:, 3:7], rows[:, 7:] = boxes[index], self._origin(at[index])
            return rows

        if p.keep_top_k < 0:
            return kept_of(np.arange(len(prior)))
        # Whether a box is kept depends only on better ones of its class: most often a few times keep_top_k suffice.
        order, count = np.argsort(-score, kind="stable"), 2 * p.keep_top_k
        while True:
            rows = kept_of(np.sort(order[:count]))
            if len(rows) >= p.keep_top_k or count >= len(order):
                return rows[np.sort(np.argsort(-rows[:, 2], kind="stable")[: p.keep_top_k])]
            count *= 4

    def _most_of_class(self) -> int:
        p = self.param.detection_output_param.nms_param
        return min(p.top_k, self.count) if p.HasField("top_k") and p.top_k >= 0 else self.count

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        p, images, most = self.param.detection_output_param, bottom[0].sizes[0], self._most_of_class()
        if p.nms_param.eta < 1:
            self.error(f"eta is {p.nms_param.eta:g}, and ONNX suppresses boxes by one threshold", "Set eta: 1")
        if not most:
            self.error("nms_param has top_k: 0, so that there are no boxes", "Remove it, or give a number above 0")
        scores = g.Transpose(g.reshape(bottom[1], (images, self.count, p.num_classes)), perm=[0, 2, 1])
        scores, index = sorted_scores(g, g.Gather(scores, self.labels, axis=1), most)  # (N, classes, most)
        boxes = g.GatherND(
            self._boxes(g, *bottom[:3]), g.Unsqueeze(index, [3]), batch_dims=1 if p.share_location else 2
        )
        lists = g.reshape(boxes, (None, most, 4)), g.reshape(scores, (None, most))
        kept = without_overlapped(g, *lists, p.nms_param.nms_threshold, most=most, above=self.threshold)
        kept = g.reshape(kept, (images, len(self.labels) * most))
        if p.keep_top_k >= 0:
            kept = best_of_all(g, kept, min(p.keep_top_k, len(self.labels) * most))
        place = places(g, g.reshape(kept, (images, len(self.labels), most)))
        label = g.Gather(np.array(self.labels, np.float32), g.slice(place, [1], [2], [1]))
        columns = [label, g.Unsqueeze(g.GatherND(scores, place), [1]), g.GatherND(boxes, place)]
        origins = self._origin(np.arange(self.count))
        if origins.shape[1]:
            columns.append(g.Gather(origins.astype(np.float32), g.GatherND(index, place)))
        return [self.written(g, kept, place, columns)]

    def _boxes(self, g: OnnxGraph, locations: Value, scores: Value, priors: Value) -> Value:
        """Write the boxes of the priors, (N, P, 4) or, for each class that counts, (N, classes, P, 4)."""
        p = self.param.detection_output_param
        priors = g.reshape(priors, (2, self.count, 4))
        boxes, variances = (g.slice(priors, [i], [i + 1], [0]) for i in (0, 1))
        if p.share_location:
            locations = g.reshape(locations, (locations.sizes[0], self.count, 4))
        else:
            shape = (locations.sizes[0], self.count, self.places, 4)
            locations = g.Gather(g.Transpose(g.reshape(locations, shape), perm=[0, 2, 1, 3]), self.labels, axis=1)
        found = decoded(g, p.code_type, locations, boxes, None if p.variance_encoded_in_target else variances)
        return g.Clip(found, 0.0, 1.0) if p.clip else found

    def example(self, index: int, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray | None:
        if index != 2:
            return None
        near = rng.uniform(0, 0.7, (self.count, 2))
        boxes = np.concatenate([near, near + rng.uniform(0.1, 0.3, near.shape)], 1)
        return np.stack([boxes, np.full_like(boxes, 0.1)]).reshape(shape)

    def _suppressed(self, boxes: np.ndarray, label: np.ndarray) -> np.ndarray:
        """Return the positions of the boxes that are left, class by class."""
        p = self.param.detection_output_param.nms_param
        ends = np.searchsorted(label, self.labels, "right")
        counts = np.diff(ends, prepend=0)
        most = counts.max(initial=0)
        if p.eta == 1 and counts.size * most * most <= _FEW:
            rank = np.arange(most)
            index, there = (ends - counts)[:, None] + rank, rank < counts[:, None]
            own = boxes[np.where(there, index, 0)]
            own[~there] = 0
            return index[there & nms_of_many(own, p.nms_threshold)]
        kept = [np.empty(0, int)]
        for first, end in zip(ends - counts, ends, strict=True):
            kept.append(first + nms(boxes[first:end], p.nms_threshold, eta=p.eta))
        return np.concatenate(kept)

    def _origin(self, prior: np.ndarray) -> np.ndarray:
        """Return what stands in the columns after a box: something about its prior."""
        return np.empty((len(prior), 0))


def _nonzero(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Do as ``np.nonzero``, several times as fast."""
    index = np.flatnonzero(rows)
    row = index // rows.shape[1]
    return row, index - row * rows.shape[1]
