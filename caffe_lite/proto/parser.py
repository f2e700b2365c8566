"""A reader of protobuf text that knows the place of every field, and tells all the mistakes it finds."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any, Generic, TypeVar

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from ..errors import FieldGivenTwice, PrototxtError, UnknownField, UnknownLayerType, Where
from ..foreign_bytes import from_bytes, shown
from .schema import Field, advise_enum, advise_field, fields_of, title
from .text import END, MARK, NAME, NUMBER, STRING, Source, Token, mend_look_alikes, tokenize, unquote

M = TypeVar("M", bound=Message)
Path = tuple[str | int, ...]

_INTEGER = re.compile(r"0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*")
_LEADING_ZERO = re.compile(r"0[0-9]")
_WEB_PAGE = re.compile(r"\s*<(!doctype|html)", re.IGNORECASE)
_TRUTH = {"true": True, "True": True, "t": True, "false": False, "False": False, "f": False}
_CLOSER = {"{": "}", "<": ">", "[": "]"}
_LAYERS = ("LayerParameter", "V1LayerParameter")
_MOST_PROBLEMS = 200
_MOST_DIGITS = 100
_MOST_SHOWN = 1000


@dataclass
class Parsed(Generic[M]):
    """A message, and where in which file each of its fields stands.

    ``elsewhere`` has the places of fields, by name, that were set otherwise: on the command line.
    """

    message: M
    source: Source = dataclass_field(default_factory=lambda: Source("", "<message>"))
    problems: list[PrototxtError] = dataclass_field(default_factory=list)
    offsets: dict[Path, int] = dataclass_field(default_factory=dict)
    elsewhere: dict[str | int, Where] = dataclass_field(default_factory=dict)

    @property
    def file(self) -> str:
        """The name of the file, as it was given."""
        return self.source.file

    def where(self, *path: str | int) -> Where:
        """The place of a field, as in `where("layer", 3, "bottom", 0)`; of what holds it, if it is not in the file."""
        if path and path[0] in self.elsewhere:
            return self.elsewhere[path[0]]
        while path:
            if path in self.offsets:
                return self.source.where(self.offsets[path])
            path = path[:-1]
        return Where(self.file)

    @property
    def layers(self) -> list[Where]:
        """The place of each layer of a net, in order."""
        return [self.where("layer", index) for index in range(len(getattr(self.message, "layer", ())))]

    def at(self, *path: str | int) -> Any:
        """The message, or value, at a path."""
        found: Any = self.message
        for step in path:
            found = found[step] if isinstance(step, int) else getattr(found, step)
        return found

    def sub(self, *path: str | int) -> Parsed[Any]:
        """A message inside this one, with its places: `solver.sub("net_param").layers`."""
        depth = len(path)
        offsets = {at[depth:]: offset for at, offset in self.offsets.items() if at[:depth] == path}
        return Parsed(self.at(*path), self.source, [], offsets)

    def move(self, old: Path, new: Path, kept: Sequence[int]) -> None:
        """Note that a repeated field became another one, of which the elements at `kept` are left, in that order."""
        depth, index = len(old), {before: after for after, before in enumerate(kept)}
        moved = {at: self.offsets.pop(at) for at in list(self.offsets) if at[:depth] == old}
        self.offsets.update(
            ((*new, index[int(at[depth])], *at[depth + 1 :]), offset)
            for at, offset in moved.items()
            if int(at[depth]) in index
        )

    def insert(self, path: Path, place: Path) -> None:
        """Note that an element was put in at a path that ends in its index; it takes over the place of a field."""
        depth, index = len(path), int(path[-1])
        offset = self.offsets.get(place)
        beside = [at for at in self.offsets if len(at) >= depth and at[: depth - 1] == path[:-1]]
        moved = [at for at in beside if int(at[depth - 1]) >= index]
        shifted = {(*at[: depth - 1], int(at[depth - 1]) + 1, *at[depth:]): self.offsets.pop(at) for at in moved}
        self.offsets.update(shifted)
        if offset is not None:
            self.offsets[path] = offset


def parse_text(text: str, message_class: type[M], file: str = "<string>", collect: bool = False) -> Parsed[M]:
    """Read a message from text. With `collect` every mistake goes to `.problems`; otherwise the first is raised."""
    parser = _Parser(Source(text, file))
    message = message_class()
    parser.read(message)
    problems = [problem for _, problem in sorted(parser.problems, key=lambda told: told[0])]
    if problems and not collect:
        raise problems[0]
    return Parsed(message, parser.source, problems, parser.offsets)


class _Missing(Exception):
    """A value could not be read; the problem is already told."""


class _Enough(Exception):
    """So much is wrong that the rest is not worth reading."""


@dataclass
class _Block:
    """An open brace: what it holds, the name before it, and the tokens where both start."""

    message: Descriptor
    name: str
    offset: int
    first: int  # index of the token behind the brace
    closer: str
    opener: str


class _Parser:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[tuple[int, PrototxtError]] = []
        self.offsets: dict[Path, int] = {}
        self.identities: dict[int, tuple[str | None, str | None]] = {}
        self.blocks: list[_Block] = []
        self.closed: list[tuple[_Block, int]] = []  # blocks closed by a brace that is not in their column
        self.last_closed: tuple[_Block, int] | None = None
        self.reopening = False
        self.ended = False
        self.tokens: list[Token] = []
        self.next = 0
        text = source.text
        with suppress(_Enough):
            text = mend_look_alikes(text, self.tell)
        self.tokens = tokenize(text)
        self._name_layers(self.problems)  # told before there were tokens to find layers in

    # ---- Telling -----------------------------------------------------------------------------------------------

    def tell(self, offset: int, what: str, hint: str = "", kind: type[PrototxtError] = PrototxtError) -> None:
        """Note a problem at an offset, with the layer around it."""
        if len(self.problems) == _MOST_PROBLEMS:
            raise _Enough
        problem = kind(_printable(what), where=self.source.where(offset), hint=_printable(hint))
        layers = [block for block in self.blocks if block.message.name in _LAYERS]
        if layers:
            problem.located(None, *self._identity(layers[-1].first))
        self.problems.append((offset, problem))

    def _identity(self, first: int) -> tuple[str | None, str | None]:
        """The name and type of the layer whose block starts at a token: both may stand behind the mistake."""
        if first in self.identities:
            return self.identities[first]
        found: dict[str, str] = {}
        depth, index = 0, first
        while depth >= 0 and self.tokens[index].kind != END:
            kind, text, _ = self.tokens[index]
            if kind == MARK:
                depth += (text in "{<") - (text in "}>")
            elif kind == NAME and depth == 0:
                colon, value = self.tokens[index + 1], self.tokens[min(index + 2, len(self.tokens) - 1)]
                if text in ("layer", "layers") and "{" in (colon.text, value.text):
                    break
                if text in ("name", "type") and colon.text == ":" and value.kind in (STRING, NAME):
                    found.setdefault(text, _printable(value.text.strip("\"'")))
            index += 1
        self.identities[first] = found.get("name"), found.get("type")
        return self.identities[first]

    def _name_layers(self, problems: Sequence[tuple[int, PrototxtError]]) -> None:
        """Find the layers around problems by their places alone."""
        index = 0
        around: list[int | None] = [None]  # for each open block, where the innermost layer around it starts
        for offset, problem in sorted(problems, key=lambda told: told[0]):
            while index < len(self.tokens) and self.tokens[index].offset < offset:
                text = self.tokens[index].text
                if text in _MARKS_OPEN:
                    head = index - 2 if self.tokens[index - 1].text == ":" else index - 1
                    around.append(index + 1 if self.tokens[head].text in ("layer", "layers") else around[-1])
                elif text in _MARKS_CLOSE and len(around) > 1:
                    around.pop()
                index += 1
            if around[-1] is not None:
                problem.located(None, *self._identity(around[-1]))

    # ---- Blocks ------------------------------------------------------------------------------------------------

    def read(self, message: Any) -> None:
        """Read the whole text into a message."""
        with suppress(_Enough):
            self._body(message, (), _Block(message.DESCRIPTOR, "", 0, 0, "", ""))
            self._check_required(message)

    def _body(self, message: Any, path: Path, block: _Block) -> None:
        fields = fields_of(block.message)
        if block.opener:
            self.blocks.append(block)
        try:
            while not self._at_end_of(block):
                kind, text, offset = self.tokens[self.next]
                if kind != NAME:
                    self._stray(block)
                elif text in ("layer", "layers") and self._layer_in_layer(fields.get(text)):
                    return
                elif text not in fields:
                    self._unknown(text, offset, block)
                else:
                    self.next += 1
                    if fields[text].kind == "message":
                        self._message_field(message, fields[text], path, offset)
                        if self.ended or (self.reopening and not self._reopened_here(fields)):
                            return
                    else:
                        self._scalar_field(message, fields[text], path, offset)
                    self._take(";") or self._take(",")
        finally:
            if block.opener:
                self.blocks.remove(block)

    def _at_end_of(self, block: _Block) -> bool:
        token = self.tokens[self.next]
        if token.kind == END:
            if block.opener and not self.ended:
                self.ended = True
                self._never_closed(None)
            return True
        if token.kind != MARK or not block.opener or token.text != block.closer:
            return False
        self.next += 1
        self.last_closed = (block, token.offset)
        if self.source.first_on_line(token.offset):
            own_line = self.source.line(token.offset) == self.source.line(block.offset)
            if not own_line and self.source.indent(token.offset) != self.source.indent(block.offset):
                self.closed.append((block, token.offset))
        return True

    def _message_field(self, message: Any, field: Field, path: Path, offset: int) -> None:
        colon = self._take(":")
        opener = self.tokens[self.next].text
        if opener == "[" and colon and field.repeated:
            self._list(lambda: self._message_value(message, field, path, self.tokens[self.next].offset))
        elif opener in ("{", "<"):
            self._message_value(message, field, path, offset)
        else:
            self.tell(offset, f"{field.name} is a block", f"Write {field.name} {{ ... }}")
            if colon:
                self._skip_value()

    def _message_value(self, message: Any, field: Field, path: Path, offset: int) -> None:
        assert field.message is not None
        opener = self.tokens[self.next].text
        if opener not in ("{", "<"):
            self.tell(self.tokens[self.next].offset, f"{field.name} is a list of blocks in braces")
            self._skip_value()
            return
        if field.repeated:
            inner = getattr(message, field.name).add()
            path = (*path, field.name, len(getattr(message, field.name)) - 1)
            self.offsets[path] = offset
        else:
            path = (*path, field.name)
            self._place_once(message, field, path, offset)
            inner = getattr(message, field.name)
            inner.SetInParent()
        self.next += 1
        self._body(inner, path, _Block(field.message, field.name, offset, self.next, _CLOSER[opener], opener))

    def _place_once(self, message: Any, field: Field, path: Path, offset: int) -> None:
        """Note where a field stands that may stand there once; of two, the later one is read on with."""
        before = self.offsets.get(path)
        if before is not None:
            hint = "Keep one of the two"
            if field.message:
                hint += f", with what both are to hold in one {field.name} {{ ... }}"
            first = self.source.where(before)
            what = f"{field.name} is given twice, the first time in line {first.line}, column {first.column}"
            self.tell(offset, what, hint, FieldGivenTwice)
            message.ClearField(field.name)
            for inner in [at for at in self.offsets if at[: len(path)] == path]:
                del self.offsets[inner]
        self.offsets[path] = offset

    # ---- Values ------------------------------------------------------------------------------------------------

    def _scalar_field(self, message: Any, field: Field, path: Path, offset: int) -> None:
        following = self.tokens[self.next]
        if following.text in ("{", "<"):
            self.tell(offset, f"{field.name} takes {field.takes}, not a block", f"Write {field.name}: ...")
            self._skip_value()
            return
        if not self._take(":"):
            if following.text == "=":
                self.next += 1
            self.tell(following.offset, f"a ':' is missing behind {field.name}", f"Write {field.name}: ...")
            if following.text != "=" and (following.kind == END or following.text in _MARKS_CLOSE):
                return
        if self.tokens[self.next].text == "[" and field.repeated:
            self._list(lambda: self._store(message, field, path, self.tokens[self.next].offset))
        else:
            self._store(message, field, path, offset)

    def _store(self, message: Any, field: Field, path: Path, offset: int) -> None:
        if not field.repeated:
            self._place_once(message, field, (*path, field.name), offset)
        try:
            value = self._value(field)
        except _Missing:
            return
        if field.repeated:
            values = getattr(message, field.name)
            self.offsets[(*path, field.name, len(values))] = offset
            values.append(value)
        else:
            setattr(message, field.name, value)

    def _list(self, read_one: Callable[[], None]) -> None:
        """Read `[a, b]`, standing at the bracket."""
        start = self.tokens[self.next]
        self.next += 1
        while not self._take("]"):
            before = self.next
            read_one()
            if self.ended or self.reopening:
                return
            if self.tokens[self.next].text not in (",", "]") or before == self.next:
                self.tell(start.offset, "this list is not closed", "Separate its values with ',' and end it with ']'")
                while self.tokens[self.next].kind == NUMBER or self.tokens[self.next].text == ",":
                    self.next += 1
                self._take("]")
                return
            if self._take(",") and self.tokens[self.next].text == "]":
                self.tell(self.tokens[self.next].offset, "a value is missing behind the last ','")

    def _value(self, field: Field) -> Any:
        kind, text, _ = self.tokens[self.next]
        if kind == END or (kind == MARK and text in "}>];,") or self._starts_field():
            self.tell(self.tokens[self.next - 1].offset, f"{field.name} has no value", f"It takes {field.takes}")
            raise _Missing
        if field.kind in ("string", "bytes"):
            return self._string(field)
        if field.kind in ("int", "float"):
            return self._number(field)
        return self._bool(field) if field.kind == "bool" else self._enum(field)

    def _starts_field(self) -> bool:
        """Whether the next token opens another field, on a later line than the one before it."""
        token, before = self.tokens[self.next], self.tokens[self.next - 1]
        if token.kind != NAME or self.source.line(token.offset) == self.source.line(before.offset):
            return False
        return self.tokens[self.next + 1].text in (":", "{", "<")

    def _string(self, field: Field) -> str | bytes:
        kind, text, offset = self.tokens[self.next]
        if kind != STRING:
            word = self.source.rest_of_word(offset)
            if text in ("'", '"'):
                self.tell(offset, f"the quote opened here is not closed on its line: {field.name} is text in quotes",
                          f"End it with {text}")  # fmt: skip
                self._skip_to(self.source.text.find("\n", offset))
            elif text in ("[", "{", "<"):
                self._wrong(field)
            else:
                self.tell(offset, f"{field.name} takes text in quotes", f'Write {field.name}: "{word}"')
                self._skip_to(offset + max(len(word), 1))
            raise _Missing
        parts = []
        while self.tokens[self.next].kind == STRING:
            _, literal, at = self.tokens[self.next]
            try:
                parts.append(unquote(literal))
            except ValueError as error:
                self.tell(at, f"{error} is no escape in a string", r"Write a backslash as \\, or use / in paths")
            self.next += 1
        out = b"".join(parts)
        if field.kind == "bytes":
            return out
        if field.is_path and b"\0" in out:
            self.tell(offset, f"{field.name} is a path, and no path holds a zero byte")
            raise _Missing
        return from_bytes(out)

    def _number(self, field: Field) -> int | float:
        start = self.next
        sign = -1 if self._take("-") else 1
        kind, text, offset = self.tokens[self.next]
        if field.kind == "float" and kind == NAME and text.lower() in ("inf", "infinity", "nan"):
            self.next += 1
            return sign * float(text)
        if text == "+":
            self.tell(offset, "numbers are written without a '+'", f"Write {self.source.rest_of_word(offset + 1)}")
            self.next += 2
            raise _Missing
        if kind != NUMBER:
            self.next = start
            self._wrong(field)
        self.next += 1
        behind = self.tokens[self.next]
        if behind.kind in (NAME, NUMBER) and behind.offset == offset + len(text):
            word = self.source.rest_of_word(offset)
            self._skip_to(offset + len(word))
            self.tell(offset, f"{word} is no number, and {field.name} takes {field.takes}")
            raise _Missing
        plain = _INTEGER.fullmatch(text)
        if _LEADING_ZERO.match(text) and (field.kind == "float" or not plain):
            decimal = text.lstrip("0")
            decimal = decimal if decimal[:1].isdigit() else f"0{decimal}"
            self.tell(offset, f"{text} starts with 0, as octal numbers do", f"Write {decimal}")
            raise _Missing
        if field.kind == "float":
            octal_or_hex = plain and text[0] == "0"
            value = sign * (float(_integer(text)) if octal_or_hex else float(text.rstrip("fF")))
            return _to_single(value) if field.single else value
        if not plain:
            whole = float(text.rstrip("fF"))
            hint = f"Write {int(sign * whole)}" if whole.is_integer() and whole < 2**63 else ""
            self.tell(offset, f"{field.name} takes {field.takes}, not {self._shown(start)}", hint)
            raise _Missing
        integer = sign * _integer(text)
        low, high = field.range
        if not low <= integer <= high:
            self.tell(self.tokens[start].offset, f"{field.name}: {self._shown(start)} is out of range",
                      f"It takes an integer from {low} to {high}")  # fmt: skip
            raise _Missing
        return integer

    def _bool(self, field: Field) -> bool:
        kind, text, _ = self.tokens[self.next]
        if kind == NAME and text in _TRUTH:
            self.next += 1
            return _TRUTH[text]
        if kind == NUMBER and _INTEGER.fullmatch(text) and _integer(text) <= 1:
            self.next += 1
            return _integer(text) == 1
        return self._wrong(field)

    def _enum(self, field: Field) -> int:
        assert field.enum is not None
        start = self.next
        sign = -1 if self._take("-") else 1
        kind, text, offset = self.tokens[self.next]
        self.next += 1
        if kind == NAME and sign == 1:
            if text in field.enum.values_by_name:
                return field.enum.values_by_name[text].number
        elif kind == NUMBER and _INTEGER.fullmatch(text):
            if sign * _integer(text) in field.enum.values_by_number:
                return sign * _integer(text)
        elif kind == STRING and text[1:-1] in field.enum.values_by_name:
            self.tell(offset, f"{field.name} takes a bare word", f"Write {field.name}: {text[1:-1]} without quotes")
            raise _Missing
        elif kind == STRING and field.enum.name == "LayerType":
            self.tell(offset, f"type: {text} is of today's format, and the `layers` around it of the old one (V1)",
                      "Write `layer` in place of `layers`")  # fmt: skip
            raise _Missing
        else:
            self.next = start
            self._wrong(field)
        unknown = UnknownLayerType if field.enum.name == "LayerType" else UnknownField
        self.tell(offset, f"{self._shown(start)} is no value of {field.name}", advise_enum(text, field.enum), unknown)
        raise _Missing

    def _wrong(self, field: Field) -> Any:
        """Tell that a value is of the wrong kind, and step over it."""
        start, offset = self.next, self.tokens[self.next].offset
        self._skip_value()
        self.tell(offset, f"{field.name} takes {field.takes}, not {self._shown(start)}")
        raise _Missing

    # ---- What does not fit -------------------------------------------------------------------------------------

    def _unknown(self, word: str, offset: int, block: _Block) -> None:
        self.next += 1
        following = self.tokens[self.next]
        if following.text not in (":", "{", "<", "="):
            self.tell(offset, f'"{word}" stands alone: a ":" and a value, or a block, should follow it',
                      advise_field(word, self._path(block), None))  # fmt: skip
            return
        layers = [outer for outer in self.blocks if outer.message.name in _LAYERS]
        layer_type = self._identity(layers[-1].first)[1] if layers else None
        hint = advise_field(word, self._path(block), layer_type)
        if not block.opener and self.last_closed and word in fields_of(self.last_closed[0].message):
            last, at = self.last_closed
            hint = (
                f'"{word}" belongs in {title(last.message, last.name)}, and the one opened in line '
                f"{self.source.line(last.offset)} was closed in line {self.source.line(at)}: is that '}}' one too many?"
            )
        what = f'unknown field "{word}" in {title(block.message, block.name) or block.message.name}'
        self.tell(offset, what, hint, UnknownField)
        if following.text in (":", "="):
            self.next += 1
        self._skip_value()
        self._take(";") or self._take(",")

    def _path(self, block: _Block) -> list[tuple[Descriptor, str]]:
        root = [(block.message, block.message.name)] if not block.opener else []
        return root + [(outer.message, outer.name) for outer in self.blocks]

    def _layer_in_layer(self, field: Field | None) -> bool:
        """Whether a layer opens inside another: then a brace is missing, and reading goes on as if it were there."""
        if field and field.message:
            return False
        colon = self.tokens[self.next + 1].text == ":"
        if self.tokens[self.next + 1 + colon].text not in ("{", "<"):
            return False
        if not any(outer.message.name in _LAYERS for outer in self.blocks):
            return False
        self._never_closed(self.tokens[self.next].offset)
        self.reopening = True
        return True

    def _reopened_here(self, fields: dict[str, Field]) -> bool:
        """Whether the block that the waiting layer belongs to is reached again."""
        inner = fields.get(self.tokens[self.next].text)
        if inner is None or inner.message is None or inner.message.name not in _LAYERS:
            return False
        self.reopening = False
        return True

    def _never_closed(self, before: int | None) -> None:
        """Tell which block lacks its brace: one whose brace stands in another's column, or else the innermost."""
        layers = [block for block in self.blocks if block.message.name in _LAYERS]
        outer = layers[-1] if layers and before is not None else self.blocks[0]
        shifted = [
            (block, at)
            for block, at in self.closed
            if block.offset > outer.offset and self.source.indent(at) < self.source.indent(block.offset)
        ]
        block, at = shifted[0] if shifted else (self.blocks[-1], None)
        what = f"`{block.name} {block.opener}` opened here is never closed"
        ending = "the end of the file" if before is None else f"the next layer, in line {self.source.line(before)}"
        hint = f"Add its '{block.closer}' before {ending}"
        if at is not None:
            line = self.source.line(at)
            hint = f"Add its '{block.closer}' before line {line}, whose '{block.closer}' closes another block"
        self.tell(block.offset, what, hint)

    def _stray(self, block: _Block) -> None:
        _, text, offset = self.tokens[self.next]
        line = self.source.line
        if text in ("}", ">"):
            self.next += 1
            early = [at for shut, at in self.closed if self.source.indent(at) > self.source.indent(shut.offset)]
            if block.opener:
                self.tell(offset, f"'{text}' does not close `{block.name} {block.opener}` of line {line(block.offset)}",
                          f"Write '{block.closer}'")  # fmt: skip
            else:
                hint = "Remove it"
                if early:
                    hint = f"Perhaps the '{text}' of line {line(early[0])} is the one too many"
                elif self.last_closed:
                    last, at = self.last_closed
                    hint = f"`{last.name} {last.opener}` of line {line(last.offset)} was closed in line {line(at)}"
                self.tell(offset, f"surplus '{text}': every block is closed already", hint)
            return
        hint = "A field is written as name: value, or name { ... }"
        if text in ("/", "*"):
            hint = "Comments begin with #"
        elif _WEB_PAGE.match(self.source.text):
            hint = "This is a web page: download the file itself (on GitHub, its Raw form)"
            self.next = len(self.tokens) - 2
            self.ended = True
        shown = text if len(text) > 1 else self.source.rest_of_word(offset) or text
        self.tell(offset, f"{shown} stands where a field's name should", hint)
        self.next += 1
        while self.tokens[self.next].text not in _MARKS_CLOSE and line(self.tokens[self.next].offset) == line(offset):
            if self.tokens[self.next].kind == END:
                break
            self.next += 1

    def _check_required(self, message: Any) -> None:
        missed = []
        for missing in message.FindInitializationErrors():
            steps = re.findall(r"(\w+)(?:\[(\d+)\])?", missing)
            path: Path = tuple(step for name, index in steps for step in ([name, int(index)] if index else [name]))
            offset = next((self.offsets[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.offsets), 0)
            problem = PrototxtError(
                f"{path[-2] if len(path) > 1 else 'the text'} needs a value for {path[-1]}",
                where=self.source.where(offset),
                hint=f"Add {path[-1]}: ...",
            )
            missed.append((offset, problem))
        self._name_layers(missed)
        self.problems += missed

    # ---- Steps -------------------------------------------------------------------------------------------------

    def _take(self, mark: str) -> bool:
        if self.tokens[self.next].text == mark and self.tokens[self.next].kind == MARK:
            self.next += 1
            return True
        return False

    def _shown(self, start: int) -> str:
        """The tokens from one to the current as they are written, shortened."""
        end = max(self.next, start + 1)
        begin, stop = self.tokens[start].offset, self.tokens[end - 1].offset + len(self.tokens[end - 1].text)
        text = " ".join(self.source.text[begin : min(stop, begin + _MOST_SHOWN)].split())
        return text if len(text) <= 40 else text[:37] + "..."

    def _skip_value(self) -> None:
        """Step over a value of any kind."""
        self._take("-")
        kind, text, offset = self.tokens[self.next]
        if kind == STRING:
            while self.tokens[self.next].kind == STRING:
                self.next += 1
        elif text in _MARKS_OPEN:
            depth = 0
            while self.tokens[self.next].kind != END:
                depth += (self.tokens[self.next].text in _MARKS_OPEN) - (self.tokens[self.next].text in _MARKS_CLOSE)
                self.next += 1
                if depth == 0:
                    break
        elif kind != END and text not in _MARKS_CLOSE and not self._starts_field():
            self._skip_to(offset + max(len(self.source.rest_of_word(offset)), 1))

    def _skip_to(self, offset: int) -> None:
        """Step over every token that starts before an offset (-1 for the end)."""
        while self.tokens[self.next].kind != END and (offset < 0 or self.tokens[self.next].offset < offset):
            self.next += 1


def _to_single(value: float) -> float:
    """The nearest 32-bit float: some versions of protobuf make the largest one, as printf writes it, infinite."""
    try:
        return struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


def _printable(text: str) -> str:
    """The head of a long text, with escapes for bytes that are not UTF-8."""
    return shown(text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "...")


_MARKS_OPEN = ("{", "<", "[")
_MARKS_CLOSE = ("}", ">", "]")


def _integer(text: str) -> int:
    """The value of an integer in C's notation: 0x is hexadecimal, a leading 0 octal."""
    if len(text) > _MOST_DIGITS:  # Python refuses to read some thousand of them
        return 1 << 8 * _MOST_DIGITS
    if text[:2] in ("0x", "0X"):
        return int(text, 16)
    return int(text, 8 if text[0] == "0" else 10)
