"""Did you mean: the known words that are most like an unknown one."""

from __future__ import annotations

from collections.abc import Iterable

# How alike two words must be, from 0 to 1: if one is offered alone, and if the reader chooses among several.
_ALONE, _AMONG_OTHERS = 0.65, 0.5


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most like this one, or None if none is like it."""
    return next(iter(_alike(word, known, 1, _ALONE)), None)


def nearest_few(word: str, known: Iterable[str]) -> list[str]:
    """Return up to three known words that are like this one, the most similar first."""
    return _alike(word, known, 3, _AMONG_OTHERS)


def _alike(word: str, known: Iterable[str], most: int, cutoff: float) -> list[str]:
    """Return similar words, whatever their capitals. If some words differ in capitals only, return no others."""
    from difflib import get_close_matches

    spelled: dict[str, list[str]] = {}
    for name in known:
        spelled.setdefault(name.lower(), []).append(name)
    lower = word.lower()
    near = [lower] if lower in spelled else get_close_matches(lower, spelled, most, cutoff)
    return [name for match in near for name in spelled[match]][:most]
