"""Data: batches of images and labels from a database."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs.unknown import Shape
from ..data.batches import DatumBatches
from ..data.databases.opening import open_records
from ..data.transform import FORK_FIELDS, DataTransformer
from ..layer import register_layer
from .common.batch_layer import BatchLayer


@register_layer("Data")
class DataLayer(BatchLayer):
    """Images from a database of Datum records, in the order of their keys or shuffled, over and over again.

    Tops: data (N, C, H, W); optionally label (N). Each batch takes the height and width of its first image, which all
    its images must have.
    Reads ``data_param``: source, a path relative to the working directory (or, unlike in the original, to the folder of
    the prototxt if nothing is there); batch_size; backend (LEVELDB), or LMDB; prefetch (4), the number of batches to
    read ahead; shuffle (false), to read in another random order in each epoch. ``transform_param``: see
    DataTransformer; force_color and force_gray, for encoded images.
    rand_skip is ignored, as in the original. Fields of data_param that have moved to transform_param are refused
    (force_encoded_color is called force_color there); the original ignores them.
    Source: the original's data_layer.cpp; for shuffle, Intel's data_reader.cpp. Differences: Intel's shuffles LMDB
    only; yjxiong's fork and NVIDIA's read the first epoch in order, and NVIDIA's shuffles only with cache.
    """

    formula = r"y = (x - \text{mean}) \cdot \text{scale}"
    tops = (1, 2)
    reads_fork_fields = (*FORK_FIELDS, "DataParameter.shuffle")

    def foresee(self) -> Sequence[Shape]:
        batch_size = self.param.data_param.batch_size
        self.check_source("data_param")
        self.refuse_moved("data_param", force_encoded_color="force_color")
        return [self.foreseen_images(batch_size), (batch_size,)]

    def open(self) -> DatumBatches:
        p, transform = self.param.data_param, self.param.transform_param
        self.foresee()
        transformer = DataTransformer(transform, self.phase, self.where, self.ops.image_order)
        generator = self.new_generator()
        database = open_records(p, generator, self.where)
        return DatumBatches(database, transformer, p.batch_size, generator, transform.force_color, transform.force_gray)
