"""Python's text: expressions with as few brackets as they need, legal names, lines that fit the page."""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from collections.abc import Iterable, Iterator
from math import isinf, isnan
from typing import Any

import numpy as np

WIDTH = 120
# How tightly operators bind.
COMPARED, EITHER, BOTH, SUM, PRODUCT, SIGN, POWER, ATOM = range(8)
_LEVELS = {"|": EITHER, "&": BOTH, "+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT, "%": PRODUCT, "@": PRODUCT}
_TAKEN = {"F", "Tensor", "nn", "self", "torch", *keyword.kwlist, *dir(builtins)}
# What nn.Module defines, and layers may be called.
_OF_MODULES = {
    "T_destination",
    "add_module",
    "apply",
    "bfloat16",
    "buffers",
    "call_super_init",
    "children",
    "compile",
    "cpu",
    "cuda",
    "double",
    "dump_patches",
    "eval",
    "extra_repr",
    "float",
    "forward",
    "get_buffer",
    "get_extra_state",
    "get_parameter",
    "get_submodule",
    "half",
    "ipu",
    "load_state_dict",
    "modules",
    "mtia",
    "named_buffers",
    "named_children",
    "named_modules",
    "named_parameters",
    "parameters",
    "register_backward_hook",
    "register_buffer",
    "register_forward_hook",
    "register_forward_pre_hook",
    "register_full_backward_hook",
    "register_full_backward_pre_hook",
    "register_load_state_dict_post_hook",
    "register_load_state_dict_pre_hook",
    "register_module",
    "register_parameter",
    "register_state_dict_post_hook",
    "register_state_dict_pre_hook",
    "requires_grad_",
    "set_extra_state",
    "set_submodule",
    "share_memory",
    "state_dict",
    "to",
    "to_empty",
    "train",
    "training",
    "type",
    "xpu",
    "zero_grad",
}


class Code(str):
    """An expression, and how tightly its outermost operator binds."""

    level: int

    def __new__(cls, text: str, level: int = ATOM) -> Code:
        code = super().__new__(cls, text)
        code.level = level
        return code

    def at(self, level: int) -> str:
        """Return the text for a place where operators of this level stand, in brackets if it needs them."""
        return str(self) if self.level >= level else f"({self})"


def literal(value: Any) -> Code:
    """Write a value: code as it is, numbers, texts in quotes, arrays as lists, others as tuples."""
    if isinstance(value, Code):
        return value
    if isinstance(value, np.ndarray):
        if value.ndim == 0:
            return literal(value[()])
        return Code(f"[{', '.join(map(literal, value))}]")
    if isinstance(value, (list, tuple)):
        return Code(f"({', '.join(map(literal, value))}{',' if len(value) == 1 else ''})")
    if isinstance(value, (bool, np.bool_)) or value is None:
        return Code(str(value))
    if isinstance(value, str):
        return Code('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"')
    if isinstance(value, (int, np.integer)):
        text = str(int(value))
    elif isnan(value) or isinf(value):
        text = ("-" if value < 0 else "") + ("torch.nan" if isnan(value) else "torch.inf")
    else:
        # The attributes of ONNX's operators are float32.
        text = str(float(str(np.float32(value)))).replace("e+", "e")
    return Code(text, SIGN if text.startswith("-") else ATOM)


def call(function: str, *operands: Any, **named: Any) -> Code:
    """Write a call; named arguments that are None are left out."""
    given: list[str] = [literal(operand) for operand in operands]
    given += [f"{name}={literal(value)}" for name, value in named.items() if value is not None]
    return Code(f"{function}({', '.join(given)})")


def method(operand: Code, name: str, *operands: Any, **named: Any) -> Code:
    return call(f"{operand.at(ATOM)}.{name}", *operands, **named)


def infix(left: Any, operator: str, right: Any) -> Code:
    level = _LEVELS.get(operator, COMPARED)
    # Operators of one level are read from the left, except for comparisons, which Python chains.
    before = literal(left).at(level + 1 if level == COMPARED else level)
    return Code(f"{before} {operator} {literal(right).at(level + 1)}", level)


def power(base: Any, exponent: Any) -> Code:
    left, right = literal(base).at(ATOM), literal(exponent).at(SIGN)
    short = all(re.fullmatch(r"-?[\w.]+", operand) for operand in (left, right))
    return Code(f"{left}**{right}" if short else f"{left} ** {right}", POWER)


def sign(operator: str, operand: Code) -> Code:
    return Code(f"{operator}{operand.at(SIGN)}", SIGN)


def subscript(operand: Code, *places: str) -> Code:
    """Write ``operand[places]``; ":" at the end is left out."""
    kept = list(places)
    while kept and kept[-1] == ":":
        kept.pop()
    return Code(f"{operand.at(ATOM)}[{', '.join(kept)}]") if kept else operand


def at_axis(operand: Code, axis: int, place: str) -> Code:
    """Write a subscript of one axis; the axis may count from the end."""
    if axis >= 0:
        return subscript(operand, *[":"] * axis, place)
    return Code(f"{operand.at(ATOM)}[..., {place}{', :' * (-1 - axis)}]")


class Names:
    """Gives legal names, each once; a name that Python, PyTorch or ``reserved`` has gets a _ after it."""

    def __init__(self, *reserved: str, of_attributes: bool = False) -> None:
        self._reserved = {*_TAKEN, *reserved, *(_OF_MODULES if of_attributes else ())}
        self._given: set[str] = set()

    def new(self, name: str, before_digits: str) -> str:
        wanted = legal(name, before_digits)
        wanted += "_" if wanted in self._reserved else ""
        chosen, count = wanted, 1
        while chosen in self._given:
            count += 1
            chosen = f"{wanted.rstrip('_')}_{count}"
        self._given.add(chosen)
        return chosen


def legal(name: str, before_digits: str) -> str:
    """Make an identifier of a name; one that starts with a digit gets ``before_digits`` and _ before it."""
    text = re.sub(r"\W+", "_", unicodedata.normalize("NFKC", name)).strip("_") or before_digits
    return text if text.isidentifier() else f"{before_digits}_{text}"


def camel(name: str, otherwise: str) -> str:
    """Make a class's name: "inception_3a" becomes Inception3a."""
    words = re.findall(r"[^\W_]+", name)
    text = "".join(word[0].upper() + word[1:] for word in words)
    return text if text.isidentifier() else f"{otherwise}{text}"


def lines(statements: Iterable[str], indent: int) -> Iterator[str]:
    """Yield the lines of statements, broken at commas where they are too long."""
    for statement in statements:
        inner = len(statement) - len(statement.lstrip(" "))
        yield from _fitted(statement.lstrip(" "), indent + inner, "")


def _fitted(text: str, indent: int, after: str) -> Iterator[str]:
    blank = " " * indent
    start = _opening(text)
    if indent + len(text) + len(after) <= WIDTH or start is None:
        yield f"{blank}{text}{after}"
        return
    end = len(text) - (2 if text.endswith(":") else 1)
    inside = text[start + 1 : end]
    yield f"{blank}{text[: start + 1]}"
    if indent + 4 + len(inside) <= WIDTH and not inside.endswith(","):
        yield f"{blank}    {inside}"
    else:
        for part in _parts(inside):
            yield from _fitted(part, indent + 4, ",")
    yield f"{blank}{text[end:]}{after}"


def _opening(text: str) -> int | None:
    """Return where the bracket opens that closes at the end of a text."""
    depth, quoted = 0, False
    last = len(text) - (2 if text.endswith(":") else 1)
    if text[last : last + 1] not in (")", "]", "}"):
        return None
    opened = []
    for place, character in enumerate(text):
        if character == '"' and text[place - 1] != "\\":
            quoted = not quoted
        elif not quoted and character in "([{":
            opened.append(place)
            depth += 1
        elif not quoted and character in ")]}":
            begin = opened.pop()
            if place == last:
                return begin
    return None


def _parts(inside: str) -> Iterator[str]:
    """Yield the parts of a text between the commas that are in no brackets."""
    depth, quoted, begin = 0, False, 0
    for place, character in enumerate(inside):
        if character == '"' and inside[place - 1] != "\\":
            quoted = not quoted
        elif not quoted:
            depth += (character in "([{") - (character in ")]}")
            if character == "," and depth == 0:
                yield inside[begin:place].strip()
                begin = place + 1
    if inside[begin:].strip():
        yield inside[begin:].strip()
