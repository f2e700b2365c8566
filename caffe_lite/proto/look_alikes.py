"""Characters that only look like those of the text format: full-width punctuation, curly quotes, odd blanks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .tokens import STRING_PATTERN

_LOOK_ALIKE = re.compile(rf"\#[^\n]*|{STRING_PATTERN}|[^\x00-\x7f]")
_MEANT = {"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "–": "-", "—": "-", "−": "-"} | {
    "、": ",", "。": ".", "【": "[", "】": "]", "《": "<", "》": ">", "\ufeff": " ", "\u200b": " ", "\u2028": " ",
}  # fmt: skip


class LookAlike(NamedTuple):
    """One look-alike: its offset, the character found, and the one that was meant."""

    offset: int
    found: str
    meant: str

    def __str__(self) -> str:
        shown = "a plain space" if self.meant == " " else f"'{self.meant}'"
        return f"{_describe(self.found)} (U+{ord(self.found):04X}), write {shown}"


def look_alikes(text: str) -> Iterator[LookAlike]:
    """Yield the look-alikes outside strings and comments."""
    for match in () if text.isascii() else _LOOK_ALIKE.finditer(text):
        found = match.group()
        if found[0] in "#\"'":
            continue
        meant = _MEANT.get(found) or unicodedata.normalize("NFKC", found)
        if len(meant) == 1 and meant.isascii():
            yield LookAlike(match.start(), found, meant)


def mended(text: str, found: Sequence[LookAlike]) -> str:
    """Replace look-alikes by the characters that were meant; the length stays the same, so offsets stay valid."""
    if not found:
        return text
    characters = list(text)
    for offset, _, meant in found:
        characters[offset] = meant
    return "".join(characters)


def _describe(character: str) -> str:
    name = unicodedata.name(character, "unnamed character").lower()
    if "fullwidth" in name:
        return f"full-width '{character}'"
    if "quotation mark" in name:
        return f"curly quote '{character}'"
    return {"\u3000": "full-width space", "\u00a0": "non-breaking space", "\ufeff": "byte order mark"}.get(
        character, name if character.isspace() or not character.isprintable() else f"{name} '{character}'"
    )
