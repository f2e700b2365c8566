"""The base class of layers that deliver images and the labels of their pixels."""

from __future__ import annotations

import abc

from ...blobs.unknown import Shape
from .list_layer import ListLayer


class LabelMapLayer(ListLayer, abc.ABC):
    """A ListLayer with the tops data (N, C, H, W) and label (N, 1, H, W), whose transform_param moves both alike."""

    formula = r"y = (x - \text{mean}) \cdot \text{scale}"
    tops = (2, 2)

    def check_transform(self, *unread: str) -> None:
        """Refuse fields of transform_param that would change the images and not their labels, and ``unread`` ones."""
        for field in ("resize_param", "expand_param", *unread):
            if self.param.transform_param.HasField(field):
                self.error(f"{field} in transform_param cannot be read here", "Remove it")

    def foreseen_maps(
        self, batch_size: int, channels: int, height: int = 0, width: int = 0, label_factor: int = 1
    ) -> list[Shape]:
        """Return the shapes of both tops; 0 means a size that only the images tell."""
        images = self.foreseen_images(batch_size, channels, height, width)
        return [images, (batch_size, 1, *(side // label_factor for side in images[2:]))]
