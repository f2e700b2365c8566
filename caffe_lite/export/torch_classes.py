"""Classes of PyTorch as text; groups of layers that differ in sizes alone share a class, which takes the sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from .torch_code import Code, Names, call, camel, lines
from .torch_scope import Block, Module, Scope, helpers

_MOST_SIZES = 12  # that a class takes


@dataclass
class Classes:
    """The classes of a net: ``main`` is the name of its own, ``blocks`` are those of groups of layers."""

    main: str
    blocks: list[Block] = field(default_factory=list)
    names: Names = field(default_factory=lambda: Names(*helpers()))

    def __post_init__(self) -> None:
        self.main = self.names.new(self.main, "Net")

    def texts(self) -> Iterator[str]:
        """Yield the classes of the groups, and decide how objects of them are made."""
        alike: dict[Any, list[Block]] = {}
        for block in self.blocks:
            alike.setdefault(_form(block), []).append(block)
        for blocks in alike.values():
            sizes = _Sizes(blocks)
            if len(sizes.names) > _MOST_SIZES:
                for block in blocks:
                    yield self._text([block])
            else:
                yield self._text(blocks)

    def _text(self, blocks: Sequence[Block]) -> str:
        prefixes = [block.scope.prefix.rstrip("/") for block in blocks]
        common = prefixes[0] if len(blocks) == 1 else _common_start(prefixes)
        title = self.names.new(camel(common, "Block") or "Block", "Block")
        sizes = _Sizes(blocks)
        for place, block in enumerate(blocks):
            block.code = call(title, **{name: values[place] for values, name in sizes.names.items()})
        return class_text(title, blocks[0], sizes)


def class_text(title: str, block: Block, sizes: _Sizes | None = None) -> str:
    scope = block.scope
    text = [f"class {title}(nn.Module):"]
    if scope.made:
        names = list(sizes.names.values()) if sizes else []
        text += lines([f"def __init__({', '.join(['self', *names])}):"], 4)
        text += lines(["super().__init__()", *_settings(scope, sizes)], 8)
        text.append("")
    text += lines([f"def forward({', '.join(['self', *block.arguments])}):"], 4)
    return "\n".join([*text, *lines([*scope.body, f"return {block.returned}"], 8)])


def _settings(scope: Scope, sizes: _Sizes | None = None) -> Iterator[str]:
    for attribute, made in scope.made.items():
        if isinstance(made, Module):
            yield f"self.{attribute} = {made.written(sizes.of(attribute) if sizes else made.numbers)}"
        elif isinstance(made, Block):
            yield f"self.{attribute} = {made.code}"
        elif made.startswith("torch."):
            saved = None if attribute in scope.state else False
            yield call("self.register_buffer", attribute, made, persistent=saved)
        else:
            yield f"self.{attribute} = {made}"


def _common_start(names: Sequence[str]) -> str:
    first, last = min(names), max(names)
    size = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:size]


def _form(block: Block) -> object:
    """Return all of a class but its sizes."""
    scope = block.scope
    modules = [
        (attribute, made.written([Code("n")] * len(made.numbers)) if isinstance(made, Module) else "")
        for attribute, made in scope.made.items()
    ]
    others = [line for line in _settings(scope) if "nn.Parameter" in line or "register_buffer" in line]
    return str((modules, others, block.arguments, scope.body, block.returned))


class _Sizes:
    """The sizes in which classes differ that are otherwise alike: ``names`` by the values that the classes have."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.names: dict[tuple[int, ...], str] = {}
        self._of: dict[str, list[Any]] = {}
        given = Names()
        for attribute, made in blocks[0].scope.made.items():
            if isinstance(made, Module):
                self._of[attribute] = []
                same = (block.scope.made[attribute] for block in blocks)
                columns = zip(*(module.numbers for module in same if isinstance(module, Module)), strict=True)
                for place, values in enumerate(columns):
                    if len(set(values)) > 1 and values not in self.names:
                        inputs = "in_features" if made.kind == "Linear" else "in_channels"
                        name = f"{attribute}_groups" if place == 2 else attribute if place else inputs
                        self.names[values] = given.new(name, "size")
                    self._of[attribute].append(Code(self.names[values]) if len(set(values)) > 1 else values[0])

    def of(self, attribute: str) -> list[Any]:
        return self._of[attribute]
