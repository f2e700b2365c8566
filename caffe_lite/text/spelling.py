"""Did you mean: the known words that are most like one that nobody knows."""

from __future__ import annotations

from collections.abc import Iterable

# How much of two words must be the same: of one that is offered alone, and of each where the reader chooses.
_ALONE, _AMONG_OTHERS = 0.65, 0.5


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most like this one, if any is like it at all."""
    return next(iter(_alike(word, known, 1, _ALONE)), None)


def nearest_few(word: str, known: Iterable[str]) -> list[str]:
    """Up to three known words that are like this one, the most alike first."""
    return _alike(word, known, 3, _AMONG_OTHERS)


def _alike(word: str, known: Iterable[str], most: int, cutoff: float) -> list[str]:
    """Capitals count for nothing; words that differ in them alone are meant, and no others."""
    from difflib import get_close_matches

    spelled: dict[str, list[str]] = {}
    for name in known:
        spelled.setdefault(name.lower(), []).append(name)
    lower = word.lower()
    near = [lower] if lower in spelled else get_close_matches(lower, spelled, most, cutoff)
    return [name for match in near for name in spelled[match]][:most]
