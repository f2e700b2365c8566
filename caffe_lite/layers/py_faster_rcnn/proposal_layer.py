"""rpn.proposal_layer: the regions where a region-proposal network sees objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...data import boxes
from ...errors import LayerError
from ...onnx_graph import OnnxGraph, Value
from ...pycaffe.blob import HostBlob
from ...pycaffe.layer import UserLayer
from ..common.proposals import Rules, example_of_images
from .config import cfg
from .param_str import settings


class AnchorLayer(UserLayer):
    """Base of the layers that have anchors at each place of a map. There is no gradient.

    param_str has feat_stride, the pixels from one place to the next, and may have scales (8, 16, 32).
    """

    def setup(self, bottom: Sequence[HostBlob], top: Sequence[HostBlob]) -> None:
        self.settings = settings(self.param_str, "feat_stride")
        scales = self.settings.get("scales", (8, 16, 32))
        self.anchors = boxes.anchors(16, (0.5, 1, 2), scales, np.round)

    def reshape(self, bottom: Sequence[HostBlob], top: Sequence[HostBlob]) -> None:
        """Do nothing: the shapes of the tops follow from values."""

    def backward(self, top: Sequence[HostBlob], propagate_down: Sequence[bool], bottom: Sequence[HostBlob]) -> None:
        """Do nothing: the diffs stay 0."""

    def placed_anchors(self, height: int, width: int) -> np.ndarray:
        """Return the anchors at all places, row by row: (height width A, 4)."""
        stride = self.settings["feat_stride"]
        return boxes.on_grid(self.anchors, height, width, (stride, stride)).reshape(-1, 4)


class ProposalLayer(AnchorLayer):
    """The best regions of one image, best first, none of which overlaps a better one too much.

    Bottoms: scores (1, 2 A, H, W), of background, then of objects; deltas (1, 4 A, H, W); height, width and scale of
    the image, (1, 3). Tops: regions (R, 5), each 0 and the corners; their scores (R, 1), if there is a second top.
    """

    columns = (5, 1)
    decides = True

    def setup(self, bottom: Sequence[HostBlob], top: Sequence[HostBlob]) -> None:
        super().setup(bottom, top)
        top[0].reshape(1, 5)
        if len(top) > 1:
            top[1].reshape(1, 1)

    def reshape(self, bottom: Sequence[HostBlob], top: Sequence[HostBlob]) -> None:
        """Note the size of the image; the shapes of the tops follow from values."""
        height, width = bottom[0].shape[2:]
        self.image = height * self.settings["feat_stride"], width * self.settings["feat_stride"]

    def forward(self, bottom: Sequence[HostBlob], top: Sequence[HostBlob]) -> None:
        check_one_image(bottom[0])
        config = cfg[str(self.phase)]
        scores = bottom[0].data[0, len(self.anchors) :].transpose(1, 2, 0).ravel()
        deltas = bottom[1].data.transpose(0, 2, 3, 1).reshape(-1, 4)
        height, width, scale = bottom[2].data[0, :3]
        anchors = self.placed_anchors(*bottom[0].data.shape[2:])
        regions = boxes.clip(boxes.from_deltas(anchors, deltas), width - 1, height - 1)
        large = (regions[:, 2:] - regions[:, :2] + 1 >= config.RPN_MIN_SIZE * scale).all(1)
        best = boxes.best_first(np.where(large, scores, -np.inf), config.RPN_PRE_NMS_TOP_N)
        most = config.RPN_POST_NMS_TOP_N if config.RPN_POST_NMS_TOP_N > 0 else None
        best = best[boxes.nms(regions[best], config.RPN_NMS_THRESH, most=most, inclusive=True)]
        write(top[0], np.insert(regions[best], 0, 0, 1))
        if len(top) > 1:
            write(top[1], scores[best, None])

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        if bottom[0].sizes[0] != 1:
            raise LayerError("it takes one image at a time", hint="Export it for one size of batch, 1")
        config, stride = cfg[str(self.phase)], (self.settings["feat_stride"],) * 2
        most = config.RPN_POST_NMS_TOP_N if config.RPN_POST_NMS_TOP_N > 0 else config.RPN_PRE_NMS_TOP_N
        sizes = (config.RPN_MIN_SIZE,) * 2
        limits = (config.RPN_PRE_NMS_TOP_N, most, config.RPN_NMS_THRESH)
        rules = Rules(self.anchors, stride, *limits, sizes, "before", inclusive=True)
        regions, scores, _ = rules.to_onnx(g, bottom[0], bottom[1], g.slice(bottom[2], [0, 0], [1, 3], [0, 1]))
        return [regions, g.Unsqueeze(scores, [1])][: len(top)]

    def example(self, index: int, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray | None:
        return example_of_images(shape[0], shape[1], *self.image) if index == 2 else None


def check_one_image(blob: HostBlob) -> None:
    """Raise an error unless a bottom holds one image."""
    if blob.shape[0] != 1:
        raise LayerError(f"the first bottom holds {blob.shape[0]} images", hint="this layer takes one at a time")


def write(top: HostBlob, values: Any) -> None:
    """Give a top the shape of these values, and the values."""
    top.reshape(*values.shape)
    top.data[...] = values
