"""The table of translations, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ...errors import CaffeError
from ...onnx_graph import OnnxNode
from ..torch_code import Code, call
from ..torch_scope import Operation, Scope

# Returns what stands for each output, or one call that gives them all.
Translation = Callable[[Operation], "Code | Sequence[Code]"]
TRANSLATIONS: dict[str, Translation] = {}


def translates(*ops: str) -> Callable[[Translation], Translation]:
    """Enter a translation into the table."""

    def enter(translation: Translation) -> Translation:
        TRANSLATIONS.update(dict.fromkeys(ops, translation))
        return translation

    return enter


def even(sizes: Sequence[int]) -> Any:
    """Return one number for sizes that are all the same."""
    return sizes[0] if len(set(sizes)) == 1 else tuple(sizes)


def unless(value: Any, usual: Any) -> Any:
    """Return None for what may be left out."""
    return None if value == usual else value


def known(op: Operation, index: int) -> tuple[int, ...]:
    """Return the shape of an input, of which all sizes have to be known."""
    sizes = tuple(size for size in op.shape(index) or () if size is not None)
    if sizes != op.shape(index):
        op.refuse(f"the shape of its input {index} is unknown")
    return sizes


def padded(x: Code, before: Sequence[int], after: Sequence[int], value: Code | None = None, **named: str) -> Code:
    """Pad the last axes of a value."""
    pairs = list(zip(before, after, strict=True))
    while pairs and pairs[0] == (0, 0):
        del pairs[0]
    edges = tuple(edge for pair in reversed(pairs) for edge in pair)
    return call("F.pad", x, edges, **named, value=unless(value, "0.0")) if edges else x


def write(nodes: Iterable[OnnxNode], scope: Scope) -> None:
    """Write operations into a class; what cannot be written becomes one of its problems."""
    for node in nodes:
        try:
            result = TRANSLATIONS[node.op](Operation(node, scope))
        except CaffeError as error:
            scope.problems.append(error.located(layer=node.layer))
            result = [Code("None")] * len(node.outputs)
        scope.write(node, [result] if isinstance(result, Code) else result)
