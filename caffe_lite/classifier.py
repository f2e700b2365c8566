"""pycaffe's Classifier: a net that recognises the content of images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import NetError
from .ops import set_mode_cpu, set_mode_gpu
from .pycaffe.images import NoImages, Transformer, oversample, resize_image
from .pycaffe.net import TEST, Net

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .proto.caffe_pb2 import NetParameter


class ImageNet(Net):
    """A net for TEST whose first input takes images (H, W, C), through ``transformer``.

    ``gpu``, an argument of 2014, calls ``set_mode_gpu()`` or ``set_mode_cpu()`` first.
    """

    def __init__(
        self,
        model_file: str | os.PathLike[str] | NetParameter,
        pretrained_file: str | os.PathLike[str] | None,
        mean: ArrayLike | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        gpu: bool | None = None,
        **options: Any,
    ) -> None:
        if gpu is not None:
            (set_mode_gpu if gpu else set_mode_cpu)()
        super().__init__(model_file, TEST, weights=pretrained_file, **options)
        shape = self.blobs[self.inputs[0]].shape if self.inputs else ()
        if len(shape) != 4:
            raise NetError(
                f"the net takes no images: its first input is of shape {shape}" if shape else "the net has no input",
                hint="begin a deploy net with a layer of type Input whose shape is N, C, H, W",
            )
        self.input_name = self.inputs[0]
        self.transformer = Transformer({self.input_name: shape})
        self.transformer.set_transpose(self.input_name, (2, 0, 1))
        if mean is not None:
            self.transformer.set_mean(self.input_name, mean)
        if input_scale is not None:
            self.transformer.set_input_scale(self.input_name, input_scale)
        if raw_scale is not None:
            self.transformer.set_raw_scale(self.input_name, raw_scale)
        if channel_swap is not None:
            self.transformer.set_channel_swap(self.input_name, channel_swap)

    def predictions(self, images: Sequence[ArrayLike] | np.ndarray) -> np.ndarray:
        """Return the first output for each image."""
        if not len(images):
            raise NoImages("there are no images")
        batch = np.stack([self.transformer.preprocess(self.input_name, image) for image in images])
        inputs: dict[str, Any] = {self.input_name: batch}
        return self.forward_all(**inputs)[self.outputs[0]]


class Classifier(ImageNet):
    """A net that classifies images.

    Args:
        model_file, pretrained_file: the prototxt and its weights.
        image_dims: (height, width) to which images are resized before they are cropped to the net's input size.
        mean, input_scale, raw_scale, channel_swap: see ``caffe_lite.io.Transformer``.
    """

    def __init__(
        self,
        model_file: str | os.PathLike[str] | NetParameter,
        pretrained_file: str | os.PathLike[str] | None = None,
        image_dims: Sequence[int] | None = None,
        mean: ArrayLike | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model_file, pretrained_file, mean, input_scale, raw_scale, channel_swap, **options)
        self.crop_dims = np.array(self.blobs[self.input_name].shape[2:])
        self.image_dims = tuple(image_dims) if image_dims is not None and len(image_dims) else tuple(self.crop_dims)
        if any(size < crop for size, crop in zip(self.image_dims, self.crop_dims, strict=True)):
            raise NetError(
                f"image_dims {tuple(map(int, self.image_dims))} are smaller than what the net takes: "
                f"{tuple(map(int, self.crop_dims))}"
            )

    def predict(self, inputs: Sequence[ArrayLike], oversample: bool = True) -> np.ndarray:
        """Return the probabilities (N, classes) for images (H, W, C), as ``load_image`` returns them.

        With ``oversample``, they are the mean over ten crops: the corners, the center, and these mirrored; without it,
        they are those of the center.
        """
        if not len(inputs):
            raise NoImages("there are no images")
        images = [resize_image(image, self.image_dims) for image in inputs]
        if oversample:
            found = self.predictions(_ten_crops(images, self.crop_dims.tolist()))
            return found.reshape(len(found) // 10, 10, -1).mean(1)
        (top, left), (height, width) = (np.array(self.image_dims) - self.crop_dims) // 2, self.crop_dims
        return self.predictions([image[top : top + height, left : left + width] for image in images])


_ten_crops = oversample  # the argument of predict hides the function
