"""pycaffe's `caffe.io`: arrays to and from the messages of weights files, mean files and databases; images."""

from __future__ import annotations

from typing import Any

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
    "oversample",
    "resize",
    "resize_image",
]


def __getattr__(name: str) -> Any:
    """Import scikit-image or SciPy's zoom, names in pycaffe's module, only when a script asks for them."""
    if name in ("skimage", "zoom"):
        return import_skimage() if name == "skimage" else import_zoom()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
