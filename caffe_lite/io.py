"""pycaffe's `caffe.io`: arrays to and from the messages of weights files, mean files and databases; images."""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import Any

import numpy as np

from .errors import WeightsError, Where
from .net.weights import read_weights
from .proto.arrays import (
    PROTOBUF_LIMIT,
    array_to_blobproto,
    array_to_datum,
    arraylist_to_blobprotovecor_str,
    arraylist_to_blobprotovector_str,
    blobproto_to_array,
    blobprotovector_str_to_arraylist,
    datum_to_array,
)
from .pycaffe.images import Transformer, import_skimage, import_zoom, load_image, oversample, resize, resize_image

__all__ = [
    "PROTOBUF_LIMIT",
    "Transformer",
    "array_to_blobproto",
    "array_to_datum",
    "arraylist_to_blobprotovecor_str",
    "arraylist_to_blobprotovector_str",
    "blobproto_to_array",
    "blobprotovector_str_to_arraylist",
    "datum_to_array",
    "load_image",
    "load_weights",
    "oversample",
    "resize",
    "resize_image",
]


def load_weights(path: str | os.PathLike[str]) -> OrderedDict[str, list[np.ndarray | None]]:
    """Return the learned blobs in a weights file by the names of their layers; neither a net nor its data is needed.

    None stands for a blob that an HDF5 file holds only with another layer, which shares it.
    """
    weights: OrderedDict[str, list[np.ndarray | None]] = OrderedDict()
    for layer in read_weights(path):
        if layer.blobs and layer.name in weights:
            raise WeightsError(
                f"two layers with learned blobs are named {layer.name!r}",
                where=Where(os.fspath(path)),
                hint="caffe-lite inspect shows both",
            )
        if layer.blobs:
            weights[layer.name] = layer.blobs
    return weights


def __getattr__(name: str) -> Any:
    """Import scikit-image or SciPy's zoom, names in pycaffe's module, only when a script asks for them."""
    if name in ("skimage", "zoom"):
        return import_skimage() if name == "skimage" else import_zoom()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
