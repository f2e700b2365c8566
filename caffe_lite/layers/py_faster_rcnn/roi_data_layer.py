"""roi_data_layer.layer: images with regions, or with objects, for training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...data.images.image import import_cv2
from ...errors import DataError, LayerError
from ...pycaffe.blob import HostBlob
from ...pycaffe.layer import UserLayer
from .config import cfg
from .param_str import settings
from .proposal_layer import write
from .sampling import by_class, draw_regions

Entry = dict[str, Any]


class RoIDataLayer(UserLayer):
    """Batches of images from a list that ``set_roidb`` gives, in a random order that is drawn anew for each round.

    param_str has num_classes. Tops: the images, (N, 3, H, W), smaller ones with zeros behind them; with
    ``cfg.TRAIN.HAS_RPN`` the height, width and scale of the one image, (1, 3), and its objects, (G, 5); else regions
    (R, 5), their labels (R), and with ``cfg.TRAIN.BBOX_REG`` deltas, inside and outside weights, (R, 4 num_classes).
    An entry of the list has image, the path; flipped; width and height; boxes; with HAS_RPN gt_classes, else
    max_overlaps, max_classes and bbox_targets.
    Difference: USE_PREFETCH is no setting; images are read as they are needed.
    """

    roidb: Sequence[Entry] = ()

    def setup(self, bottom: Sequence[HostBlob], top: Sequence[HostBlob]) -> None:
        self.num_classes = settings(self.param_str, "num_classes")["num_classes"]
        config, columns = cfg.TRAIN, 4 * self.num_classes
        shapes: dict[str, tuple[int, ...]] = {"data": (config.IMS_PER_BATCH, 3, max(config.SCALES), config.MAX_SIZE)}
        if config.HAS_RPN:
            shapes |= {"im_info": (1, 3), "gt_boxes": (1, 5)}
        else:
            shapes |= {"rois": (1, 5), "labels": (1,)}
            if config.BBOX_REG:
                shapes |= dict.fromkeys(("bbox_targets", "bbox_inside_weights", "bbox_outside_weights"), (1, columns))
        if len(top) != len(shapes):
            raise LayerError(
                f"it has {len(top)} tops, and HAS_RPN {config.HAS_RPN} and BBOX_REG {config.BBOX_REG} give "
                f"{len(shapes)}: {', '.join(shapes)}",
                hint=f"set them in {cfg.__module__}.cfg.TRAIN before the net is made, or change the tops",
            )
        for blob, shape in zip(top, shapes.values(), strict=True):
            blob.reshape(*shape)

    def set_roidb(self, roidb: Sequence[Entry]) -> None:
        """Take the images that the layer reads, at least as many as a batch has."""
        self.roidb = roidb
        self._shuffle()

    def reshape(self, bottom: Sequence[HostBlob], top: Sequence[HostBlob]) -> None:
        """Do nothing: the shapes of the tops are those of the batch."""

    def forward(self, bottom: Sequence[HostBlob], top: Sequence[HostBlob]) -> None:
        if not self.roidb:
            raise LayerError("it has no images", hint="call net.layers[i].set_roidb(roidb) before the first pass")
        for blob, values in zip(top, batch([self.roidb[i] for i in self._next()], self.num_classes), strict=True):
            write(blob, values)

    def backward(self, top: Sequence[HostBlob], propagate_down: Sequence[bool], bottom: Sequence[HostBlob]) -> None:
        """Do nothing: there are no bottoms."""

    def _shuffle(self) -> None:
        """Draw the order of the next round; with ASPECT_GROUPING wide images are paired with wide ones."""
        self.cursor = 0
        if not cfg.TRAIN.ASPECT_GROUPING:
            self.order = np.random.permutation(len(self.roidb))
            return
        wide = np.array([entry["width"] >= entry["height"] for entry in self.roidb])
        order = np.concatenate([np.random.permutation(np.flatnonzero(part)) for part in (wide, ~wide)])
        if len(order) % 2:
            raise LayerError(
                f"ASPECT_GROUPING makes pairs of {len(order)} images",
                hint="add the flipped images, or set cfg.TRAIN.ASPECT_GROUPING = False",
            )
        pairs = order.reshape(-1, 2)
        self.order = pairs[np.random.permutation(len(pairs))].ravel()

    def _next(self) -> np.ndarray:
        size = cfg.TRAIN.IMS_PER_BATCH
        if self.cursor + size >= len(self.roidb):  # as in the original, which never reaches the last
            self._shuffle()
        self.cursor += size
        return self.order[self.cursor - size : self.cursor]


def batch(entries: Sequence[Entry], num_classes: int) -> list[np.ndarray]:
    """Return the values of the tops for these images."""
    config = cfg.TRAIN
    drawn = np.random.randint(0, len(config.SCALES), len(entries))
    if config.BATCH_SIZE % len(entries):
        raise LayerError(
            f"BATCH_SIZE is {config.BATCH_SIZE}, which {len(entries)} images cannot share evenly",
            hint="set BATCH_SIZE to a multiple of IMS_PER_BATCH",
        )
    images, scales = zip(*(_image(e, config.SCALES[i]) for e, i in zip(entries, drawn, strict=True)), strict=True)
    data = np.zeros((len(images), *np.max([image.shape for image in images], 0)), np.float32)
    for place, image in zip(data, images, strict=True):
        place[: image.shape[0], : image.shape[1]] = image
    blob = data.transpose(0, 3, 1, 2)
    if config.HAS_RPN:
        if len(entries) != 1:
            raise LayerError(f"a batch has {len(entries)} images", hint="with HAS_RPN set IMS_PER_BATCH to 1")
        objects = np.flatnonzero(entries[0]["gt_classes"])
        found = np.column_stack([entries[0]["boxes"][objects] * scales[0], entries[0]["gt_classes"][objects]])
        return [blob, np.array([[*blob.shape[2:], scales[0]]]), found]
    parts = [
        _regions(number, entry, scale, len(entries), num_classes)
        for number, (entry, scale) in enumerate(zip(entries, scales, strict=True))
    ]
    regions, labels, targets, weights = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return [blob, regions, labels, *([targets, weights, weights > 0] if config.BBOX_REG else [])]


def _image(entry: Entry, size: int) -> tuple[np.ndarray, float]:
    """Return an image with its shorter side as long as ``size``, less the mean, and its scale."""
    cv2 = import_cv2()
    image = cv2.imread(entry["image"])
    if image is None:
        raise DataError(f"{entry['image']!r} is no image that can be read", hint="check the paths in the roidb")
    if entry["flipped"]:
        image = image[:, ::-1]
    image = (image - cfg.PIXEL_MEANS).astype(np.float32)
    scale = size / min(image.shape[:2])
    if np.round(scale * max(image.shape[:2])) > cfg.TRAIN.MAX_SIZE:
        scale = cfg.TRAIN.MAX_SIZE / max(image.shape[:2])
    return cv2.resize(image, None, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR), scale


def _regions(number: int, entry: Entry, scale: float, images: int, num_classes: int) -> tuple[np.ndarray, ...]:
    """Return the regions drawn of an image, their labels, deltas and weights."""
    index, foreground = draw_regions(entry["max_overlaps"], cfg.TRAIN.BATCH_SIZE // images)
    labels = entry["max_classes"][index]
    labels[foreground:] = 0
    targets = entry["bbox_targets"][index]
    regions = np.insert(entry["boxes"][index] * scale, 0, number, 1)
    return regions, labels, *by_class(targets[:, 0], targets[:, 1:], num_classes)
