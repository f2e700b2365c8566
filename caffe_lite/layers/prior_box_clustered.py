"""PriorBoxClustered: boxes of given widths and heights around each place of a map."""

from __future__ import annotations

from collections.abc import Callable

from ..layer import register_layer
from ..proto.caffe_pb2 import PriorBoxParameter
from .prior_box import PriorBoxLayer


@register_layer("PriorBoxClustered")
class PriorBoxClusteredLayer(PriorBoxLayer):
    """PriorBox, with a box of each given width and height, such as the centres of clusters of a data set's boxes.

    Bottoms and top: see PriorBoxLayer.
    Reads ``prior_box_param``: width, height (as many), clip (false), variance (0.1; or four), img_size (or img_h,
    img_w), step (or step_h, step_w), offset (0.5).
    Source: prior_box_clustered_layer.cpp of OpenVINO's training toolbox. Difference: a width without a height is an
    error (the original reads memory that is not its own).
    """

    def _sizes(self, p: PriorBoxParameter, pixels: Callable[[float], float]) -> list[tuple[float, float]]:
        if not p.width or len(p.width) != len(p.height):
            self.error(f"it has {len(p.width)} widths and {len(p.height)} heights", "give as many of both")
        if min(*p.width, *p.height) <= 0:
            self.error(f"a width or height is {min(*p.width, *p.height):g}", "give numbers above 0")
        return list(zip(p.width, p.height, strict=True))
