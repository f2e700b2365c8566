"""A database whose records are read in a random order, another one in each epoch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...logs.log import logger
from ...ranks import WHOLE, Share
from ..order import Order, Place
from .database import Database, Record


class ShuffledDatabase(Database):
    """Every record of a database once in each epoch. Only its index is kept in memory; ``rng`` draws the orders."""

    def __init__(self, database: Database, rng: np.random.Generator) -> None:
        super().__init__(database.path)
        self._database = database
        logger.info("Shuffling data")
        self._index = database.index()
        self._order = Order(f"records in the database {database.path!r}", len(self._index), rng)

    def records(self, start: bytes = b"", wanted: Iterator[bool] | None = None) -> Iterator[Record]:
        return self._database.records(start, wanted)

    def close(self) -> None:
        self._database.close()

    def peek(self) -> Record:
        return self._record(self._order.peek())

    def read(self, count: int, share: Share = WHOLE) -> list[Record]:
        return [self._record(number) for number in self._order.take(count, share)]

    def place(self) -> Place:
        return {"order": self._order.place()}

    def go_on(self, place: Place) -> None:
        """Go on from a place; this leaves the generator as it was after the shuffle of that epoch."""
        self._order.seek(place["order"])

    def _record(self, number: int) -> Record:
        return self._database.find(self._index[number])
