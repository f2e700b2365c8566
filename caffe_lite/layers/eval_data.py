"""EvalData: images and the objects in them, for testing a detector."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs.unknown import Shape, UnknownSize
from ..data.order import Order
from ..data.windows.object_batches import (
    CHANNELS,
    COLUMNS,
    EvalBatches,
    check_objects_transform,
    check_pairs,
    eval_size,
)
from ..data.windows.object_file import ObjectFile
from ..layer import register_layer
from ..logs.log import logger
from .common.batch_layer import BatchLayer


@register_layer("EvalData")
class EvalDataLayer(BatchLayer):
    """y = (x - mean) * scale over resized images, in the order of a file, over and over again.

    With resize_width and resize_height all images get this size; with short_size and long_size they keep the ratio of
    their sides, the shorter one becomes short_size, and each is then at most long_size. At last both sides are rounded
    to multiples of 32, at least 32.
    Tops: data (N, 3, H, W), in the order B, G, R; the objects (G, 8, 1, 1), each the number of its image in the batch,
    x1, y1, x2, y2, class, ignored, difficult, or one row of -1s if there is none; optionally the sizes of the images,
    (N, 2, 1, 1), height and width.
    Reads ``eval_data_param``: source, see ObjectFile; batch_size, 1 unless all images get one size; resize_width,
    resize_height, short_size, long_size; root_folder (""), put before each path. Its scale (1) is not read.
    ``transform_param``: mean_value, scale (1). ``data_param``: prefetch (4).
    Paths are relative to the working directory or, unlike in the original, to the folder of the prototxt.
    Source: eval_data_layer.cpp of Cascade R-CNN's Caffe. Where it reads other memory or dies, an error is raised:
    images not numbered from 0 on. One field of a pair alone is an error (theirs ignores it).
    """

    formula = r"y = (x - \text{mean}) \cdot \text{scale}"
    tops = (2, 3)

    def foresee(self) -> Sequence[Shape]:
        p = self.param.eval_data_param
        self.check_source("eval_data_param")
        check_objects_transform(self.param.transform_param)
        check_pairs(p, (("resize_width", "resize_height"), ("short_size", "long_size")))
        one_size = p.HasField("resize_width")
        if p.batch_size > 1 and not one_size:
            self.error(
                f"batch_size is {p.batch_size}, and images may have several sizes",
                "Set batch_size to 1, or give resize_width and resize_height",
            )
        size = eval_size(p, 1, 1) if one_size else (UnknownSize(), UnknownSize())
        return [(p.batch_size, CHANNELS, *size), (UnknownSize(), COLUMNS, 1, 1), (p.batch_size, 2, 1, 1)]

    def open(self) -> EvalBatches:
        p = self.param.eval_data_param
        self.foresee()
        logger.info("Window data layer:\n  batch size: %d\n  root_folder: %s", p.batch_size, p.root_folder)
        images = ObjectFile(p.source, self.where, "eval_data_param")
        order = Order(f"images in {images.file!r}", len(images.paths))
        return EvalBatches(
            p,
            images,
            p.root_folder,
            self.param.transform_param,
            self.ops.image_order,
            order,
            self.new_generator(),
            self.where,
        )
