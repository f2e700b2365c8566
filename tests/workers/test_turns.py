"""Work dealt out to real processes: its results come in order, whatever their number, size and speed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from caffe_lite.errors import CaffeError, DataError, MissingExtra, Where
from caffe_lite.workers import turns
from caffe_lite.workers.group import Group
from caffe_lite.workers.turns import in_turn

from .processes import together

pytest.importorskip("torch")


def results(group: Group) -> list[Any]:
    """Go through work of several kinds, one after the other."""
    return [
        list(in_turn(group, "abcdefgh", str.upper)),
        list(in_turn(group, "a", str.upper)),
        list(in_turn(group, "", str.upper)),
        list(in_turn(group, range(8), lambda item: range(item))),
        _large(group),
        _failing(group, DataError("it is broken", where=Where("e.png"), hint="mend it")),
        _failing(group, MissingExtra("gold", "metals", "make rings")),
        list(in_turn(group, "xyz", str.upper)),
    ]


def _large(group: Group) -> list[int]:
    """Return the sums of arrays, which all together do not fit on the way, to a first worker that is slow."""
    turns._ON_THE_WAY = 2**22

    def work(item: int) -> Iterator[np.ndarray]:
        for part in range(3):
            yield np.full(2**18, 10 * item + part)

    sums = []
    for array in in_turn(group, range(9), work):
        time.sleep(0.02)
        sums.append(int(array.sum()) // 2**18)
    return sums


def _failing(group: Group, error: CaffeError) -> list[str]:
    """Return the results before an error in the last item, and the error."""

    def work(item: int) -> Iterator[str]:
        yield f"{item}: begun"
        if item == 4:
            raise error
        yield f"{item}: done"

    found = []
    try:
        for result in in_turn(group, range(5), work):
            found.append(result)
    except CaffeError as raised:
        found.append(f"{type(raised).__name__}, {raised.anyones}: {raised}")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3])
def test_the_first_gets_all_results_in_order(count: int) -> None:
    first, *others = together(count, results)
    steps = [f"{item}: {what}" for item in range(5) for what in ("begun", "done")][:-1]
    assert first == [
        list("ABCDEFGH"),
        ["A"],
        [],
        [number for item in range(8) for number in range(item)],
        [10 * item + part for item in range(9) for part in range(3)],
        [*steps, "DataError, True: e.png: it is broken. Mend it."],
        [*steps, f"MissingExtra, True: {MissingExtra('gold', 'metals', 'make rings')}"],
        ["X", "Y", "Z"],
    ]
    assert others == [[[]] * 8] * (count - 1)
