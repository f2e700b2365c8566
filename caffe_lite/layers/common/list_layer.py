"""The base class of layers that read the images of a list."""

from __future__ import annotations

import abc
from typing import ClassVar, TypeVar

import numpy as np

from ...data.image_list import FileList, Reading
from ...logs.log import logger
from .batch_layer import BatchLayer

Images = TypeVar("Images", bound=FileList)


class ListLayer(BatchLayer, abc.ABC):
    """A BatchLayer that reads the images of a list in its order, or in a new random order in each epoch."""

    list_param: ClassVar[str] = "image_data_param"  # the message that holds the source

    def check_list(self) -> None:
        """Refuse a missing source, an empty batch, and one of new_height and new_width alone."""
        p = getattr(self.param, self.list_param)
        self.check_source(self.list_param)
        self.check_pair(p, "new_height", "new_width")

    def open_list(self, kind: type[Images], rng: np.random.Generator) -> tuple[Images, Reading]:
        """Read the list; return it, and how its images are read."""
        p = getattr(self.param, self.list_param)
        logger.info("Opening file %s", p.source)
        images = kind(p.source, self.where, self.list_param)
        reading = self.reading(rng, len(images))
        if reading.shuffle:
            logger.info("Shuffling data")
        logger.info("A total of %d images.", len(images))
        return images, reading

    def reading(self, rng: np.random.Generator, count: int) -> Reading:
        """Return how the ``count`` images of the list are read."""
        p = getattr(self.param, self.list_param)
        if p.rand_skip > count:
            self.error(f"rand_skip is {p.rand_skip}, there are {count} images", "Make rand_skip smaller")
        skip = int(rng.integers(p.rand_skip)) if p.rand_skip else 0
        if p.rand_skip:
            logger.info("Skipping first %d data points.", skip)
        return Reading(p.root_folder, p.is_color, p.new_height, p.new_width, p.shuffle, skip)
