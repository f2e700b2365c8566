"""Unknown sizes: arithmetic accepts them, and code that depends on one is tried in every possible way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, NoReturn, TypeVar

from ..errors import CaffeError

T = TypeVar("T")
MOST_WAYS = 256
MOST_QUESTIONS = 64
# Most blobs have four axes; no layer asks for more than six.
RANKS = (4, 2, 1, 3, 5, 0, 6)


class Undetermined(Exception):
    """The answer needs values, or a size that is unknown."""


class UnknownSize:
    """An unknown whole number: the size of a blob along an axis.

    Results computed from it are unknown too, except those that hold for every number. A comparison asks the enclosing
    ``explore`` which way to go; without one, it takes the favourable answer: two sizes are equal, nothing is too large.
    """

    __slots__ = ()

    def __add__(self, other: Any) -> Any:
        return self if _is(other, 0) else _computed(other)

    def __sub__(self, other: Any) -> Any:
        return 0 if other is self else self if _is(other, 0) else _computed(other)

    def __mul__(self, other: Any) -> Any:
        return self if _is(other, 1) else 0 if _is(other, 0) else _computed(other)

    def __floordiv__(self, other: Any) -> Any:
        return self if _is(other, 1) else _computed(other)

    def __mod__(self, other: Any) -> Any:
        return 0 if _is(other, 1) else _computed(other)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rsub__(self, other: Any) -> Any:
        return _computed(other)

    def __neg__(self) -> Any:
        return UnknownSize()

    __radd__, __rmul__ = __add__, __mul__
    __truediv__ = __rtruediv__ = __rfloordiv__ = __rmod__ = __pow__ = __rpow__ = __rsub__
    __abs__ = __ceil__ = __floor__ = __trunc__ = __neg__

    def __round__(self, digits: int | None = None) -> Any:
        return UnknownSize()

    def __eq__(self, other: object) -> bool:
        return other is self or (_is_number(other) and choose(2) == 0)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __lt__(self, other: Any) -> bool:
        return other is not self and choose(2) == 1

    def __le__(self, other: Any) -> bool:
        return other is self or choose(2) == 0

    __gt__, __ge__ = __lt__, __le__

    def __bool__(self) -> bool:
        return choose(2) == 1

    def _unknown(self) -> NoReturn:
        raise Undetermined

    __hash__ = __index__ = __int__ = __float__ = _unknown

    def __repr__(self) -> str:
        return "?"

    def __format__(self, spec: str) -> str:
        return "?"


Size = int | UnknownSize
Shape = tuple[Any, ...]  # of sizes


def _is(value: Any, number: int) -> bool:
    return isinstance(value, (int, float)) and value == number


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, UnknownSize)) or hasattr(value, "__index__")


def _computed(other: Any) -> Any:
    return UnknownSize() if _is_number(other) else NotImplemented


def unknown_shape(axes: int) -> Shape:
    return tuple(UnknownSize() for _ in range(axes))


def known(shape: Sequence[Size] | None) -> bool:
    """Return whether every size of a shape is known; None stands for a shape whose axes are unknown too."""
    return shape is not None and not any(isinstance(size, UnknownSize) for size in shape)


_chooser: ContextVar[Callable[[int], int] | None] = ContextVar("chooser", default=None)


def choose(ways: int) -> int:
    """Return a number below ``ways``: each in turn under ``explore``, 0 outside of it."""
    chooser = _chooser.get()
    return 0 if chooser is None else chooser(ways)


def explore(run: Callable[[], T]) -> Iterator[T | CaffeError]:
    """Run a function once for every combination of choices; yield each result, or the CaffeError that it raised.

    Raise Undetermined if a run needs an actual number, or if there are too many combinations to try.
    """
    answers: list[tuple[int, int]] = []  # what was chosen, and of how many, in the order of the questions
    for _ in range(MOST_WAYS):
        asked = 0

        def chooser(ways: int) -> int:
            nonlocal asked
            if asked == len(answers):
                if asked == MOST_QUESTIONS:
                    raise Undetermined
                answers.append((0, ways))
            asked += 1
            return answers[asked - 1][0]

        token = _chooser.set(chooser)
        outcome: T | CaffeError
        try:
            outcome = run()
        except CaffeError as error:
            outcome = error
        finally:
            _chooser.reset(token)
        yield outcome
        while answers and answers[-1][0] == answers[-1][1] - 1:
            answers.pop()
        if not answers:
            return
        choice, ways = answers.pop()
        answers.append((choice + 1, ways))
    raise Undetermined


def joined(shapes: Sequence[Shape | None]) -> Shape | None:
    """Return what several candidate shapes have in common: unknown sizes where they differ, None if their axes do."""
    first = shapes[0]
    if first is None or any(shape is None or len(shape) != len(first) for shape in shapes):
        return None
    columns = zip(*(shape for shape in shapes if shape is not None), strict=True)
    return tuple(column[0] if _all_same(column) else UnknownSize() for column in columns)


def _all_same(sizes: Sequence[Size]) -> bool:
    if any(isinstance(size, UnknownSize) for size in sizes):
        return all(size is sizes[0] for size in sizes)
    return all(size == sizes[0] for size in sizes)
