"""FlowAugmentation: the flow between two images that were transformed."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..proto.caffe_pb2 import LayerParameter
from .common import augmentation


@register_layer("FlowAugmentation")
class FlowAugmentationLayer(Layer):
    """The flow between two crops that DataAugmentation has made, from the flow between their images.

    Each pixel of the first crop is followed to its place p in the first image, with the flow of the nearest pixel to
    the second image, and from there to the second crop.
    Bottoms: flows (N, 2, H, W), in pixels, right and down; the coefficients of the first images and of the second
    (N, 42, 1, 1). Top: (N, 2, crop_height, crop_width). There is no gradient.
    Reads ``augmentation_param``: crop_width, crop_height.
    A net with this layer cannot be compiled, because it computes on the host.
    Source: flow_augmentation_layer.cpp of FlowNet2. Differences: outside the image, the flow is that of the border (the
    original reads another row's or another image's); it runs on CPUs, the original only on GPUs.
    """

    kind = Kind.DATA
    formula = r"y(q) = T_2^{-1}(p + f(p)) - q, \quad p = T_1(q)"
    bottoms = (3, 3)
    not_differentiable = (0, 1, 2)

    @staticmethod
    def caption(param: LayerParameter) -> str:
        p = param.augmentation_param
        return f"{p.crop_width} x {p.crop_height}"

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.augmentation_param
        if not (p.crop_width and p.crop_height):
            self.error(f"the crop is {p.crop_width} x {p.crop_height}", "give a crop_width and a crop_height above 0")
        self.crop = (p.crop_height, p.crop_width)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) != 4 or shape[1] != 2:
            self.error(f"the flows have the shape {shape}", "give (N, 2, H, W)")
        for blob in bottom[1:]:
            augmentation.check_rows(self, blob.shape, shape[0])
        top[0].Reshape((shape[0], 2, *self.crop))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        flows, *rows = (self.ops.host_view(blob.data) for blob in bottom)
        first, second = (
            augmentation.matrices(
                self, augmentation.decoded(r.reshape(len(r), len(augmentation.NAMES))), self.crop, flows.shape[2:]
            )
            for r in rows
        )
        top[0].data = self.ops.asarray(augmentation.moved_flow(flows, first, second, self.crop))
