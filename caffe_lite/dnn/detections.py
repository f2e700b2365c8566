"""DetectionOutput's rows, as many and in the order in which OpenCV gives them."""

from __future__ import annotations

import numpy as np

from ..proto.caffe_pb2 import LayerParameter


def padded(param: LayerParameter, rows: np.ndarray, images: int) -> np.ndarray:
    """Return the rows (1, 1, keep_top_k images, 7): the best of each image first, and zeros after the last.

    Caffe gives as many rows as there are detections, class by class, and a row of -1 for an image without any.
    """
    found = rows.reshape(-1, rows.shape[-1])
    found = found[found[:, 1] >= 0]
    found = found[np.lexsort((-found[:, 2], found[:, 0]))]
    count = padded_shape(param, images)[2]
    if count < 0:
        return found[None, None]
    out = np.zeros((1, 1, count, rows.shape[-1]), np.float32)
    out[0, 0, : len(found)] = found
    return out


def padded_shape(param: LayerParameter, images: int) -> tuple[int, ...]:
    """Return the shape of the rows; its number of rows is negative if keep_top_k is."""
    return 1, 1, param.detection_output_param.keep_top_k * images, 7
