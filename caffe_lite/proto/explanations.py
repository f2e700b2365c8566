"""The explanations of each mistake: what is wrong, and what to do about it."""

from __future__ import annotations

import bisect
import functools
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import NamedTuple

from google.protobuf.descriptor import Descriptor

from ..errors import FieldGivenTwice, PrototxtError, UnknownField, UnknownLayerType
from .layer_names import LayerNames
from .schema import advise_enum, advise_field, fields_of, is_layer, title
from .source import Source
from .tokens import END, Token
from .tree import Block, Blocks, Fault, Mistake

# Explanations and hints for mistakes that need no context. `word` is the first token with all that follows it directly.
_PLAIN = {
    Mistake.WEB_PAGE: (
        "{token} stands where a field's name should",
        "This is a web page: download the file itself (on GitHub, its Raw form)",
    ),
    Mistake.TAKES_BLOCK: ("{field.name} is a block", "Write {field.name} {{ ... }}"),
    Mistake.TAKES_NO_BLOCK: ("{field.name} takes {field.takes}, not a block", "Write {field.name}: ..."),
    Mistake.NO_COLON: ("a ':' is missing behind {field.name}", "Write {field.name}: ..."),
    Mistake.NO_BLOCK_IN_LIST: ("{field.name} is a list of blocks in braces", ""),
    Mistake.LIST_NOT_CLOSED: ("this list is not closed", "Separate its values with ',' and end it with ']'"),
    Mistake.NO_LAST_VALUE: ("a value is missing behind the last ','", ""),
    Mistake.NO_VALUE: ("{field.name} has no value", "It takes {field.takes}"),
    Mistake.WRONG_KIND: ("{field.name} takes {field.takes}, not {shown}", ""),
    Mistake.OPEN_QUOTE: (
        "the quote opened here is not closed on its line: {field.name} is text in quotes",
        "End it with {token}",
    ),
    Mistake.NOT_QUOTED: ("{field.name} takes text in quotes", 'Write {field.name}: "{word}"'),
    Mistake.NO_ESCAPE: ("{detail} is no escape in a string", r"Write a backslash as \\, or use / in paths"),
    Mistake.ZERO_BYTE: ("{field.name} is a path, and no path holds a zero byte", ""),
    Mistake.NO_NUMBER: ("{word} is no number, and {field.name} takes {field.takes}", ""),
    Mistake.OUT_OF_RANGE: (
        "{field.name}: {shown} is out of range",
        "It takes an integer from {field.range[0]} to {field.range[1]}",
    ),
    Mistake.QUOTED_WORD: ("{field.name} takes a bare word", "Write {field.name}: {unquoted} without quotes"),
    Mistake.QUOTED_TYPE: (
        "type: {token} is of today's format, and the `layers` around it of the old one (V1)",
        "Write `layer` in place of `layers`",
    ),
}


class Explanation(NamedTuple):
    """The problem, the hint, the offset if it is not that of the fault's first token, and the class of the error."""

    what: str
    hint: str = ""
    offset: int | None = None
    kind: type[PrototxtError] = PrototxtError


