"""Which worker this process is: its rank and the address where the workers meet, from the launcher's variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Place(NamedTuple):
    """A worker's place among all: ``rank`` of ``count``; on its machine, ``local_rank`` of ``local_count``."""

    rank: int
    count: int
    local_rank: int
    local_count: int
    address: str
    port: int
    launcher: str


def place_in(environment: Mapping[str, str]) -> Place | None:
    """Return the place that a launcher gives this process, or None if none has started it."""
    if "RANK" not in environment:
        return None
    return Place(
        int(environment["RANK"]),
        int(environment["WORLD_SIZE"]),
        int(environment.get("LOCAL_RANK", "0")),
        int(environment.get("LOCAL_WORLD_SIZE", "1")),
        environment["MASTER_ADDR"],
        int(environment["MASTER_PORT"]),
        "torchrun",
    )
