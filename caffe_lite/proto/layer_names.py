"""The names and types of the layers around mistakes."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import PrototxtError
from .schema import is_layer
from .source import printable
from .tokens import CLOSING, END, MARK, NAME, OPENING, STRING, Token
from .tree import Blocks

Told = tuple[int, PrototxtError]  # a problem at an offset


class LayerNames:
    """Finds them among tokens, because they may come after the mistake, or be missing in the tree."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._known: dict[int, tuple[str | None, str | None]] = {}

    def of(self, around: Blocks) -> tuple[str | None, str | None]:
        """Return the name and type of the innermost layer among these blocks."""
        layers = [block for block in around[1:] if is_layer(block.message)]
        return self._of(layers[-1].first) if layers else (None, None)

    def add_to(self, problems: Iterable[Told]) -> None:
        """Add the names of the layers around problems of which only the places are known."""
        index, tokens = 0, self._tokens
        around: list[int | None] = [None]  # for each open block, where the innermost layer around it starts
        for offset, problem in sorted(problems, key=lambda told: told[0]):
            while index < len(tokens) and tokens[index].offset < offset:
                text = tokens[index].text
                if text in OPENING:
                    head = index - 2 if tokens[index - 1].text == ":" else index - 1
                    around.append(index + 1 if tokens[head].text in ("layer", "layers") else around[-1])
                elif text in CLOSING and len(around) > 1:
                    around.pop()
                index += 1
            if around[-1] is not None:
                problem.located(None, *self._of(around[-1]))

    def _of(self, first: int) -> tuple[str | None, str | None]:
        """Return the name and type of the layer whose block starts at a token."""
        if first in self._known:
            return self._known[first]
        found: dict[str, str] = {}
        depth, index = 0, first
        while depth >= 0 and self._tokens[index].kind is not END:
            kind, text, _ = self._tokens[index]
            if kind is MARK:
                depth += (text in "{<") - (text in "}>")
            elif kind is NAME and depth == 0:
                colon, value = self._tokens[index + 1], self._tokens[min(index + 2, len(self._tokens) - 1)]
                if text in ("layer", "layers") and "{" in (colon.text, value.text):
                    break
                if text in ("name", "type") and colon.text == ":" and value.kind in (STRING, NAME):
                    found.setdefault(text, printable(value.text.strip("\"'")))
            index += 1
        self._known[first] = found.get("name"), found.get("type")
        return self._known[first]
