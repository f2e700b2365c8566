"""Batches of images with the boxes of their objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from ...errors import DataError
from ...proto.caffe_pb2 import AnnotatedDatum, Datum
from ..augmentation.augmentation import cut
from ..augmentation.objects import BOX, mirror, project
from ..augmentation.resizing import rescale
from ..batches import Batch, Decoded, RecordBatches
from ..boxes import centred
from ..databases.database import Record
from ..databases.datum import image_of
from ..order import Place
from ..transform import Shape
from .annotated_datum import objects_of, parse_annotated_datum
from .masks import Masks, mask_of

L = TypeVar("L")

_NOTHING = -np.ones((1, 8), np.float32)
_TURN = 10  # batches of the same size, where there are several sizes
WITH_BOXES = (AnnotatedDatum.BBOX, AnnotatedDatum.BBOXandSeg)
MOST = 300  # objects of an image, in the form of YOLO


class Annotated(NamedTuple):
    """The objects in an image, and its mask (H, W) if it is asked for."""

    objects: np.ndarray
    mask: np.ndarray | None


class AnnotatedDatumBatches(RecordBatches[L]):
    """Batches from a database of AnnotatedDatum records.

    Where there are several sizes for images, one of them is drawn for every ten batches.
    """

    batches = 0

    def datum(self, record: Record) -> Datum:
        return parse_annotated_datum(record[1]).datum

    def image(self, record: AnnotatedDatum) -> np.ndarray:
        return image_of(record.datum, self.force_color, self.force_gray)

    def load(self) -> Batch:
        augmentation = self.transformer.augmentation
        if len(augmentation.sizes) > 1 and self.batches % _TURN == 0:
            augmentation.draw_size(self.rng)
        self.batches += 1
        return super().load()

    def place(self) -> Place:
        if len(self.transformer.augmentation.sizes) < 2:
            return super().place()
        return {**super().place(), "batches": self.batches, "size": self.transformer.augmentation.size}

    def seek(self, place: Place) -> None:
        super().seek(place)
        self.batches, self.transformer.augmentation.size = place.get("batches", 0), place.get("size", 0)


class AnnotatedBatches(AnnotatedDatumBatches[Annotated]):
    """Images (N, C, H, W), and rows (1, 1, n, 8) of the objects that are still in them after augmentation.

    A row is the number of the image in its batch, label, instance_id, xmin, ymin, xmax, ymax, difficult. A batch
    without any object has one row of -1. ``boxes`` says that records without a type hold boxes, too. With ``masks``
    there are also maps (N, C, h, w) of what is in the images.
    """

    boxes = False
    masks: Masks | None = None

    def shapes(self) -> list[Shape]:
        """Return the shapes of the next batch, unless patches are drawn: then those of an unlucky draw."""
        images, _ = super().shapes()
        _, (objects, _) = self.decode(self.peek())
        return [images, (1, 1, max(1, len(objects)), 8), *self._maps_shape(images)]

    def _maps_shape(self, images: Shape) -> list[Shape]:
        return [] if self.masks is None else [(self.batch_size, *self.masks.shape(*images[2:]))]

    def decode(self, record: Record) -> tuple[np.ndarray, Annotated]:
        annotated = parse_annotated_datum(record[1])
        if not (self.boxes or annotated.HasField("type")):
            raise DataError(
                "it has no annotation type, and the first has",
                hint="Set anno_type: BBOX in annotated_data_param if all annotations are boxes",
            )
        if annotated.type not in WITH_BOXES and not self.boxes:
            raise DataError(
                f"its annotations are of type {AnnotatedDatum.AnnotationType.Name(annotated.type)}",
                hint="Only boxes, BBOX, can be read",
            )
        mask = None if self.masks is None else mask_of(annotated.datum)
        return self.image(annotated), Annotated(objects_of(annotated.annotation_group), mask)

    def augment(self, image: np.ndarray, label: Annotated, rng: np.random.Generator) -> tuple[np.ndarray, Annotated]:
        image, objects, patch = self.transformer.augmentation.with_patch(image, label.objects, rng)
        mask = label.mask if label.mask is None or patch is None else cut(label.mask[None], patch)[0]
        return image, Annotated(objects, mask)

    def transform(self, images: Sequence[np.ndarray], labels: Sequence[Annotated]) -> tuple[np.ndarray, ...]:
        crops = self.transformer.choose([image.shape for image in images], self.rng)
        batch = self.transformer.apply(images, crops)
        height, width = batch.shape[2:]
        augmentation = self.transformer.augmentation
        rows, maps = [], []
        for image, (objects, mask), row, column, step in zip(images, labels, *crops, strict=True):
            crop = np.array([column, row, column + width, row + height], np.float32)
            crop /= np.array(image.shape[:0:-1] * 2, np.float32)
            inside = project(objects, crop, augmentation.emit)
            inside = rescale(augmentation.resize, mirror(inside) if step < 0 else inside, height, width)
            rows.append(inside)
            if self.masks is not None and mask is not None:
                maps.append(self.masks.maps(mask, height, width)[:, :, ::step])
        return (batch, self.label_array(rows), *([np.stack(maps)] if maps else []))

    def label_array(self, objects: Sequence[np.ndarray]) -> np.ndarray:
        """Return the second array of a batch: the objects of each image, (n, 7)."""
        found = np.concatenate([np.insert(rows, 0, number, axis=1) for number, rows in enumerate(objects)])
        return (found if len(found) else _NOTHING)[None, None]


class YoloBatches(AnnotatedBatches):
    """Images (N, C, H, W), and lists (N, 1, 300, 5) of the objects in each.

    A row of a list is class, x, y, width, height, the class from 0 on and x, y the centre; zeros follow the last one.
    ``difficult`` says whether difficult objects are among them.
    """

    difficult = True

    def shapes(self) -> list[Shape]:
        images = super().shapes()[0]
        return [images, (self.batch_size, 1, MOST, 5), *self._maps_shape(images)]

    def label_array(self, objects: Sequence[np.ndarray]) -> np.ndarray:
        lists = np.zeros((len(objects), 1, MOST, 5), np.float32)
        for place, rows in zip(lists, objects, strict=True):
            listed = (rows if self.difficult else rows[rows[:, 6] == 0])[:MOST]
            place[0, : len(listed), 0], place[0, : len(listed), 1:] = listed[:, 0] - 1, centred(listed[:, BOX])
        return lists


class LabelledBatches(AnnotatedDatumBatches[int]):
    """Images (N, C, H, W) and labels (N) from AnnotatedDatum records without annotations.

    ``labelled`` requires each of them to have a label.
    """

    labelled = True

    def decode(self, record: Record) -> Decoded:
        annotated = parse_annotated_datum(record[1])
        if self.labelled and not annotated.datum.HasField("label"):
            raise DataError("it has neither annotations nor a label", hint="Leave out the second top, or make it again")
        return self.image(annotated), annotated.datum.label
