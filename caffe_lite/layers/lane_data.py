"""LaneData: batches of images of roads with their lanes, from a database."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs.unknown import Shape
from ..data.annotated.batches import WITH_BOXES
from ..data.annotated.lanes import LANES, POINTS, LaneBatches
from ..data.databases.opening import open_records
from ..data.transform import DataTransformer
from ..layer import register_layer
from ..proto.caffe_pb2 import AnnotatedDatum
from .annotated_data import AnnotatedDataLayer


@register_layer("LaneData")
class LaneDataLayer(AnnotatedDataLayer):
    """Images from a database of AnnotatedDatum records of type LANE, in the order of their keys or shuffled.

    Images are treated as in AnnotatedData, and lanes go along.
    Tops: data (N, C, H, W); optionally label (N, 5, 64, 3): for each of at most 5 lanes and 64 points, from the last
    one of the record to the first, x, y, and the number of the lane, or -1 if the point is outside the image or there
    is none; optionally maps (N, 1, h, w): 1 on lines between the points of a lane that are inside, else 0.
    Reads ``annotated_data_param``: batch_sampler; yolo_data_type (0; with 1 and no samplers, patches are drawn as
    AnnotatedData does with it) and yolo_data_jitter (0.3); seg_scales (8: the maps are an eighth as high and wide as
    the image), seg_resize_height and seg_resize_width (0), in place of that; label_map_file, anno_type and
    train_diffcult change nothing. ``data_param``, ``transform_param``: as in AnnotatedData.
    Source: lane_data_layer.cpp of MobileNet-YOLO. Differences: where there is no point, the label is -1 (the original's
    is undefined); points are mirrored with the image (the original mirrors the image and the map only); lanes beyond
    the fifth and points beyond the 64th are left out (the original writes outside the blob); without samplers and
    yolo_data_type, the whole image is taken (the original divides by 0); expand_param, a crop and padding are refused
    (its lanes do not fit the image then).
    """

    types = (AnnotatedDatum.LANE, *WITH_BOXES)
    masks_are = "lanes"

    def foresee(self) -> Sequence[Shape]:
        self._check()
        self._check_masks()
        batch_size = self.param.data_param.batch_size
        images = self.foreseen_images(batch_size)
        maps = self._masks(None).shape(*images[2:])
        return [images, (batch_size, LANES, POINTS, 3), (batch_size, *maps)]

    def open(self) -> LaneBatches:
        p, transform = self.param.data_param, self.param.transform_param
        annotated = self.param.annotated_data_param
        self._check()
        self._check_masks()
        jitter = annotated.yolo_data_jitter if annotated.yolo_data_type else 0
        samplers = list(annotated.batch_sampler)
        transformer = DataTransformer(transform, self.phase, self.where, self.ops.image_order, samplers, jitter)
        generator = self.new_generator()
        database = open_records(p, generator, self.where)
        colors = (transform.force_color, transform.force_gray)
        batches = LaneBatches(database, transformer, p.batch_size, generator, *colors)
        batches.masks = self._masks(None)
        return batches
