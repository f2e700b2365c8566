"""Proposal: the regions where a region-proposal network sees objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..blobs import Blob
from ..blobs.unknown import UnknownSize
from ..data import boxes
from ..layer import Kind, Layer, register_layer
from ..onnx_graph import OnnxGraph, Value
from ..proto.caffe_pb2 import ProposalParameter
from .common.onnx_boxes import unless_any
from .common.proposals import Rules, example_of_images
from .common.regions import rounded


@register_layer("Proposal")
class ProposalLayer(Layer):
    """The anchors with the best scores, moved by the deltas, without those that overlap a better one.

    Bottoms: scores (N, 2 A, H, W), of background for the A anchors, then of objects; deltas (N, 4 A, H, W), the shifts
    of x and y over the anchor's size, and the logarithms of factors of width and height; for each image, or one for
    all, height, width and scale (N, 3), or the scales of height and width apart (N, 4).
    Tops: regions (R, 5), each the number of its image, x1, y1, x2, y2, best first, where R is not known before the
    pass; their scores (R) (for the last form (R, 1)), if there is a second top. There is no gradient.
    Each anchor, moved and cut at the image's edge, is a region. Of each image the ``pre_nms_topn`` best ones are
    compared, regions that overlap a better kept one by more than the threshold are dropped, and at most
    ``post_nms_topn`` are kept.
    Meanings: it is mini-caffe's if proposal_param has a ratio or scale, Xilinx's if it has an anchor, otherwise
    Synopsys'.
    Reads ``proposal_param``. mini-caffe's: feat_stride (16), base_size (16), min_size (16), ratio, scale,
    pre_nms_topn (6000), post_nms_topn (300), nms_thresh (0.7); regions smaller than min_size times the image's scale
    get the score 0. Xilinx's: stride_h, stride_w, anchor (left, top, right, bottom, from 1 on), nms_input_num (6000),
    nms_output_num (300), nms_iou_th, min_width (0), min_height (0); overlaps do not count the last pixels, regions not
    larger than the minimum are dropped after the best are chosen, and where there is none, the region is 0, 0, 0, 1, 1
    with the score 0. Synopsys': feat_stride, anchor_base_size (16), anchor_scale (3), anchor_ratio (3), max_rois (300),
    pre_nms_topn, rpn_min_size (16), rpn_nms_thresh (0.7); anchor_scale 3 stands for the scales 8, 16, 32, another
    number for 32, anchor_ratio 3 for the ratios 0.5, 1, 2, another for 1; smaller regions are dropped before the best
    are chosen.
    A net with this layer cannot be compiled, because its shapes depend on values.
    Source: Ren, He, Girshick and Sun 2015; proposal_layer.cpp of mini-caffe, Xilinx and Synopsys. Differences:
    mini-caffe takes one image only; Synopsys' compares those beyond pre_nms_topn, too, and never drops the last anchor.
    happynear's layer has mini-caffe's parameters, but scales in pixels: divide them by base_size. Its anchors are then
    those of this layer but for rounding.
    """

    kind = Kind.DETECTION
    rows_vary = True
    formula = r"y = \operatorname{nms}(\text{anchors} \oplus \text{deltas}, \text{scores})"
    bottoms = (3, 3)
    tops = (1, 2)
    decides = True
    not_differentiable = (0, 1, 2)
    kept: int | None = None  # number of regions in the last pass
    fills_up = False  # as in OpenCV: zeros follow, so that there are always as many regions as may be kept

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.proposal_param
        if p.ratio or p.scale:
            self.meaning = f"mini-caffe's Proposal, because {'ratio' if p.ratio else 'scale'} is given"
            self.rules = self._mini_caffe(p)
        elif p.anchor:
            self.meaning = "Xilinx's Proposal, because anchor is given"
            self.rules = self._xilinx(p)
        else:
            self.meaning = "Synopsys' Proposal, because none of ratio, scale and anchor is given"
            self.rules = self._synopsys(p)
        if min(self.rules.stride) <= 0:
            self.error("the stride is not given", "give how many pixels of the image a step on the bottoms is")

    def _mini_caffe(self, p: ProposalParameter) -> Rules:
        if not p.ratio or not p.scale:
            self.error("it has no ratio or no scale", "give at least one of each, as in ratio: 1 scale: 8")
        if min(*p.ratio, *p.scale) <= 0:
            self.error("a ratio or scale is not above 0", "an anchor needs a width and a height")
        anchors = boxes.anchors(p.base_size, p.ratio, p.scale, rounded)
        stride, smallest = (p.feat_stride,) * 2, (p.min_size,) * 2
        return Rules(anchors, stride, p.pre_nms_topn, p.post_nms_topn, p.nms_thresh, smallest, "worst", True)

    def _synopsys(self, p: ProposalParameter) -> Rules:
        ratios = (0.5, 1, 2) if p.anchor_ratio == 3 else (1,)
        scales = (8, 16, 32) if p.anchor_scale == 3 else (32,)
        anchors = boxes.anchors(p.anchor_base_size, ratios, scales, rounded)
        stride, smallest = (p.feat_stride,) * 2, (p.rpn_min_size,) * 2
        return Rules(anchors, stride, p.pre_nms_topn, p.max_rois, p.rpn_nms_thresh, smallest, "before", True)

    def _xilinx(self, p: ProposalParameter) -> Rules:
        anchors = np.array([[a.left, a.top, a.right, a.bottom] for a in p.anchor]) - 1
        # An overlap of exactly the threshold is too much.
        overlap = float(np.nextafter(np.float32(p.nms_iou_th), np.float32(-1)))
        stride, smallest = (p.stride_h, p.stride_w), (p.min_width, p.min_height)
        return Rules(anchors, stride, p.nms_input_num, p.nms_output_num, overlap, smallest, "after", False)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        scores, deltas, info = (blob.shape for blob in bottom)
        count = len(self.rules.anchors)
        if len(scores) != 4 or scores[1] != 2 * count:
            wanted = f"(N, {2 * count}, H, W)"
            self.error(f"the scores have the shape {scores}", f"give two for each of the {count} anchors: {wanted}")
        if deltas != (scores[0], 4 * count, *scores[2:]):
            wanted = str((scores[0], 4 * count, *scores[2:]))
            self.error(f"the deltas have the shape {deltas}", f"give four for each anchor: {wanted}")
        rows = scores[0] if info[:1] == scores[:1] else 1
        if bottom[2].count < 3 * rows:
            self.error(f"the third bottom has the shape {info}", "give each image's height, width and scale: (N, 3)")
        self.info = (rows, bottom[2].count // max(1, rows))
        self.image = tuple(size * stride for size, stride in zip(scores[2:], self.rules.stride, strict=True))
        self._shape(top, scores[0] * self.rules.after if self.kept is None else self.kept)

    def _shape(self, top: Sequence[Blob], count: Any) -> None:
        top[0].Reshape((count, 5))
        for blob in top[1:]:
            blob.Reshape((count, 1) if self.rules.small == "before" else (count,))

    def outline(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().outline(bottom, top)
        self._shape(top, UnknownSize())

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if self.ops.tracer is not None:
            raise NotImplementedError("how many regions it finds depends on the values it is given")
        scores, deltas, info = (self.ops.host_view(blob.data) for blob in bottom)
        images, count = len(scores), len(self.rules.anchors)
        height, width = scores.shape[2:]
        scores = scores[:, count:].transpose(0, 2, 3, 1).reshape(images, height * width * count)
        deltas = deltas.transpose(0, 2, 3, 1).reshape(images, height * width * count, 4)
        info = np.broadcast_to(info.reshape(self.info), (images, self.info[1]))
        anchors = boxes.on_grid(self.rules.anchors, height, width, self.rules.stride).reshape(-1, 4)
        found = [self._regions(anchors, *image) for image in zip(scores, deltas, info, strict=True)]
        regions = [np.insert(corners, 0, image, 1) for image, (corners, _) in enumerate(found)]
        values = np.concatenate([np.zeros((0, 5), scores.dtype), *regions])
        best = np.concatenate([np.zeros(0, scores.dtype), *(best for _, best in found)])
        if self.rules.small == "after" and images and not len(values):
            values, best = np.array([[0, 0, 0, 1, 1]], scores.dtype), np.zeros(1, scores.dtype)
        if self.fills_up:
            missing = images * self.rules.after - len(values)
            values, best = np.pad(values, ((0, missing), (0, 0))), np.pad(best, (0, missing))
        self.kept = len(values)
        self._shape(top, self.kept)
        top[0].data = self.ops.asarray(values)
        for blob in top[1:]:
            blob.data = self.ops.asarray(best.reshape(blob.shape))

    def _regions(
        self, anchors: np.ndarray, scores: np.ndarray, deltas: np.ndarray, info: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the corners and scores of the regions in an image."""
        rules = self.rules
        height, width = info[:2]
        corners = boxes.clip(boxes.from_deltas(anchors, deltas), width - 1, height - 1)
        size, least = corners[:, 2:] - corners[:, :2], info[[min(3, len(info) - 1), 2]] * rules.smallest
        large = (size + 1 >= least if rules.inclusive else size > least).all(1)
        if rules.small == "worst":
            scores = scores * large
        elif rules.small == "before":
            scores = np.where(large, scores, -np.inf)
        order = boxes.best_first(scores, rules.before)
        if rules.small == "after":
            order = order[large[order]]
        order = order[boxes.nms(corners[order], rules.overlap, most=rules.after, inclusive=rules.inclusive)]
        return corners[order], scores[order]

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        rows = None if bottom[2].sizes[0] is None else self.info[0]
        regions, scores, kept = self.rules.to_onnx(g, bottom[0], bottom[1], g.reshape(bottom[2], (rows, self.info[1])))
        if self.rules.small == "after":
            regions, scores = unless_any(g, regions, kept, [0, 0, 0, 1, 1]), unless_any(g, scores, kept, 0)
        return [regions, scores if top[-1].ndim == 1 else g.Unsqueeze(scores, [1])][: len(top)]

    def example(self, index: int, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray | None:
        return example_of_images(*self.info, *self.image).reshape(shape) if index == 2 else None

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        for blob, wanted in zip(bottom, propagate_down, strict=True):
            if wanted:
                blob.diff = self.ops.zeros(blob.shape)
