"""Images on their way into a net, prepared as its transform_param or users say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..data.augmentation.resizing import resize
from ..data.images.image import channels_first, import_cv2
from ..data.transform import DataTransformer
from ..errors import NetError, Where
from ..logs.log import logger
from ..proto.caffe_pb2 import TEST, ResizeParameter, TransformationParameter
from ..pycaffe.net import Net


class Preparation(NamedTuple):
    """What users say about how images are prepared; None leaves it to the net."""

    mean: Sequence[float] | None = None
    scale: float | None = None
    size: tuple[int, int] | None = None
    rgb: bool = False


class ImageNet:
    """A net that takes one image after the other.

    Images are prepared as the net's transform_param says, where a layer has one: resize_param, mean_value or mean_file,
    and scale. What is random in it, and crops, are left out.
    """

    def __init__(self, net: Net, given: Preparation) -> None:
        self.net, self.rgb = net, given.rgb
        self.input = _image_input(net)
        self.channels = net.blobs[self.input].shape[1]
        if self.channels not in (1, 3):
            hint = "only 1 and 3 are known: give a whole net, not the part of one that takes features"
            raise NetError(f"the net takes images of {self.channels} channels", hint=hint)
        self.transform, where = transform_of(net)
        values = values_of(self.transform, given)
        if values.scale == 1 and not (values.mean_file or values.mean_value):
            logger.info("Neither transform_param nor options give a mean or a scale: the net gets values from 0 to 255")
        self.transformer = DataTransformer(values, TEST, where)

    def usual_resize(self, size: tuple[int, int] | None) -> ResizeParameter:
        """Return how images are resized: to this size, or as transform_param says, or to the size of the input."""
        how = ResizeParameter()
        how.CopyFrom(self.transform.resize_param)
        del how.interp_mode[1:]  # one of several would be drawn
        if size or not self.transform.HasField("resize_param"):
            how.height, how.width = size or self.net.blobs[self.input].shape[2:]
        return how

    def fill(self, image: np.ndarray, how: ResizeParameter) -> tuple[int, int]:
        """Put the resized image into the net; return its height and width there."""
        if self.channels == 1:
            cv2 = import_cv2()
            image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        elif self.rgb:
            image = image[:, :, ::-1]
        resized = resize(how, channels_first(image), np.random.default_rng(0))
        _, height, width = self.transformer.shape(resized.shape)
        blob = self.net.blobs[self.input]
        blob.reshape(1, *resized.shape)
        blob.data[...] = self.transformer([resized], np.random.default_rng(0))
        if "im_info" in self.net.inputs:
            self.net.blobs["im_info"].reshape(1, 3)
            self.net.blobs["im_info"].data[...] = [height, width, height / len(image)]
        return height, width


def _image_input(net: Net) -> str:
    """Return the net's input for images."""
    images = [name for name in net.inputs if len(net.blobs[name].shape) == 4]
    others = set(net.inputs) - {"im_info", "rois", *images}
    if len(images) == 1 and not others:
        return images[0]
    inputs = ", ".join(f"{name} {net.blobs[name].shape}" for name in net.inputs)
    raise NetError(
        f"the net has the inputs {inputs}" if inputs else "the net has no input",
        hint="give a deploy net that takes images, (N, C, H, W), and otherwise at most im_info and rois; "
        "a net that has it as a stage needs --stage",
    )


def transform_of(net: Net) -> tuple[TransformationParameter, Where | None]:
    """Return the transform_param of the net's first layer that has one, and the place of that layer."""
    for node in net.nodes:
        if node.layer.param.HasField("transform_param"):
            return node.layer.param.transform_param, node.layer.where
    return TransformationParameter(), None


def values_of(transform: TransformationParameter, given: Preparation) -> TransformationParameter:
    """Return what is done with the values of a resized image."""
    values = TransformationParameter(scale=transform.scale if given.scale is None else given.scale)
    if given.mean is not None:
        values.mean_value.extend(given.mean)
    elif transform.mean_file:
        values.mean_file = transform.mean_file
    else:
        values.mean_value.extend(transform.mean_value)
    return values
