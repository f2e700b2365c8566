"""SpatialDropout: in training, sets whole channels to 0 at random."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import register_layer
from ..proto.caffe_pb2 import LayerParameter
from .dropout import DropoutLayer


@register_layer("SpatialDropout")
class SpatialDropoutLayer(DropoutLayer):
    """In TRAIN y = x * m, with one m for each channel of each sample, as Dropout draws it; in TEST y = x.

    Bottom and top: (N, C, ...). Reads ``spatial_dropout_param``: dropout_ratio (0.5), at least 0 and below 1; or
    ``dropout_param``, as Dropout does.
    Source: Tompson et al. 2015; spatial_dropout_layer.cpp of Intel's Caffe. Difference: Intel's reads dropout_param
    alone.
    """

    formula = r"y_c = \begin{cases} 0 & \text{with probability } r \\ \frac{x_c}{1 - r} & \text{else} \end{cases}"

    @staticmethod
    def caption(param: LayerParameter) -> str:
        return f"{_ratio(param):.3g}"

    def ratio_given(self) -> float:
        return _ratio(self.param)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) < 2:
            self.error(f"the bottom's shape {shape} has {len(shape)} axes", "it needs 2 or more: (N, C, ...)")
        super().Reshape(bottom, top)
        self.drawn = (*shape[:2], *[1] * (len(shape) - 2))


def _ratio(param: LayerParameter) -> float:
    own = param.HasField("spatial_dropout_param")
    return param.spatial_dropout_param.dropout_ratio if own else param.dropout_param.dropout_ratio
