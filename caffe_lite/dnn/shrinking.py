"""shrinkCaffeModel: weights in half precision."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..net.weights import read_caffemodel, write_message
from ..proto.arrays import array_to_half_blobproto, blobproto_to_array
from .errors import also_cv2_error


@also_cv2_error()
def shrinkCaffeModel(src: str | os.PathLike[str], dst: str | os.PathLike[str], layersTypes: Sequence[str] = ()) -> None:
    """Write a .caffemodel with the learned arrays of layers of these types in half precision, which OpenCV reads.

    Without types, they are those of Convolution and InnerProduct.
    """
    model = read_caffemodel(src)
    for layer in model.layer:
        if layer.type in (layersTypes or ("Convolution", "InnerProduct")):
            shrunk = [array_to_half_blobproto(blobproto_to_array(blob)) for blob in layer.blobs]
            del layer.blobs[:]
            layer.blobs.extend(shrunk)
    write_message(dst, model)
