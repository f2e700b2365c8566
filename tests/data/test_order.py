"""Order: every number once per round, in order or shuffled, and continuing from a position."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caffe_lite.data.order import Order
from caffe_lite.errors import DataError
from caffe_lite.ranks import Share


def order(count: int, seed: int | None = None) -> Order:
    return Order("lines of a list", count, None if seed is None else np.random.default_rng(seed))


@given(count=st.integers(1, 8), takes=st.lists(st.integers(0, 20), max_size=8), seed=st.none() | st.integers(0, 9))
def test_rounds_follow_each_other_without_a_gap(count: int, takes: list[int], seed: int | None) -> None:
    numbers = order(count, seed)
    taken: list[int] = []
    for take in takes:
        assert 1 <= numbers.left <= count
        following = numbers.peek()
        some = numbers.take(take)
        assert len(some) == take
        assert some[:1] in ([], [following])
        taken += some
    for start in range(0, len(taken) - count + 1, count):
        round_ = taken[start : start + count]
        assert (round_ if seed is None else sorted(round_)) == list(range(count))


@given(count=st.integers(1, 8), before=st.integers(0, 30), seed=st.none() | st.integers(0, 9))
def test_it_goes_on_from_its_place(count: int, before: int, seed: int | None) -> None:
    numbers = order(count, seed)
    numbers.take(before)
    place = json.loads(json.dumps(numbers.place()))
    again = order(count, None if seed is None else seed + 1)
    again.seek(place)
    assert again.take(numbers.left) == numbers.take(numbers.left)


@given(
    count=st.integers(1, 8),
    each=st.lists(st.integers(1, 5), max_size=6),
    shares=st.integers(1, 12),
    by_batch=st.booleans(),
    seed=st.none() | st.integers(0, 9),
)
def test_shares_together_are_the_whole(
    count: int, each: list[int], shares: int, by_batch: bool, seed: int | None
) -> None:
    orders = [order(count, seed) for _ in range(shares)]
    whole = order(count, seed)
    for take in each:
        parts = [one.take(take, Share(rank, shares, by_batch)) for rank, one in enumerate(orders)]
        assert all(len(part) == take for part in parts)
        together = [number for row in (parts if by_batch else zip(*parts, strict=True)) for number in row]
        assert together == whole.take(take * shares)
        assert all(one.place() == whole.place() for one in orders)


def test_each_round_is_shuffled_anew() -> None:
    numbers = order(50, 0)
    rounds = {tuple(numbers.take(50)) for _ in range(20)}
    assert len(rounds) == 20


def test_a_place_in_another_source_is_refused() -> None:
    with pytest.raises(DataError, match="there are 4 lines of a list, and were 5 when the snapshot was made"):
        order(4).seek(order(5).place())
    for nonsense in ({"count": 4, "next": 4}, {"count": 4, "next": -1}, {"count": 4, "next": "x"}):
        with pytest.raises(ValueError, match=r"4|-1|x"):
            order(4).seek(nonsense)
