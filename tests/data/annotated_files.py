"""Databases of AnnotatedDatum records for tests: real LMDBs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from caffe_lite.proto import caffe_pb2
from tests.data.database_files import Record, datum, random_images, write_lmdb

# label, instance_id, xmin, ymin, xmax, ymax, difficult
Object = tuple[int, int, float, float, float, float, int]


def annotated(image: np.ndarray, objects: Iterable[Object], encoded: bool = False) -> caffe_pb2.AnnotatedDatum:
    """Make a record of an image (C, H, W), a PNG if it is encoded, and its objects, grouped by their labels."""
    record = caffe_pb2.AnnotatedDatum(type=caffe_pb2.AnnotatedDatum.BBOX)
    record.datum.ParseFromString(datum(image, -1))
    if encoded:
        cv2 = pytest.importorskip("cv2")
        _, content = cv2.imencode(".png", np.ascontiguousarray(image.transpose(1, 2, 0)))
        record.datum.data, record.datum.encoded = content.tobytes(), True
    for label, instance, xmin, ymin, xmax, ymax, difficult in objects:
        group = next((group for group in record.annotation_group if group.group_label == label), None)
        group = record.annotation_group.add(group_label=label) if group is None else group
        box = caffe_pb2.NormalizedBBox(xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax, difficult=bool(difficult))
        group.annotation.add(instance_id=instance, bbox=box)
    return record


def records(annotated_data: Iterable[caffe_pb2.AnnotatedDatum]) -> list[Record]:
    return [(b"%08d" % i, record.SerializeToString()) for i, record in enumerate(annotated_data)]


def annotated_lmdb(
    folder: Path, images: Iterable[np.ndarray], objects: Iterable[Sequence[Object]], encoded: bool = False
) -> Path:
    pairs = zip(images, objects, strict=True)
    return write_lmdb(folder, records(annotated(image, of_image, encoded) for image, of_image in pairs))


def random_objects(count: int, seed: int = 0) -> list[list[Object]]:
    """Make up to three objects of label 1 or 2 for each of so many images."""
    rng = np.random.default_rng(seed)
    found: list[list[Object]] = []
    for number in range(count):
        found.append([])
        for instance in range(number % 4):
            x, y = sorted(rng.random(2)), sorted(rng.random(2))
            found[-1].append((1 + instance % 2, instance // 2, x[0], y[0], x[1], y[1], instance % 3 == 2))
    return found


def random_annotated_lmdb(folder: Path, count: int, shape: tuple[int, int, int] = (3, 20, 30)) -> Path:
    return annotated_lmdb(folder, random_images(count, shape), random_objects(count), encoded=True)