class Explanations:
    """Explains the faults of one text."""

    def __init__(self, source: Source, tokens: list[Token], tree: Block, names: LayerNames) -> None:
        self._source = source
        self._tokens = tokens
        self._tree = tree
        self._names = names

    def of(self, fault: Fault, around: Blocks) -> Explanation:
        """Explain a fault, given the blocks around it."""
        special = _SPECIAL.get(fault.mistake)
        if special:
            return special(self, fault, around)
        token, word = self._tokens[fault.start].text, self._word(fault)
        what, hint = (
            text.format(
                field=fault.field,
                detail=fault.detail,
                token=token,
                unquoted=token[1:-1],
                word=word,
                shown=self._shown(fault),
            )
            for text in _PLAIN[fault.mistake]
        )
        return Explanation(what, hint)

    # Blocks

    def _never_closed(self, fault: Fault, around: Blocks) -> Explanation:
        """Say which block lacks its brace: one whose brace is in another block's column, else the innermost."""
        line, indent = self._source.line, self._source.indent
        kind, _, offset = self._tokens[fault.start]
        layers = [outer for outer in around[1:] if is_layer(outer.message)]
        outer = layers[-1] if layers and kind is not END else around[1]
        block = around[-1]
        ending = "the end of the file" if kind is END else f"the next layer, in line {line(offset)}"
        for inner, end in self._closed_elsewhere(offset):
            if inner.offset > outer.offset and indent(end) < indent(inner.offset):
                block, ending = inner, f"line {line(end)}, whose '{inner.closer}' closes another block"
                break
        what = f"`{block.name} {block.opener}` opened here is never closed"
        return Explanation(what, f"Add its '{block.closer}' before {ending}", block.offset)

    def _wrong_closer(self, fault: Fault, around: Blocks) -> Explanation:
        block = around[-1]
        line = self._source.line(block.offset)
        what = f"'{self._tokens[fault.start].text}' does not close `{block.name} {block.opener}` of line {line}"
        return Explanation(what, f"Write '{block.closer}'")

    def _surplus_closer(self, fault: Fault, around: Blocks) -> Explanation:
        line, indent = self._source.line, self._source.indent
        _, text, offset = self._tokens[fault.start]
        hint = "Remove it"
        if last := self._last_closed(offset):
            inner, end = last
            hint = f"`{inner.name} {inner.opener}` of line {line(inner.offset)} was closed in line {line(end)}"
        for inner, end in self._closed_elsewhere(offset):
            if indent(end) > indent(inner.offset):
                hint = f"Perhaps the '{text}' of line {line(end)} is the one too many"
                break
        return Explanation(f"surplus '{text}': every block is closed already", hint)

    def _stray(self, fault: Fault, around: Blocks) -> Explanation:
        text = self._tokens[fault.start].text
        word = text if len(text) > 1 else self._word(fault) or text
        hint = "Comments begin with #" if text in ("/", "*") else "A field is written as name: value, or name { ... }"
        return Explanation(f"{word} stands where a field's name should", hint)

    # Names

    def _stands_alone(self, fault: Fault, around: Blocks) -> Explanation:
        name = self._tokens[fault.start].text
        what = f'"{name}" stands alone: a ":" and a value, or a block, should follow it'
        return Explanation(what, advise_field(name, _path(around), None))

    def _unknown_field(self, fault: Fault, around: Blocks) -> Explanation:
        _, name, offset = self._tokens[fault.start]
        last = None if len(around) > 1 else self._last_closed(offset)
        if last and name in fields_of(last[0].message):
            inner, end = last
            opened, closed = self._source.line(inner.offset), self._source.line(end)
            hint = (
                f'"{name}" belongs in {title(inner.message, inner.name)}, and the one opened in line {opened} was '
                f"closed in line {closed}: is that '}}' one too many?"
            )
        else:
            hint = advise_field(name, _path(around), self._names.of(around)[1])
        block = around[-1]
        what = f'unknown field "{name}" in {title(block.message, block.name) or block.message.name}'
        return Explanation(what, hint, kind=UnknownField)

    def _given_twice(self, fault: Fault, around: Blocks) -> Explanation:
        assert fault.field is not None
        name, first = fault.field.name, self._source.where(fault.detail)
        hint = "Keep one of the two"
        if fault.field.message:
            hint += f", with what both are to hold in one {name} {{ ... }}"
        what = f"{name} is given twice, the first time in line {first.line}, column {first.column}"
        return Explanation(what, hint, kind=FieldGivenTwice)

    # Values

    def _plus_sign(self, fault: Fault, around: Blocks) -> Explanation:
        return Explanation("numbers are written without a '+'", f"Write {self._word(fault)[1:]}")

    def _leading_zero(self, fault: Fault, around: Blocks) -> Explanation:
        text = self._tokens[fault.start].text
        decimal = text.lstrip("0")
        decimal = decimal if decimal[:1].isdigit() else f"0{decimal}"
        return Explanation(f"{text} starts with 0, as octal numbers do", f"Write {decimal}")

    def _not_whole(self, fault: Fault, around: Blocks) -> Explanation:
        assert fault.field is not None
        sign, number = self._signed(fault)
        value = float(number.text.rstrip("fF"))
        hint = f"Write {sign}{int(value)}" if value.is_integer() and value < 2**63 else ""
        what = f"{fault.field.name} takes {fault.field.takes}, not {self._shown(fault)}"
        return Explanation(what, hint, number.offset)

    def _unknown_value(self, fault: Fault, around: Blocks) -> Explanation:
        assert fault.field is not None
        assert fault.field.enum is not None
        _, value = self._signed(fault)
        what = f"{self._shown(fault)} is no value of {fault.field.name}"
        kind = UnknownLayerType if fault.field.enum.name == "LayerType" else UnknownField
        return Explanation(what, advise_enum(value.text, fault.field.enum), value.offset, kind)

    # Parts of the text

    def _word(self, fault: Fault) -> str:
        return self._source.rest_of_word(self._tokens[fault.start].offset)

    def _shown(self, fault: Fault) -> str:
        last = self._tokens[max(fault.start, fault.end - 1)]
        return self._source.excerpt(self._tokens[fault.start].offset, last.offset + len(last.text))

    def _signed(self, fault: Fault) -> tuple[str, Token]:
        sign = self._tokens[fault.start].text
        return ("-", self._tokens[fault.start + 1]) if sign == "-" else ("", self._tokens[fault.start])

    # Blocks that are closed before an offset, with the offsets of their braces

    @functools.cached_property
    def _closed(self) -> list[tuple[Block, int]]:
        return [(block, block.end) for block in self._tree.closed() if block.end is not None]

    def _last_closed(self, offset: int) -> tuple[Block, int] | None:
        count = bisect.bisect_left(self._closed, offset, key=lambda closed: closed[1])
        return self._closed[count - 1] if count else None

    @functools.cached_property
    def _all_closed_elsewhere(self) -> list[tuple[Block, int]]:
        """The blocks whose brace is the first on its line, but is not indented like the line on which they began."""
        line, indent, first_on_line = self._source.line, self._source.indent, self._source.first_on_line
        return [
            (block, end)
            for block, end in self._closed
            if first_on_line(end) and line(end) != line(block.offset) and indent(end) != indent(block.offset)
        ]

    def _closed_elsewhere(self, offset: int) -> Iterator[tuple[Block, int]]:
        return takewhile(lambda closed: closed[1] < offset, self._all_closed_elsewhere)


def _path(around: Blocks) -> list[tuple[Descriptor, str]]:
    whole, *blocks = around
    return [(block.message, block.name) for block in blocks] or [(whole.message, whole.message.name)]


_SPECIAL: dict[Mistake, Callable[[Explanations, Fault, Blocks], Explanation]] = {
    Mistake.NEVER_CLOSED: Explanations._never_closed,
    Mistake.WRONG_CLOSER: Explanations._wrong_closer,
    Mistake.SURPLUS_CLOSER: Explanations._surplus_closer,
    Mistake.STRAY: Explanations._stray,
    Mistake.STANDS_ALONE: Explanations._stands_alone,
    Mistake.UNKNOWN_FIELD: Explanations._unknown_field,
    Mistake.GIVEN_TWICE: Explanations._given_twice,
    Mistake.PLUS_SIGN: Explanations._plus_sign,
    Mistake.LEADING_ZERO: Explanations._leading_zero,
    Mistake.NOT_WHOLE: Explanations._not_whole,
    Mistake.UNKNOWN_VALUE: Explanations._unknown_value,
}
