"""GenerateAugmentationParameters: random coefficients for DataAugmentation and FlowAugmentation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from .common import augmentation

_MODES = ("add", "replace", "regenerate")


@register_layer("GenerateAugmentationParameters")
class GenerateAugmentationParametersLayer(Layer):
    """Coefficients as DataAugmentation draws them, by themselves or combined with others.

    Two images of a pair get one augmentation, and the second a little more of its own. In TEST, nothing is drawn.
    Bottoms: images (N, C, H, W), for which coefficients are drawn; or coefficients (N, 42, 1, 1); or coefficients,
    images and their crops, of which only the sizes count. Top: coefficients (N, 42, 1, 1). There is no gradient.
    Reads ``augmentation_param``: mode ("add"), how to combine with the bottom's coefficients: add, or replace those
    that are drawn, or regenerate, from nothing, which is always so for images alone; crop_width and crop_height, unless
    the crops are a bottom; bottomwidth and bottomheight, for coefficients alone; augment_during_test (false) and the
    distributions, see DataAugmentationLayer. num, the batch size of a layer without bottoms, has no effect, because
    there is no such layer. Reads ``coeff_schedule_param``: see DataAugmentationLayer.
    A net with this layer cannot be compiled, because it draws on the host.
    Source: generate_augmentation_parameters_layer.cpp of FlowNet2. Differences: the number of passes goes on after a
    snapshot (in the original it starts again from 0); an unknown mode is an error (there it is a mix of two).
    """

    kind = Kind.DATA
    formula = r"y \sim p(\text{coefficients})"
    bottoms = (1, 3)
    not_differentiable = (0, 1, 2)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.augmentation_param
        if len(bottom) == 2:
            self.error("it has two bottoms", "give it one, or three: coefficients, images and crops")
        if p.mode not in _MODES:
            self.error(f"mode is {p.mode!r}", f"use {', '.join(_MODES)}")
        if len(bottom) == 1 and not (p.crop_width and p.crop_height):
            self.error("there is no crop_width or no crop_height", "give both, or the crops as a third bottom")
        self.drawing = augmentation.Drawing(self)
        self.carried = [Blob(self.ops, (1,))]

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.augmentation_param
        shapes = [blob.shape for blob in bottom]
        self.mode = p.mode
        if len(bottom) == 3:
            if any(len(shape) != 4 for shape in shapes[1:]):
                self.error(f"the images and crops have the shapes {shapes[1]} and {shapes[2]}", "give 4 axes each")
            self.image, self.crop = shapes[1][2:], shapes[2][2:]
        else:
            self.crop = (p.crop_height, p.crop_width)
            if len(shapes[0]) == 4 and (shapes[0][2] > 1 or shapes[0][3] > 1):
                self.mode, self.image = "regenerate", shapes[0][2:]
            elif p.bottomwidth and p.bottomheight:
                self.image = (p.bottomheight, p.bottomwidth)
            else:
                self.error("there is no bottomwidth or no bottomheight", "give the size of the images")
        if self.mode != "regenerate":
            augmentation.check_rows(self, shapes[0], shapes[0][0] if shapes[0] else 0)
        top[0].Reshape((shapes[0][0], len(augmentation.NAMES), 1, 1))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, (count,) = self.ops, self.carried
        count.data = count.data + 1.0
        size = top[0].shape[:2]
        given = np.zeros(size) if self.mode == "regenerate" else ops.host_view(bottom[0].data).reshape(size)
        rows = self.drawing.rows(given, self.mode, ops.host_view(count.data).item(), self.crop, self.image)
        top[0].data = ops.reshape(ops.asarray(rows), top[0].shape)
