"""A place among tokens, and the steps from there that do not depend on the field that is being read."""

from __future__ import annotations

from .source import Source
from .tokens import CLOSING, END, NAME, OPENING, STRING, Token


class Cursor:
    """A position in a list of tokens, the last of which is an END."""

    def __init__(self, source: Source, tokens: list[Token]) -> None:
        self.source = source
        self.tokens = tokens
        self.index = 0

    def take(self, mark: str) -> bool:
        """Step over a mark if it comes next, and return whether it did."""
        if self.tokens[self.index].text != mark:
            return False
        self.index += 1
        return True

    def skip_to(self, offset: int) -> None:
        """Step over every token that starts before an offset (-1 for the end)."""
        while self.tokens[self.index].kind is not END and (offset < 0 or self.tokens[self.index].offset < offset):
            self.index += 1

    def skip_word(self) -> None:
        """Step over a token and those that follow it without a gap."""
        offset = self.tokens[self.index].offset
        self.skip_to(offset + max(len(self.source.rest_of_word(offset)), 1))

    def skip_value(self) -> None:
        """Step over a value of any kind."""
        self.take("-")
        kind, text, _ = self.tokens[self.index]
        if kind is STRING:
            self.skip_strings()
        elif text in OPENING:
            depth = 0
            while self.tokens[self.index].kind is not END:
                depth += (self.tokens[self.index].text in OPENING) - (self.tokens[self.index].text in CLOSING)
                self.index += 1
                if depth == 0:
                    break
        elif kind is not END and text not in CLOSING and not self.starts_field():
            self.skip_word()

    def skip_strings(self) -> None:
        """Step over the strings that make up one value."""
        while self.tokens[self.index].kind is STRING:
            self.index += 1

    def starts_field(self) -> bool:
        """Return whether the token here is a name that begins another field, on a later line than the token before."""
        token, before = self.tokens[self.index], self.tokens[self.index - 1]
        if token.kind is not NAME or self.source.line(token.offset) == self.source.line(before.offset):
            return False
        return self.tokens[self.index + 1].text in (":", "{", "<")
