"""The grammar of protobuf's text format: from tokens to a tree, whatever mistakes they have.

If a text has a mistake, only the schema can tell what should have come there, and so where reading can go on. So the
grammar asks for each field whether the block has it and what value it takes.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from google.protobuf.descriptor import Descriptor

from .cursor import Cursor
from .scalars import Misread, read_scalar
from .schema import Field, fields_of, is_layer
from .source import Source
from .tokens import CLOSING, END, NAME, NUMBER, Token
from .tree import Block, Entry, Fault, Mistake

_WEB_PAGE = re.compile(r"\s*<(!doctype|html)", re.IGNORECASE)
_CLOSER = {"{": "}", "<": ">"}


def read_tree(source: Source, tokens: list[Token], message: Descriptor) -> Block:
    """Read a whole text as the fields of a message."""
    whole = Block(message)
    _Grammar(source, tokens).block(whole)
    return whole


class _Grammar:
    def __init__(self, source: Source, tokens: list[Token]) -> None:
        self.source = source
        self.tokens = tokens
        self.cursor = Cursor(source, tokens)
        self.around: list[Block] = []

    # The methods that read a value return whether it has an end. A block has none if the text ends inside it, or if a
    # layer opens inside it that belongs further out: then a brace is missing, and reading goes on as if it were there.

    def block(self, block: Block) -> bool:
        """Read the content of a block, and the brace that closes it."""
        self.around.append(block)
        block.end = self._entries(block)
        self.around.pop()
        return block.end is not None

    def _entries(self, block: Block) -> int | None:
        """Read the content of a block, up to the brace that closes it; return the brace's offset, or None."""
        cursor, tokens, fields = self.cursor, self.tokens, fields_of(block.message)
        while True:
            kind, text, offset = tokens[cursor.index]
            if kind is NAME:
                field = fields.get(text)
                if text in ("layer", "layers") and self._layer_in_layer(field):
                    self._fault(block, Mistake.NEVER_CLOSED)
                    return None
                if field is None:
                    self._unknown(block)
                elif not self._field(block, field) and not self._layer_belongs(block):
                    return None
            elif kind is END:
                if block.opener:
                    self._fault(block, Mistake.NEVER_CLOSED)
                return None
            elif text == block.closer:
                cursor.index += 1
                return offset
            else:
                self._stray(block)

    def _field(self, block: Block, field: Field) -> bool:
        name = self.cursor.index
        self.cursor.index += 1
        whole = self._blocks(block, field, name) if field.message else self._scalars(block, field, name)
        if whole:
            self._separator()
        return whole

    def _blocks(self, block: Block, field: Field, name: int) -> bool:
        colon = self.cursor.take(":")
        text = self.tokens[self.cursor.index].text
        if text in _CLOSER:
            return self._inner_block(block, field, name)
        if text == "[" and colon and field.repeated:
            return self._list(block, field, self._inner_block)
        self._fault(block, Mistake.TAKES_BLOCK, name, field)
        if colon:
            self.cursor.skip_value()
        return True

    def _inner_block(self, block: Block, field: Field, place: int) -> bool:
        assert field.message is not None
        opener = self.tokens[self.cursor.index].text
        if opener not in _CLOSER:
            self._fault(block, Mistake.NO_BLOCK_IN_LIST, field=field)
            self.cursor.skip_value()
            return True
        self.cursor.index += 1
        offset, first = self.tokens[place].offset, self.cursor.index
        inner = Block(field.message, field.name, offset, first, opener, _CLOSER[opener])
        block.entries.append(Entry(field, place, inner))
        return self.block(inner)

    def _scalars(self, block: Block, field: Field, name: int) -> bool:
        cursor = self.cursor
        following = self.tokens[cursor.index]
        if following.text in _CLOSER:
            self._fault(block, Mistake.TAKES_NO_BLOCK, name, field)
            cursor.skip_value()
            return True
        if not cursor.take(":"):
            self._fault(block, Mistake.NO_COLON, field=field)
            if following.text == "=":
                cursor.index += 1
            elif following.kind is END or following.text in CLOSING:
                return True
        if (field.repeated or field.first_counts) and self.tokens[cursor.index].text == "[":
            return self._list(block, field, self._scalar)
        return self._scalar(block, field, name)

    def _scalar(self, block: Block, field: Field, place: int) -> bool:
        try:
            entry = Entry(field, place, read_scalar(self.cursor, field))
        except Misread as misread:
            entry = Entry(field, place, misread.value, misread.faults)
        block.entries.append(entry)
        return True

    def _list(self, block: Block, field: Field, read_one: Callable[[Block, Field, int], bool]) -> bool:
        """Read `[a, b]` from the bracket on."""
        cursor, bracket = self.cursor, self.cursor.index
        cursor.index += 1
        while not cursor.take("]"):
            start = cursor.index
            if not read_one(block, field, start):
                return False
            if cursor.index == start or self.tokens[cursor.index].text not in (",", "]"):
                self._fault(block, Mistake.LIST_NOT_CLOSED, bracket)
                while self.tokens[cursor.index].kind is NUMBER or self.tokens[cursor.index].text == ",":
                    cursor.index += 1
                cursor.take("]")
                return True
            if cursor.take(",") and self.tokens[cursor.index].text == "]":
                self._fault(block, Mistake.NO_LAST_VALUE)
        return True

    def _separator(self) -> None:
        if self.tokens[self.cursor.index].text in (";", ","):
            self.cursor.index += 1

    # Mistakes

    def _fault(self, block: Block, mistake: Mistake, start: int | None = None, field: Field | None = None) -> None:
        start = self.cursor.index if start is None else start
        block.entries.append(Fault(mistake, start, start + 1, field))

    def _unknown(self, block: Block) -> None:
        name = self.cursor.index
        self.cursor.index += 1
        text = self.tokens[self.cursor.index].text
        if text not in (":", "{", "<", "="):
            self._fault(block, Mistake.STANDS_ALONE, name)
            return
        self._fault(block, Mistake.UNKNOWN_FIELD, name)
        if text in (":", "="):
            self.cursor.index += 1
        self.cursor.skip_value()
        self._separator()

    def _layer_in_layer(self, field: Field | None) -> bool:
        """Return whether a layer opens inside another one."""
        if field and field.message:
            return False
        behind = self.cursor.index + 1
        if self.tokens[behind].text == ":":
            behind += 1
        return self.tokens[behind].text in _CLOSER and any(is_layer(outer.message) for outer in self.around[1:])

    def _layer_belongs(self, block: Block) -> bool:
        """Return whether a layer that opened inside another one belongs to this block."""
        field = fields_of(block.message).get(self.tokens[self.cursor.index].text)
        return field is not None and field.message is not None and is_layer(field.message)

    def _stray(self, block: Block) -> None:
        cursor = self.cursor
        _, text, offset = self.tokens[cursor.index]
        if text in ("}", ">"):
            self._fault(block, Mistake.WRONG_CLOSER if block.opener else Mistake.SURPLUS_CLOSER)
            cursor.index += 1
        elif cursor.index == 0 and _WEB_PAGE.match(self.source.text):
            self._fault(block, Mistake.WEB_PAGE)
            cursor.index = len(self.tokens) - 1
        else:
            self._fault(block, Mistake.STRAY)
            cursor.index += 1
            while self._goes_on(offset):
                cursor.index += 1

    def _goes_on(self, offset: int) -> bool:
        """Return whether the line of an offset goes on, before any mark that closes something."""
        kind, text, here = self.tokens[self.cursor.index]
        return kind is not END and text not in CLOSING and self.source.line(here) == self.source.line(offset)
