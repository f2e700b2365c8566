"""Batches of images of roads with their lanes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import DataError
from ...proto.caffe_pb2 import AnnotatedDatum
from ..augmentation.objects import NO_OBJECTS
from ..databases.database import Record
from ..images.image import import_cv2
from ..transform import Shape
from .annotated_datum import parse_annotated_datum
from .batches import AnnotatedDatumBatches
from .masks import Masks

LANES, POINTS = 5, 64  # at most, of an image and of a lane

Lanes = list[np.ndarray]  # the points (n, 2) of each lane, x and y as fractions of the image


class LaneBatches(AnnotatedDatumBatches[Lanes]):
    """Images (N, C, H, W), the points of their lanes (N, 5, 64, 3), and maps (N, 1, h, w) with the lanes drawn.

    A row of points is x, y, and the number of the lane, or -1 if the point is outside the image, or there is none.
    """

    masks: Masks

    def shapes(self) -> list[Shape]:
        images = super().shapes()[0]
        return [
            images,
            (self.batch_size, LANES, POINTS, 3),
            (self.batch_size, *self.masks.shape(images[2], images[3])),
        ]

    def decode(self, record: Record) -> tuple[np.ndarray, Lanes]:
        annotated = parse_annotated_datum(record[1])
        if annotated.type != AnnotatedDatum.LANE:
            raise DataError("it has no lanes", hint="A LaneData layer reads records of type LANE")
        lanes = [
            np.array([(each.lanes.x, each.lanes.y) for each in group.annotation], np.float32).reshape(-1, 2)[::-1]
            for group in annotated.annotation_group
        ]
        return self.image(annotated), lanes

    def augment(self, image: np.ndarray, label: Lanes, rng: np.random.Generator) -> tuple[np.ndarray, Lanes]:
        image, _, patch = self.transformer.augmentation.with_patch(image, NO_OBJECTS, rng)
        if patch is not None:
            label = [(points - patch[:2]) / (patch[2:] - patch[:2]) for points in label]
        return image, label

    def transform(self, images: Sequence[np.ndarray], labels: Sequence[Lanes]) -> tuple[np.ndarray, ...]:
        crops = self.transformer.choose([image.shape for image in images], self.rng)
        batch = self.transformer.apply(images, crops)
        points = np.zeros((len(images), LANES, POINTS, 3), np.float32)
        points[..., 2] = -1
        maps = np.zeros((len(images), *self.masks.shape(*batch.shape[2:])), np.float32)
        for place, drawn, lanes, step in zip(points, maps, labels, crops.steps, strict=True):
            for number, lane in enumerate(lanes[:LANES]):
                row = lane[:POINTS]
                inside = ((row >= 0) & (row <= 1)).all(1)
                draw(drawn[0], row[inside])
                place[number, : len(row), :2] = row if step > 0 else row * (-1, 1) + (1, 0)
                place[number, : len(row), 2] = np.where(inside, number, -1)
            drawn[...] = drawn[..., ::step].copy()
        return batch, points, maps


def draw(image: np.ndarray, points: np.ndarray) -> None:
    """Draw lines of ones between points (n, 2), which are fractions of an image (H, W)."""
    places = np.trunc(points * image.shape[::-1]).astype(np.int32)
    if len(places) > 1:
        import_cv2().polylines(image, [places.reshape(-1, 1, 2)], False, 1.0)
