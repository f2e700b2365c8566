"""Finding the class of each pixel of an image with a net that scores them."""

from __future__ import annotations

import numpy as np

from ..data.segmentation.pairs import nearest
from ..errors import NetError
from ..media.preparation import ImageNet, Preparation
from ..proto.caffe_pb2 import ResizeParameter
from ..pycaffe.net import Net

_MOST = 256  # classes


class Labeller(ImageNet):
    """Runs a net on one image after the other and returns the labels of its pixels, in the size of the image.

    ``blob`` names the scores (N, C, H, W), or the labels (N, 1, H, W) that an ArgMax layer makes of them; without a
    name it is the only output of the net with four axes. The label of a pixel is that of the nearest one in the blob.
    With ``as_it_is``, the net gets images in their own size.
    """

    def __init__(self, net: Net, given: Preparation, blob: str | None = None, as_it_is: bool = False) -> None:
        super().__init__(net, given)
        self.blob = _scores(net, blob)
        self.resize: ResizeParameter | None = None
        if given.size:
            self.resize = ResizeParameter(height=given.size[0], width=given.size[1])
        elif not as_it_is:
            self.resize = self.usual_resize(None)
            if self.resize.resize_mode == ResizeParameter.FIT_LARGE_SIZE_AND_PAD:
                raise NetError("resize_param in the net's transform_param pads images", hint="give --size")
        self.is_label = net.blobs[self.blob].shape[1] == 1

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return the labels (H, W), in bytes, of an image (H, W, 3) of bytes, in the order B, G, R."""
        height, width = image.shape[:2]
        self.fill(image, self.resize or ResizeParameter(height=height, width=width))
        self.net.forward([self.blob])
        scores = self.net.blobs[self.blob].data[0]
        labels = scores[0] if self.is_label else scores.argmax(0)
        return nearest(labels.astype(np.uint8), height, width)


def _scores(net: Net, name: str | None) -> str:
    """Return the blob with the scores of pixels; raise NetError if there is none, or more than one."""
    if name is not None and name not in net.blobs:
        raise NetError(f"the net has no blob {name}", hint="give --blob the name of its scores")
    names = [each for each in net.outputs if len(net.blobs[each].shape) == 4] if name is None else [name]
    outputs = ", ".join(f"{each} {net.blobs[each].shape}" for each in net.outputs) or "nothing"
    if len(names) != 1:
        raise NetError(f"the net puts out {outputs}: which are the scores of pixels?", hint="say it with --blob")
    shape = net.blobs[names[0]].shape
    made_by = [node.layer.type for node in net.nodes if names[0] in [blob.name for blob in node.top]]
    if len(shape) != 4 or shape[1] > _MOST or (shape[1] == 1 and made_by[-1:] != ["ArgMax"]):
        raise NetError(
            f"{names[0]} {shape} does not hold scores of the classes of pixels",
            hint=f"give a net that puts out (N, C, H, W), for 2 to {_MOST} classes, or name another blob with --blob",
        )
    return names[0]
