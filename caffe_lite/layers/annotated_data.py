"""AnnotatedData: batches of images with the boxes of their objects, from a database."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs.unknown import Shape, UnknownSize, choose
from ..data.annotated.annotated_datum import parse_annotated_datum
from ..data.annotated.batches import AnnotatedBatches, LabelledBatches
from ..data.augmentation.sampling import check_samplers
from ..data.databases.opening import open_records
from ..data.transform import DataTransformer, crop_shape
from ..errors import DataError
from ..layer import register_layer
from ..proto.caffe_pb2 import AnnotatedDatum, ResizeParameter
from .common.batch_layer import BatchLayer

_READ = ("batch_sampler", "label_map_file", "anno_type")


@register_layer("AnnotatedData")
class AnnotatedDataLayer(BatchLayer):
    """Images from a database of AnnotatedDatum records, in the order of their keys or shuffled, over and over again.

    Each image goes through distort_param and expand_param; then one of the patches that the samplers find is cut out,
    if there are any; then resize_param, noise_param, crop and mirror. Boxes go along, in fractions of what is left of
    the image; emit_constraint drops objects of which too little is left.
    Tops: data (N, C, H, W); optionally label: (1, 1, n, 8) with the rows number of the image in the batch, label,
    instance_id, xmin, ymin, xmax, ymax, difficult, or one row of -1 if no image has an object. Where neither the first
    record nor anno_type gives a type of annotations, label is (N).
    Reads ``annotated_data_param``: batch_sampler, any number of them; anno_type, BBOX, in place of the records' own;
    label_map_file, which is for tools only. ``data_param``: as in Data: source, batch_size, backend (LEVELDB), prefetch
    (4), shuffle (false). ``transform_param``: see DataTransformer; also emit_constraint, with emit_type (CENTER), which
    keeps objects whose centre is left, or MIN_OVERLAP, those of which more than emit_overlap is; force_color and
    force_gray, for encoded images.
    ``batch_sampler``: each draws max_trials (100) patches, with the sampler's min_scale (1) to max_scale (1) of the
    image's size and min_aspect_ratio (1) to max_aspect_ratio (1), and keeps the first max_sample that meet
    sample_constraint: bounds from min_ to max_ of jaccard_overlap, sample_coverage and object_coverage.
    What MobileNet-YOLO adds is refused: yolo_data_type (0), yolo_data_jitter (0.3), train_diffcult, single_class,
    seg_scales, seg_resize_width, seg_resize_height, difficult_label_warmup.
    Source: Liu et al., SSD: Single Shot MultiBox Detector, ECCV 2016; SSD's annotated_data_layer.cpp. Differences: the
    fork compresses an image as JPEG after each step, refuses to distort images that are not encoded, and takes a patch
    if one box meets only the first of several bounds. Random numbers are not the fork's.
    """

    formula = r"y = (x - \text{mean}) \cdot \text{scale}"
    tops = (1, 2)
    reads_fork_fields = ("DataParameter.shuffle",)

    def foresee(self) -> Sequence[Shape]:
        self._check()
        batch_size, samplers = self.param.data_param.batch_size, self.param.annotated_data_param.batch_sampler
        has_boxes = bool(samplers) or self.param.annotated_data_param.HasField("anno_type") or not choose(2)
        return [self.foreseen_images(batch_size), (1, 1, UnknownSize(), 8) if has_boxes else (batch_size,)]

    def open(self) -> AnnotatedBatches | LabelledBatches:
        p, transform = self.param.data_param, self.param.transform_param
        annotated, colors = self.param.annotated_data_param, (transform.force_color, transform.force_gray)
        self._check()
        samplers = list(annotated.batch_sampler)
        transformer = DataTransformer(transform, self.phase, self.where, self.ops.image_order, samplers)
        generator = self.new_generator()
        database = open_records(p, generator, self.where)
        key, value = database.peek()
        try:
            has_boxes = annotated.HasField("anno_type") or parse_annotated_datum(value).HasField("type")
        except DataError as error:
            database.close()
            raise DataError(
                f"record {key!r} of the database {database.path!r} cannot be used: {error.what}", hint=error.hint
            ) from None
        kind = AnnotatedBatches if has_boxes else LabelledBatches
        batches = kind(database, transformer, p.batch_size, generator, *colors)
        if isinstance(batches, AnnotatedBatches):
            batches.boxes = annotated.HasField("anno_type")
        else:
            batches.labelled = len(self.param.top) > 1
        return batches

    def _check(self) -> None:
        p, transform = self.param.data_param, self.param.transform_param
        annotated = self.param.annotated_data_param
        self.check_source("data_param")
        self.refuse_moved("data_param", force_encoded_color="force_color")
        check_samplers(annotated.batch_sampler)
        unread = [descriptor.name for descriptor, _ in annotated.ListFields() if descriptor.name not in _READ]
        if unread:
            self.error(f"{' and '.join(unread)} in annotated_data_param cannot be read here", "Remove them")
        if annotated.anno_type != AnnotatedDatum.BBOX:
            name = AnnotatedDatum.AnnotationType.Name(annotated.anno_type)
            self.error(f"anno_type is {name}", "Only boxes, BBOX, can be read")
        keeps_aspect = transform.resize_param.resize_mode == ResizeParameter.FIT_SMALL_SIZE
        if keeps_aspect and p.batch_size > 1 and not any(crop_shape(transform)):
            self.error(
                f"batch_size is {p.batch_size}, and FIT_SMALL_SIZE gives images of different sizes",
                "Set batch_size: 1, a crop_size, or another resize_mode",
            )
