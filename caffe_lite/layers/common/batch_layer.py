"""The base class of layers that deliver batches: it reads ahead, and resumes where a snapshot was taken."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf.message import Message

from ...blobs import Blob
from ...blobs.unknown import Shape, Undetermined, UnknownSize
from ...data.augmentation.augmentation import sizes_of
from ...data.batches import Batch, Batches
from ...data.prefetch import Prefetcher
from ...data.transform import check_transform, crop_shape, has_random_size
from ...errors import CaffeError
from ...layer import Kind, Layer
from ...logs.log import logger
from ...proto.caffe_pb2 import TRAIN, ResizeParameter
from ...proto.schema import MOVED_TO_TRANSFORM
from ...ranks import testing_share, training_share


class BatchLayer(Layer, abc.ABC):
    """A layer without bottoms whose tops hold one batch after another, in the shape that each batch has.

    A background thread reads as many batches ahead as ``prefetch`` in data_param says (4), also for layers with
    parameters of their own, as in the original. A snapshot holds the place in the source and the random state, so that
    resumed training sees exactly the batches that it would have seen; the original starts over. Images are decoded once
    and kept if all decoded images of a source fit into 128 MB; otherwise they are decoded each time, by as many threads
    as there are cores. Workers that train together deal out the records of one order: of N in a row, each takes one.
    """

    kind = Kind.DATA
    bottoms = (0, 0)
    batches: Batches | None = None
    prefetcher: Prefetcher[Batch] | None = None

    @abc.abstractmethod
    def open(self) -> Batches:
        """Check the parameters and open the source."""

    def foresee(self) -> Sequence[Shape]:
        """Check the parameters and return the shapes of a batch as far as these tell; ``open`` begins with the same."""
        raise Undetermined

    def outline(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._check_prefetch()
        self.shapes = self.foresee()
        self.Reshape(bottom, top)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._check_prefetch()
        share = training_share() if self.phase == TRAIN else testing_share()
        self.batches = self.open()
        self.batches.deal(share)
        self.delivered = self.batches.state()
        self.shapes = self.batches.shapes()
        logger.info("output data size: %s", ",".join(map(str, self.shapes[0])))

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for blob, shape in zip(top, self.shapes, strict=False):
            blob.Reshape(shape)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        assert self.batches is not None
        if self.prefetcher is None:
            self.prefetcher = Prefetcher(self.batches.load, self.param.data_param.prefetch)
        batch = self.prefetcher.get()
        self.delivered = batch.state
        self.shapes = [array.shape for array in batch.arrays]
        self.Reshape(bottom, top)
        for blob, array in zip(top, batch.arrays, strict=False):
            blob.data = self.ops.asarray(array)

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Do nothing: the layer has no bottoms."""

    def state(self) -> dict[str, Any]:
        return self.delivered

    def restore_state(self, state: dict[str, Any]) -> None:
        assert self.batches is not None
        self._stop()
        try:
            self.batches.restore_state(state)
        except CaffeError as error:
            raise error.located(self.where, self.name, self.type) from error.__cause__
        except (KeyError, TypeError, ValueError):
            self.error(
                "the snapshot holds the place in a source of another kind", "Resume with the net it was made with"
            )
        self.delivered = self.batches.state()

    def close(self) -> None:
        self._stop()
        if self.batches is not None:
            self.batches.close()

    def _stop(self) -> None:
        if self.prefetcher is not None:
            self.prefetcher.close()
            self.prefetcher = None

    def _check_prefetch(self) -> None:
        if self.param.data_param.prefetch < 1:
            self.error("prefetch is 0", "Give data_param a prefetch of at least 1")

    # -- for subclasses to use ----------------------------------------------------------------------------------------

    def new_generator(self) -> np.random.Generator:
        """Return a random generator for the thread alone, seeded by the net's."""
        return np.random.Generator(np.random.PCG64(int(self.rng.integers(2**63))))

    def foreseen_images(self, batch_size: int, channels: int = 0, height: int = 0, width: int = 0) -> Shape:
        """Return the shape of a batch of images after transform_param; 0 means a size that only the images tell."""
        p = self.param.transform_param
        check_transform(p)
        if not channels and len(p.mean_value) > 1 and not p.is_flow:
            channels = len(p.mean_value)
        if has_random_size(p):
            height, width = 0, 0
        if sizes := sizes_of(p):
            keeps_aspect = any(size.resize_mode == ResizeParameter.FIT_SMALL_SIZE for size in sizes)
            several = {(size.height, size.width) for size in sizes}
            height, width = (0, 0) if keeps_aspect or len(several) > 1 else several.pop()
        crop_height, crop_width = crop_shape(p)
        image = (channels, crop_height or height, crop_width or width)
        return (batch_size, *(size or UnknownSize() for size in image))

    def check_pair(self, message: Message, height: str, width: str) -> None:
        """Refuse a message that gives one of these two sizes without the other."""
        if bool(getattr(message, height)) != bool(getattr(message, width)):
            self.error(f"one of {height} and {width} is given", "Give both, or none")

    def check_source(self, name: str) -> None:
        """Refuse a missing source and an empty batch; ``name`` is the message that holds both fields."""
        if not getattr(self.param, name).source:
            self.error("there is no source", f"Give {name} a source")
        if getattr(self.param, name).batch_size < 1:
            self.error("batch_size is 0", f"Give {name} a batch_size of at least 1")

    def refuse_moved(self, name: str, *, kept: str | None = None, **renamed: str) -> None:
        """Refuse fields that today belong in transform_param; the original ignores them in their old place.

        ``name`` is the message that used to hold them, ``kept`` a field that still has a meaning there, ``renamed`` the
        fields of this message alone, with their names in transform_param.
        """
        moved = {field: field for field in MOVED_TO_TRANSFORM if field != kept} | renamed
        given = [field for field in moved if getattr(self.param, name).HasField(field)]
        if given:
            self.error(
                f"{name} holds {' and '.join(given)}, which belongs into transform_param",
                f"Write {' and '.join(moved[field] for field in given)} there",
            )
