"""Unknown sizes: arithmetic with them, and comparisons, which are tried both ways."""

from __future__ import annotations

from math import ceil, floor, prod

import pytest

from caffe_lite.blobs.unknown import Undetermined, UnknownSize, explore, joined, known
from caffe_lite.errors import CaffeError


@pytest.fixture
def size() -> UnknownSize:
    return UnknownSize()


def test_what_holds_for_every_number_is_known(size: UnknownSize) -> None:
    assert size * 1 is size and 1 * size is size and size + 0 is size and size - 0 is size and size // 1 is size
    assert size * 0 == 0 and size % 1 == 0 and size - size == 0 and prod((size,)) is size
    assert size == size and size <= size and not size < size


@pytest.mark.parametrize(
    "compute",
    [
        lambda n: n + 2, lambda n: 2 - n, lambda n: n * 2, lambda n: 7 // n, lambda n: n % 3, lambda n: -(-n // 2),
        lambda n: prod((4, n, 3)), lambda n: sum((n, 1)), lambda n: ceil(n / 2), lambda n: floor(n / 2), lambda n: n**2,
        lambda n: round(n / 3), abs, lambda n: divmod(n, 2)[0],
    ],
)  # fmt: skip
def test_what_is_computed_from_it_is_another_unknown_size(compute, size: UnknownSize) -> None:
    assert isinstance(compute(size), UnknownSize) and compute(size) is not size


@pytest.mark.parametrize("ask", [int, float, hash, range, lambda n: [0][n], lambda n: {n}])
def test_no_number_is_made_up(ask, size: UnknownSize) -> None:
    with pytest.raises(Undetermined):
        ask(size)


def test_outside_of_an_exploration_everything_fits(size: UnknownSize) -> None:
    other = UnknownSize()
    assert size == 3 and size == other and (64, size) == (64, other) and size <= 3 and size >= 3
    assert not (size != 3 or size < 3 or size > 3 or size % 2)


def test_every_way_is_tried_once(size: UnknownSize) -> None:
    def run() -> tuple[bool, ...]:
        return (size > 3, size == 5) if size % 2 else (size > 3,)

    outcomes = list(explore(run))
    assert len(outcomes) == len(set(outcomes)) == 6


def test_a_refusal_is_told_and_the_other_ways_go_on(size: UnknownSize) -> None:
    def run() -> str:
        if size % 2:
            raise CaffeError("odd")
        return "even"

    outcomes = list(explore(run))
    assert outcomes[0] == "even" and isinstance(outcomes[1], CaffeError) and len(outcomes) == 2


def test_what_never_ends_is_undetermined(size: UnknownSize) -> None:
    def run() -> None:
        while size < 5:
            pass

    with pytest.raises(Undetermined):
        list(explore(run))


def test_too_many_ways_are_undetermined() -> None:
    sizes = [UnknownSize() for _ in range(12)]
    with pytest.raises(Undetermined):
        list(explore(lambda: sum(bool(size) for size in sizes)))


def test_what_shapes_have_in_common(size: UnknownSize) -> None:
    assert joined([(2, 3), (2, 3)]) == (2, 3)
    two, other = joined([(2, 3), (2, 4)]) or ()
    assert two == 2 and isinstance(other, UnknownSize)
    assert joined([(2, size), (2, size)]) == (2, size) and not known((2, size)) and known((2, 3))
    assert joined([(2,), (2, 3)]) is None and joined([(2,), None]) is None and not known(None)
