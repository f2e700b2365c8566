"""Ranks: the shares of a source, and the random numbers of each rank."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from caffe_lite.errors import WorkerError
from caffe_lite.ranks import Share, diverged


def plain(generator: np.random.Generator) -> dict[str, Any]:
    """Return a generator's state as it is after a way through JSON."""
    return json.loads(json.dumps(generator.bit_generator.state, default=np.ndarray.tolist))


def test_a_share_is_dealt_record_by_record_or_batch_by_batch() -> None:
    assert [list(Share(rank, 3).of(range(9))) for rank in range(3)] == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    assert [list(Share(rank, 3, True).of(range(6))) for rank in range(3)] == [[0, 1], [2, 3], [4, 5]]


def test_generators_diverge_and_all_else_stays() -> None:
    generator = np.random.default_rng(3)
    state = {
        "rng": plain(generator),
        "layers": [
            ["data", 0, {"order": {"next": 3, "before": plain(generator)}, "rng": plain(generator)}],
            ["rng", 0, {"rng": [1, 2], "values": [0.5]}],
        ],
    }
    kept = json.dumps(state)
    assert diverged(state, 0) == state
    drawn = set()
    for rank in range(4):
        other = diverged(state, rank)
        assert json.loads(json.dumps(other)) == other
        (_, _, place), rest = other["layers"]
        assert place["order"] == state["layers"][0][2]["order"] and rest == state["layers"][1]
        assert place["rng"] == other["rng"]
        generator.bit_generator.state = other["rng"]
        drawn.add(tuple(generator.integers(2**63, size=4)))
    assert len(drawn) == 4
    assert json.dumps(state) == kept


@pytest.mark.parametrize("kind", [np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox])
def test_any_generator_that_can_be_divided(kind: Any) -> None:
    generator = np.random.Generator(kind(5))
    wanted = np.random.Generator(generator.bit_generator.jumped(2)).random(3)
    other = diverged({"rng": plain(generator)}, 2)["rng"]
    generator.bit_generator.state = json.loads(json.dumps(other))
    assert (generator.random(3) == wanted).all()


def test_a_generator_that_cannot_be_divided_is_named() -> None:
    with pytest.raises(WorkerError, match="draws random numbers with SFC64, which cannot be divided"):
        diverged({"rng": plain(np.random.Generator(np.random.SFC64(5)))}, 1)
