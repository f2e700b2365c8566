"""AnnotatedData: batches of images with the boxes of their objects, from a database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ..blobs.unknown import Shape, UnknownSize, choose
from ..data.annotated.annotated_datum import parse_annotated_datum
from ..data.annotated.batches import MOST, WITH_BOXES, AnnotatedBatches, LabelledBatches, YoloBatches
from ..data.annotated.masks import Masks, read_classes
from ..data.augmentation.augmentation import sizes_of
from ..data.augmentation.sampling import check_samplers
from ..data.batches import Batches
from ..data.databases.opening import open_records
from ..data.transform import DataTransformer, crop_shape
from ..errors import DataError
from ..layer import register_layer
from ..proto.caffe_pb2 import AnnotatedDatum, ResizeParameter
from .common.batch_layer import BatchLayer

_LISTS = 1  # the yolo_data_type with lists of objects


@register_layer("AnnotatedData")
class AnnotatedDataLayer(BatchLayer):
    """Images from a database of AnnotatedDatum records, in the order of their keys or shuffled, over and over again.

    Each image goes through distort_param and expand_param; then one of the patches that the samplers find is cut out,
    if there are any; then resize_param, noise_param, crop and mirror. Boxes go along, in fractions of what is left of
    the image; emit_constraint drops objects of which too little is left. Where resize_param is given several times, one
    of them is drawn for every ten batches, by their prob.
    Tops: data (N, C, H, W); optionally label: (1, 1, n, 8) with the rows number of the image in the batch, label,
    instance_id, xmin, ymin, xmax, ymax, difficult, or one row of -1 if no image has an object. Where neither the first
    record nor anno_type gives a type of annotations, label is (N). With yolo_data_type: 1, label is (N, 1, 300, 5): for
    each image rows of label - 1, x, y, width, height, with the centre at x, y, then rows of zeros. A third top,
    MobileNet-YOLO's, holds maps (N, C, h, w) made of the mask in each record's seg_label: the part of it that stays of
    the image, in another size, from 0 to 1.
    Reads ``annotated_data_param``: batch_sampler, any number of them; anno_type, BBOX, in place of the records' own;
    label_map_file, which only the third top reads; MobileNet-YOLO's yolo_data_type (0, or 1), train_diffcult (true;
    false leaves difficult objects out of its rows), and yolo_data_jitter (0.3), which counts if it is given, or with
    yolo_data_type: 1, and there are no samplers: then a patch with sides of 1 - jitter to 1 of the image's is cut out
    in three of five cases, a larger one in one. ``data_param``: as in Data: source, batch_size, backend (LEVELDB),
    prefetch (4), shuffle (false). ``transform_param``: see DataTransformer; also emit_constraint, with emit_type
    (CENTER), which keeps objects whose centre is left, or MIN_OVERLAP, those of which more than emit_overlap is;
    force_color and force_gray, for encoded images.
    ``batch_sampler``: each draws max_trials (100) patches, with the sampler's min_scale (1) to max_scale (1) of the
    image's size and min_aspect_ratio (1) to max_aspect_ratio (1), and keeps the first max_sample that meet
    sample_constraint: bounds from min_ to max_ of jaccard_overlap, sample_coverage and object_coverage.
    For the third top: single_class (true: one map, of masks above 100; false: a map for each label_id in
    label_map_file, whose items stand for the values 0, 1, ... of a mask), seg_scales (8: the maps are an eighth as high
    and wide as the image), seg_resize_height and seg_resize_width (0), in place of that. difficult_label_warmup is
    refused.
    Source: Liu et al., SSD: Single Shot MultiBox Detector, ECCV 2016; annotated_data_layer.cpp of SSD's Caffe and of
    MobileNet-YOLO. Differences: the forks compress an image as JPEG after each step, refuse to distort images that are
    not encoded, and take a patch if one box meets only the first of several bounds. Random numbers are not theirs. An
    image of more than 300 objects gives the first 300 of them (MobileNet-YOLO's writes on into the next image), a batch
    without any object gives zeros (its lists are those of an earlier batch), and without the fields of MobileNet-YOLO
    there is no jitter (its is 0.3 then, too). Masks go along with patches only: with expand_param, a crop or
    padding they are refused (MobileNet-YOLO's do not fit the image then).
    """

    formula = r"y = (x - \text{mean}) \cdot \text{scale}"
    tops = (1, 3)
    types: ClassVar[Sequence[int]] = WITH_BOXES
    masks_are = "the masks of the third top"
    reads_fork_fields = ("DataParameter.shuffle", "TransformationParameter.further_resize_param")

    def foresee(self) -> Sequence[Shape]:
        self._check()
        batch_size, annotated = self.param.data_param.batch_size, self.param.annotated_data_param
        images = self.foreseen_images(batch_size)
        as_lists, has_maps = annotated.yolo_data_type == _LISTS, len(self.param.top) > 2
        has_boxes = as_lists or has_maps or annotated.batch_sampler or annotated.HasField("anno_type") or not choose(2)
        rows = (1, 1, UnknownSize(), 8) if has_boxes else (batch_size,)
        shapes: list[Shape] = [images, (batch_size, 1, MOST, 5) if as_lists else rows]
        if has_maps:
            classes = 1 if annotated.single_class else UnknownSize()
            shapes.append((batch_size, classes, *self._masks(None).shape(*images[2:])[1:]))
        return shapes

    def open(self) -> Batches:
        p, transform = self.param.data_param, self.param.transform_param
        annotated, colors = self.param.annotated_data_param, (transform.force_color, transform.force_gray)
        self._check()
        as_lists = annotated.yolo_data_type == _LISTS
        jitter = annotated.yolo_data_jitter if as_lists or annotated.HasField("yolo_data_jitter") else 0
        samplers = list(annotated.batch_sampler)
        transformer = DataTransformer(transform, self.phase, self.where, self.ops.image_order, samplers, jitter)
        tables = None
        if len(self.param.top) > 2 and not annotated.single_class:
            tables = read_classes(annotated.label_map_file, self.where)
        generator = self.new_generator()
        database = open_records(p, generator, self.where)
        key, value = database.peek()
        try:
            has_boxes = as_lists or annotated.HasField("anno_type") or parse_annotated_datum(value).HasField("type")
        except DataError as error:
            database.close()
            raise DataError(
                f"record {key!r} of the database {database.path!r} cannot be used: {error.what}", hint=error.hint
            ) from None
        given = (database, transformer, p.batch_size, generator, *colors)
        if not has_boxes:
            if len(self.param.top) > 2:
                database.close()
                self.error("it has a third top, for masks, and the records have no annotations", "remove that top")
            labelled = LabelledBatches(*given)
            labelled.labelled = len(self.param.top) > 1
            return labelled
        batches = YoloBatches(*given) if as_lists else AnnotatedBatches(*given)
        batches.boxes = annotated.HasField("anno_type")
        if isinstance(batches, YoloBatches):
            batches.difficult = annotated.train_diffcult
        if len(self.param.top) > 2:
            batches.masks = self._masks(tables)
        return batches

    def _masks(self, tables: np.ndarray | None) -> Masks:
        p = self.param.annotated_data_param
        size = (p.seg_resize_height, p.seg_resize_width)
        return Masks(tables, p.seg_scales, size if all(size) else None)

    def _check(self) -> None:
        p, transform = self.param.data_param, self.param.transform_param
        annotated = self.param.annotated_data_param
        self.check_source("data_param")
        self.refuse_moved("data_param", force_encoded_color="force_color")
        check_samplers(annotated.batch_sampler)
        if annotated.difficult_label_warmup:
            self.error(
                "difficult_label_warmup is set, and is not known here", "remove it, or set train_diffcult: false"
            )
        if len(self.param.top) > 2:
            self._check_masks()
        if annotated.yolo_data_type not in (0, _LISTS):
            self.error(f"yolo_data_type is {annotated.yolo_data_type}", "use 1, for lists in the form of YOLO, or 0")
        if not 0 <= annotated.yolo_data_jitter < 1:
            self.error(f"yolo_data_jitter is {annotated.yolo_data_jitter:g}", "use a number from 0 to below 1")
        if annotated.anno_type not in self.types:
            name = AnnotatedDatum.AnnotationType.Name(annotated.anno_type)
            self.error(f"anno_type is {name}", "Only boxes, BBOX, can be read")
        keeps_aspect = any(size.resize_mode == ResizeParameter.FIT_SMALL_SIZE for size in sizes_of(transform))
        if keeps_aspect and p.batch_size > 1 and not any(crop_shape(transform)):
            self.error(
                f"batch_size is {p.batch_size}, and FIT_SMALL_SIZE gives images of different sizes",
                "Set batch_size: 1, a crop_size, or another resize_mode",
            )

    def _check_masks(self) -> None:
        p, transform = self.param.annotated_data_param, self.param.transform_param
        if not p.single_class and not p.label_map_file:
            self.error("single_class is false, and there is no label_map_file", "name the file of the masks' classes")
        if p.seg_scales < 1 or min(p.seg_resize_height, p.seg_resize_width) < 0:
            self.error(
                f"seg_scales is {p.seg_scales}, seg_resize_height and seg_resize_width are {p.seg_resize_height} "
                f"and {p.seg_resize_width}",
                "use a seg_scales of 1 or more, and sizes of 0 or more",
            )
        pads = any(size.resize_mode == ResizeParameter.FIT_LARGE_SIZE_AND_PAD for size in sizes_of(transform))
        if transform.HasField("expand_param") or any(crop_shape(transform)) or pads:
            self.error(f"{self.masks_are} cannot follow expand_param, a crop or padding", "remove these")
