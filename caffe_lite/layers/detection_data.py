"""DetectionData: images and the objects in them, for training a detector."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from ..blobs import Blob
from ..blobs.unknown import Shape, UnknownSize
from ..data.augmentation.distortion import check_distortion
from ..data.order import Order
from ..data.windows.detection_batches import AspectOrder, DetectionBatches, first_resized, size_of_batch
from ..data.windows.object_batches import CHANNELS, COLUMNS, check_objects_transform, check_pairs
from ..data.windows.object_file import ObjectFile
from ..layer import register_layer
from ..logs.log import logger
from .common.anchor_truth import CHANNELS as TRUTH
from .common.anchor_truth import AnchorMap, AnchorRules, truth_of
from .common.batch_layer import BatchLayer

_SHUFFLES = ("random", "random_aspect", "random_mix_aspect")
_EXCLUSIVE = (
    ("resize_width", "resize_ratio", "short_size"),
    ("resize_width", "crop_short_size"),
    ("crop_width", "crop_short_size"),
    ("min_scale", "low_scale_ratio"),
)
_PAIRS = (
    ("resize_width", "resize_height"),
    ("short_size", "long_size"),
    ("crop_width", "crop_height"),
    ("crop_short_size", "crop_long_size"),
    ("min_scale", "max_scale"),
    ("low_scale_ratio", "high_scale_ratio"),
    ("min_whaspect", "max_whaspect"),
)


@register_layer("DetectionData")
class DetectionDataLayer(BatchLayer):
    """y = (x - mean) * scale over images at random sizes and places, and what the anchors of a detector should say.

    An image is distorted as distort_param says, mirrored or not, and resized: to resize_width x resize_height; by
    resize_ratio; or so that its shorter side is short_size, rounded to a multiple of 32 as long_size is. With the
    probability multiscale_prob it is resized again: by a factor from low_scale_ratio to high_scale_ratio, or so that an
    object, chosen at random, has a size (the root of its area) from min_scale to max_scale; width/height changes by a
    factor from min_whaspect to max_whaspect. An image without objects is doubled instead, as in the original.
    All images of a batch become crop_width x crop_height; else resize_width x resize_height; else crop_short_size and
    crop_long_size, or short_size and long_size, as the first image of the batch is tall or wide; else as large as that
    image. A larger image shows the part around an object chosen at random, or any part if it has none; a smaller one is
    in the middle, with zeros around; both up to 10 pixels off. With template_ratio, each batch multiplies short_size
    and long_size by one of them.
    Tops: data (N, 3, H, W), in the order B, G, R; for each stride, (N, 6, H/stride, W/stride), what the anchors of
    field_w x field_h pixels in the middle of each cell of stride x stride should say: label, centre x, y, width and
    height of the object, overlap, see AnchorRules; with output_gt_boxes the objects (G, 8, 1, 1): the number of the
    image, x1, y1, x2, y2, class, ignored, difficult, or one row of -1s if there is none. Objects whose centre is not in
    the image, or that are smaller than min_gt_width or min_gt_height, are to be ignored, too.
    Reads ``detection_data_param``: source, see ObjectFile; batch_size; root_folder (""), put before each path; the
    fields above, whose sizes, ratios and scales are unset, multiscale_prob (0.5), template_ratio (none), min_gt_width
    (0), min_gt_height (0), crop_width (0), crop_height (0), output_gt_boxes (false); stride, field_w and field_h, as
    many of each; fg_threshold (0.5), ignore_fg_threshold (0.4), pickup_iou_thr (0.2), anchor_ignore_margin_ratio,
    anchor_ignore_iou_thr, see AnchorRules; coord_num (4), which can only be 4; shuffle ("random"), in the order of the
    file unless it is given: "random_aspect" takes tall and wide images one kind after the other, "random_mix_aspect" in
    turns of mix_group_size (64); cache_images (false), which keeps the files in memory; distort_param. Its scale (1)
    and resize_param are not read. ``transform_param``: mean_value, scale (1), mirror (false).
    ``data_param``: prefetch (4).
    Paths are relative to the working directory or, unlike in the original, to the folder of the prototxt.
    Source: Cai and Vasconcelos 2018; detection_data_layer.cpp of Cascade R-CNN's Caffe. Differences: where it reads
    other memory or dies, an error is raised: images not numbered from 0 on. One field of a pair alone is an error
    (theirs ignores it).
    """

    formula = r"y = (x - \text{mean}) \cdot \text{scale}"
    tops = (1, None)

    def foresee(self) -> Sequence[Shape]:
        p = self.param.detection_data_param
        self.check_source("detection_data_param")
        check_objects_transform(self.param.transform_param)
        check_distortion(p.distort_param)
        self._check_anchors()
        self._check_sizes()
        if p.HasField("shuffle") and p.shuffle not in _SHUFFLES:
            self.error(f"shuffle is {p.shuffle!r}", f"use {', '.join(_SHUFFLES[:-1])} or {_SHUFFLES[-1]}")
        if not p.mix_group_size:
            self.error("mix_group_size is 0", "give at least 1")
        size = self._size()
        truth = [(p.batch_size, TRUTH, *map(anchors.size, size)) for anchors in self._maps()]
        objects = [(UnknownSize(), COLUMNS, 1, 1)] if p.output_gt_boxes else []
        return [(p.batch_size, CHANNELS, *size), *truth, *objects]

    def _size(self) -> Shape:
        """Return the height and width of a batch's images as far as they are known."""
        p = self.param.detection_data_param
        if p.HasField("crop_width") or p.HasField("resize_width"):
            return size_of_batch(p, first_resized(p, (1, 1)))
        return (UnknownSize(), UnknownSize())

    def _check_anchors(self) -> None:
        p = self.param.detection_data_param
        if not len(p.stride) == len(p.field_w) == len(p.field_h) or 0 in [*p.stride, *p.field_w, *p.field_h]:
            self.error(
                f"stride, field_w and field_h have {len(p.stride)}, {len(p.field_w)} and {len(p.field_h)} values",
                "give as many of each, none of them 0",
            )
        if p.coord_num != 4:
            self.error(f"coord_num is {p.coord_num}", "a box has 4 coordinates")
        if p.fg_threshold <= 0:
            self.error(f"fg_threshold is {p.fg_threshold:g}", "give a number above 0")

    def _check_sizes(self) -> None:
        p = self.param.detection_data_param
        check_pairs(p, _PAIRS)
        for fields in _EXCLUSIVE:
            both = [field for field in fields if p.HasField(field)]
            if len(both) > 1:
                self.error(f"{both[0]} and {both[1]} are both given", "keep one of them")

    def _maps(self) -> list[AnchorMap]:
        p = self.param.detection_data_param
        return [AnchorMap(*values) for values in zip(p.stride, p.field_w, p.field_h, strict=True)]

    def _rules(self) -> AnchorRules:
        p = self.param.detection_data_param
        optional = {
            field: getattr(p, field) if p.HasField(field) else None
            for field in ("anchor_ignore_margin_ratio", "anchor_ignore_iou_thr")
        }
        return AnchorRules(p.fg_threshold, p.ignore_fg_threshold, p.pickup_iou_thr, **optional)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if len(top) != len(self.shapes):
            objects = ", one for the objects" if self.param.detection_data_param.output_gt_boxes else ""
            self.error(
                f"it has {len(top)} tops, and delivers {len(self.shapes)}",
                f"give one for the images, one for each stride{objects}",
            )
        super().Reshape(bottom, top)

    def open(self) -> DetectionBatches:
        p = self.param.detection_data_param
        self.foresee()
        logger.info(
            "Window data layer:\n  batch size: %d\n  cache_images: %d\n  root_folder: %s",
            *(p.batch_size, p.cache_images, p.root_folder),
        )
        images = ObjectFile(p.source, self.where, "detection_data_param")
        rng = self.new_generator()
        return DetectionBatches(
            p,
            partial(truth_of, self._maps(), self._rules()),
            images,
            p.root_folder,
            self.param.transform_param,
            self.ops.image_order,
            self._order(images, rng),
            rng,
            self.where,
        )

    def _order(self, images: ObjectFile, rng: np.random.Generator) -> Order:
        p = self.param.detection_data_param
        if p.HasField("shuffle") and p.shuffle != "random":
            return AspectOrder(images, rng, p.mix_group_size if p.shuffle == "random_mix_aspect" else None)
        what = f"images in {images.file!r}"
        return Order(what, len(images.paths), rng if p.HasField("shuffle") else None)
