"""SegData: an image and the labels of its pixels at a time, from the pairs of files that a text file lists."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs.unknown import Shape, UnknownSize
from ..data.image_list import Reading
from ..data.segmentation.pairs import PairList
from ..data.segmentation.strided import StridedPairBatches
from ..data.transform import DataTransformer
from ..layer import register_layer
from .common.map_layer import LabelMapLayer


@register_layer("SegData")
class SegDataLayer(LabelMapLayer):
    """An image in colour and its labels, scaled at random and cropped at a random place to multiples of stride.

    Tops: data (1, 3, H, W), in the order B, G, R; label (1, 1, H, W).
    Reads ``seg_data_param``: source, the list, with the paths of an image and of the image of its labels on each line;
    root_dir (""), put before each path as it is, so with its slash; shuffle (false); balance (false), which draws
    again, up to ten times, while one label has more than 80 percent of the pixels. ``transform_param``: scale_ratios,
    none or two, the smallest and the largest factor; stride (1), which divides the height and width of every crop;
    upper_size, or upper_height and upper_width, their limits; mirror (false); mean_value; scale (1). ``data_param``:
    prefetch (4).
    Labels are gray values, of 8 or 16 bits, or the indices of a PNG whose palette has colours.
    Source: seg_data_layer.cpp and data_transformer.cpp of yjxiong's Caffe. Differences: the original takes any number
    of scale_ratios but two for none, and turns colours of labels into gray values. Random numbers are not the fork's.
    """

    list_param = "seg_data_param"
    reads_fork_fields = tuple(
        f"TransformationParameter.{name}"
        for name in ("scale_ratios", "stride", "upper_size", "upper_height", "upper_width")
    )

    def foresee(self) -> Sequence[Shape]:
        transform = self.param.transform_param
        if not self.param.seg_data_param.source:
            self.error("there is no source", "Give seg_data_param a source")
        self.check_transform("mean_file", "crop_size", "crop_h")
        ratios = list(transform.scale_ratios)
        if len(ratios) not in (0, 2) or ratios != sorted(ratios) or any(ratio <= 0 for ratio in ratios):
            self.error(f"scale_ratios are {ratios}", "Give the smallest and the largest factor, both above 0, or none")
        self.check_pair(transform, "upper_height", "upper_width")
        for field in ("stride", "upper_size", "upper_height", "upper_width"):
            if transform.HasField(field) and getattr(transform, field) < 1:
                self.error(f"{field} is {getattr(transform, field)}", "Use 1 or more")
        height, width = UnknownSize(), UnknownSize()
        return [(1, 3, height, width), (1, 1, height, width)]

    def open(self) -> StridedPairBatches:
        self.foresee()
        p = self.param.transform_param
        transformer = DataTransformer(p, self.phase, self.where, self.ops.image_order)
        rng = self.new_generator()
        pairs, reading = self.open_list(PairList, rng)
        batches = StridedPairBatches(pairs, reading, transformer, 1, rng, self.where)
        if p.scale_ratios:
            batches.factors = (p.scale_ratios[0], p.scale_ratios[1])
        batches.stride, batches.balance = p.stride, self.param.seg_data_param.balance
        if p.HasField("upper_size"):
            batches.upper = (p.upper_size, p.upper_size)
        elif p.HasField("upper_height"):
            batches.upper = (p.upper_height, p.upper_width)
        return batches

    def reading(self, rng: np.random.Generator, count: int) -> Reading:
        p = self.param.seg_data_param
        return Reading(p.root_dir, shuffle=p.shuffle)
