"""OpenCV's cv2.dnn for nets of Caffe, whose importer OpenCV 5 no longer has.

``from caffe_lite import dnn`` and ``dnn.readNetFromCaffe(prototxt, caffemodel)``; or ``dnn.install()``, after which
``cv2.dnn.readNetFromCaffe`` and what belongs to it are there. Names are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .blobs import blobFromImage as blobFromImage
    from .blobs import blobFromImages as blobFromImages
    from .blobs import imagesFromBlob as imagesFromBlob
    from .boxes import NMSBoxes as NMSBoxes
    from .boxes import softNMSBoxes as softNMSBoxes
    from .custom import registerLayer as registerLayer
    from .custom import unregisterLayer as unregisterLayer
    from .installation import install as install
    from .models import ClassificationModel as ClassificationModel
    from .models import DetectionModel as DetectionModel
    from .models import KeypointsModel as KeypointsModel
    from .models import Model as Model
    from .models import SegmentationModel as SegmentationModel
    from .net import Layer as Layer
    from .net import Net as Net
    from .reading import readNet as readNet
    from .reading import readNetFromCaffe as readNetFromCaffe
    from .shrinking import shrinkCaffeModel as shrinkCaffeModel

_MODULES = {
    "ClassificationModel": "models",
    "DetectionModel": "models",
    "KeypointsModel": "models",
    "Layer": "net",
    "Model": "models",
    "NMSBoxes": "boxes",
    "Net": "net",
    "SegmentationModel": "models",
    "blobFromImage": "blobs",
    "blobFromImages": "blobs",
    "imagesFromBlob": "blobs",
    "install": "installation",
    "readNet": "reading",
    "readNetFromCaffe": "reading",
    "registerLayer": "custom",
    "shrinkCaffeModel": "shrinking",
    "softNMSBoxes": "boxes",
    "unregisterLayer": "custom",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    module = "constants" if name.isupper() or name.startswith("SoftNMSMethod") else _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{module}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *vars(import_module(".constants", __name__))})
