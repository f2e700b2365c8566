"""AnnotatedDatum, the record of SSD's databases: a Datum, and the boxes of its objects by class."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ...errors import DataError
from ...proto.binary import DecodeError, parse_binary
from ...proto.caffe_pb2 import AnnotatedDatum, AnnotationGroup


def parse_annotated_datum(value: bytes) -> AnnotatedDatum:
    """Return the record, or raise a DataError if it is something else, such as a Datum."""
    try:
        record = parse_binary(AnnotatedDatum, value)
        if record.HasField("datum"):
            return record
    except DecodeError:
        pass
    raise DataError(
        "it is not an AnnotatedDatum",
        hint="An AnnotatedData layer reads databases that create-annoset makes; a Data layer reads Datum messages",
    )


def objects_of(groups: Iterable[AnnotationGroup]) -> np.ndarray:
    """Return the objects of annotation groups (n, 7); see augmentation.objects."""
    rows = [
        (group.group_label, annotation.instance_id, box.xmin, box.ymin, box.xmax, box.ymax, box.difficult)
        for group in groups
        for annotation in group.annotation
        for box in (annotation.bbox,)
    ]
    return np.array(rows, np.float32).reshape(-1, 7)
