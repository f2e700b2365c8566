"""All mistakes in a text, as errors with their places, in the text's order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ..errors import PrototxtError
from .building import Built
from .explanations import Explanations
from .layer_names import LayerNames, Told
from .look_alikes import LookAlike
from .parsed import Path
from .source import Source, printable
from .tokens import Token
from .tree import Block


def diagnose(
    source: Source, tokens: list[Token], tree: Block, built: Built, odd: Sequence[LookAlike]
) -> list[PrototxtError]:
    """Explain odd characters, the faults met in building a message, and the required fields that it lacks."""
    if not odd and not built.faults and built.message.IsInitialized():
        return []
    names = LayerNames(tokens)
    told = [_error(source, one.offset, str(one)) for one in odd]
    names.add_to(told)
    told += _faults(source, tokens, tree, names, built)
    if built.finished:
        missing = list(_missing(source, built))
        names.add_to(missing)
        told += missing
    return [problem for _, problem in sorted(told, key=lambda one: one[0])]


def _faults(source: Source, tokens: list[Token], tree: Block, names: LayerNames, built: Built) -> Iterator[Told]:
    explanations = Explanations(source, tokens, tree, names)
    for fault, around in built.faults:
        what, hint, offset, kind = explanations.of(fault, around)
        offset = tokens[fault.start].offset if offset is None else offset
        told = _error(source, offset, what, hint, kind)
        told[1].located(None, *names.of(around))
        yield told


def _missing(source: Source, built: Built) -> Iterator[Told]:
    for field in built.message.FindInitializationErrors():
        steps = re.findall(r"(\w+)(?:\[(\d+)\])?", field)
        path: Path = tuple(step for name, index in steps for step in ([name, int(index)] if index else [name]))
        ends = range(len(path), 0, -1)
        offset = next((built.offsets[path[:end]] for end in ends if path[:end] in built.offsets), 0)
        what = f"{path[-2] if len(path) > 1 else 'the text'} needs a value for {path[-1]}"
        yield _error(source, offset, what, f"Add {path[-1]}: ...")


def _error(source: Source, offset: int, what: str, hint: str = "", kind: type[PrototxtError] = PrototxtError) -> Told:
    return offset, kind(printable(what), where=source.where(offset), hint=printable(hint))
