"""A module of PyTorch while it is written: what its __init__ makes, and the statements of its forward."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ..errors import CaffeError
from ..onnx_graph import BOOL, DOUBLE, FLOAT, OnnxGraph, OnnxNode, Sizes, Value
from .torch_code import Code, Names, call, literal

_INLINE = 60  # as many characters an operand has within another expression
_SMALL = 16  # so many numbers stand in the source
_TYPES = {"f": "", "i": "torch.int64", "u": "torch.uint8", "b": "torch.bool"}
# Operations whose results are of another type than their first operand.
_BOOLEAN = {"And", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "Not", "Or", "Xor"}
_WHOLE = {"ArgMax", "ArgMin", "NonMaxSuppression", "NonZero", "Shape", "Size"}
_ELEMENTWISE = {"Add", "Div", "Max", "Min", "Mod", "Mul", "Pow", "PRelu", "Sub", "Where", *_BOOLEAN}
_SAME_SHAPE = {
    "BatchNormalization",
    "Cast",
    "Clip",
    "Identity",
    "LRN",
    "LeakyRelu",
    "Relu",
    "Sigmoid",
    "Softmax",
    "Tanh",
}
_SAME_RANK = {"Abs", "AveragePool", "BatchNormalization", "Cast", "Ceil", "Clip", "Concat", "Conv", "ConvTranspose"}
_SAME_RANK |= {"CumSum", "Elu", "Exp", "Floor", "GatherElements", "Identity", "LRN", "LeakyRelu", "Log", "LogSoftmax"}
_SAME_RANK |= {"MaxPool", "Neg", "Pad", "Reciprocal", "Relu", "Resize", "ScatterElements", "ScatterND", "Sigmoid"}
_SAME_RANK |= {"Sign", "Slice", "Softmax", "Softplus", "Split", "Sqrt", "Tanh", "Tile", "TopK", "Transpose"}


@cache
def helpers() -> dict[str, str]:
    """Return the functions of torch_helpers.py, their text by their names."""
    text = Path(__file__).with_name("torch_helpers.py").read_text(encoding="utf-8")
    functions = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    return {one.name: ast.get_source_segment(text, one) or "" for one in functions}


@dataclass
class Module:
    """A module that __init__ makes: ``nn.Conv2d(3, 64, kernel_size=7)``, and its weights by their names in it."""

    kind: str
    sizes: tuple[int, ...]
    settings: dict[str, Any]
    state: dict[str, Value]

    @property
    def numbers(self) -> list[int]:
        """The sizes in which modules of nets differ: of inputs, of outputs, groups."""
        return [*self.sizes, *([self.settings["groups"]] if self.settings.get("groups") else [])]

    def written(self, numbers: Sequence[Any]) -> Code:
        """Write the call that makes it, with these numbers."""
        sizes, groups = numbers[: len(self.sizes)], numbers[len(self.sizes) :]
        return call(f"nn.{self.kind}", *sizes, **{**self.settings, **({"groups": groups[0]} if groups else {})})


@dataclass(eq=False)
class Block:
    """A class that is complete: its scope, forward's arguments and result, and how an object of it is made."""

    scope: Scope
    arguments: list[str]
    returned: Code
    code: str = ""


@dataclass(eq=False)
class Scope:
    """The class that is being written, for the layers whose names start with ``prefix``.

    Attributes:
        made: the lines of __init__ by the attributes that they set.
        state: weights and other constants by their names in the class's state_dict.
        body: the statements of forward.
        helpers: the functions that it calls, by name.
        ends: the values that forward returns, by identity.
        sizes: shapes and parts of shapes by the identity of their values: numbers, and code where the batch decides.
        shapes: of values whose own are unknown, or whose code has others.
        problems: what cannot be written.
    """

    graph: OnnxGraph
    blobs: dict[int, str]  # the names of blobs, by the identity of their values
    reads: Counter[int]  # of values, by identity
    producers: dict[int, OnnxNode]
    prefix: str = ""
    made: dict[str, Code | Module | Block] = field(default_factory=dict)
    state: dict[str, Value] = field(default_factory=dict)
    body: list[str] = field(default_factory=list)
    helpers: set[str] = field(default_factory=set)
    names: Names = field(default_factory=lambda: Names(*helpers()))
    attributes: Names = field(default_factory=lambda: Names(of_attributes=True))
    ends: set[int] = field(default_factory=set)
    sizes: dict[int, list[Any]] = field(default_factory=dict)
    shapes: dict[int, Sizes] = field(default_factory=dict)
    problems: list[CaffeError] = field(default_factory=list)
    _codes: dict[int, Code] = field(default_factory=dict)
    _kinds: dict[int, str] = field(default_factory=dict)
    _ranks: dict[int, int | None] = field(default_factory=dict)
    _last: dict[str, OnnxNode] = field(default_factory=dict)
    _indent: str = ""

    def __post_init__(self) -> None:
        self._last = {node.layer: node for node in self.graph.nodes}

    def inner(self, prefix: str) -> Scope:
        """Return a scope for the class of a group of layers."""
        shared = {name: getattr(self, name) for name in ("shapes", "problems", "_kinds", "_ranks")}
        return Scope(self.graph, self.blobs, self.reads, self.producers, prefix, **shared)

    def argument(self, value: Value, name: str = "") -> str:
        """Return the name of an argument of forward."""
        chosen = self.names.new(name or self._short(self.blobs.get(id(value), value.name)), "x")
        self._codes[id(value)] = Code(chosen)
        return chosen

    def bind(self, value: Value, code: Code) -> None:
        """Let a name of Python's stand for a value."""
        self._codes[id(value)] = code

    def _short(self, name: str) -> str:
        return name[len(self.prefix) :] if self.prefix and name.startswith(self.prefix) else name

    def code(self, value: Value) -> Code:
        """Return what stands for a value."""
        if id(value) in self.sizes:
            return call("torch.tensor", Code(f"[{', '.join(map(str, self.sizes[id(value)]))}]"))
        if id(value) not in self._codes:
            assert value.array is not None, f"{value.name} is not computed yet"
            if value.blob is None and value.array.ndim == 0:
                return literal(value.array)
            self._codes[id(value)] = self._constant(value, value.array)
        return self._codes[id(value)]

    def variable(self, value: Value) -> Code:
        """Return what stands for a value, for several places: a variable rather than a computation."""
        code = self.code(value)
        if value.array is None and not code.isidentifier():
            code = self._assigned(value, code)
        return code

    def _constant(self, value: Value, array: np.ndarray) -> Code:
        name = self.attributes.new(self._short(value.name).replace(".constant", ""), "constant")
        kind = Code(_TYPES[array.dtype.kind]) if _TYPES[array.dtype.kind] else None
        shape = tuple(array.shape)
        if value.blob is not None:
            self.made[name] = call("nn.Parameter", call("torch.empty", *shape or [()]))
            self.state[name] = value
        elif array.size > 1 and kind is None and np.all(array == array.flat[0]):
            number = float(array.flat[0])
            usual = {0.0: "torch.zeros", 1.0: "torch.ones"}.get(number)
            self.made[name] = call(usual, *shape) if usual else call("torch.full", shape, number)
        elif array.size <= _SMALL and array.size:
            self.made[name] = call("torch.tensor", array, dtype=kind if kind == _TYPES["u"] else None)
        else:
            self.made[name] = call("torch.empty", *shape or [()], dtype=kind)
            self.state[name] = value
        return Code(f"self.{name}")

    def module(self, layer: str, module: Module) -> Code | None:
        """Return the attribute for a module with these weights; None if other modules have some of them."""
        for name, made in self.made.items():
            if isinstance(made, Module) and made == module:
                return Code(f"self.{name}")
        if any(id(value) in self._codes or value.array is None for value in module.state.values()):
            return None
        name = self.attributes.new(self._short(layer), module.kind.rstrip("123d").lower())
        self.made[name] = module
        for role, value in module.state.items():
            self.state[f"{name}.{role}"] = value
            self._codes[id(value)] = Code(f"self.{name}.{role}")
        return Code(f"self.{name}")

    def count_batches(self, module: Code) -> None:
        """Add what nn.BatchNorm counts in training to the state of one."""
        name = f"{module.removeprefix('self.')}.num_batches_tracked"
        self.state.setdefault(name, Value(name, (), np.zeros((), np.int64)))

    def write(self, node: OnnxNode, results: Sequence[Code]) -> None:
        """Take the results of an operation: one for each output, or one call that gives them all."""
        for place, value in enumerate(node.outputs):
            self._kinds[id(value)] = self._kind_after(node, place)
            self._ranks[id(value)] = self._rank_after(node)
            if node.op in _SAME_SHAPE and value.shape is None and node.inputs[0] is not None:
                shape = self.shape(node.inputs[0])
                self.shapes |= {} if shape is None else {id(value): shape}
        if id(node.outputs[0]) in self.sizes:
            return
        if len(results) < len(node.outputs):
            self.take(node.outputs, results[0])
        else:
            for value, code in zip(node.outputs, results, strict=True):
                self._take_one(value, code)

    def take(self, values: Sequence[Value], code: Code) -> None:
        """Take the result of a call: one value, or a tuple of them."""
        if len(values) == 1:
            self._take_one(values[0], code)
            return
        names = [self._variable_name(value) if self.reads[id(value)] else "_" for value in values]
        self.say(f"{', '.join(names)} = {code}")
        for value, name in zip(values, names, strict=True):
            self._codes[id(value)] = Code(name)

    def _take_one(self, value: Value, code: Code) -> None:
        self._codes[id(value)] = code
        if self.reads[id(value)] and not self._is_pending(value, code):
            self._assigned(value, code)

    def _is_pending(self, value: Value, code: Code) -> bool:
        """Return whether the only reader of a value may compute it."""
        if code.isidentifier():
            return True
        if id(value) in self.ends:
            return self.reads[id(value)] == 1 and len(self.ends) == 1
        return self.reads[id(value)] == 1 and id(value) not in self.blobs

    def _assigned(self, value: Value, code: Code) -> Code:
        name = Code(self._variable_name(value))
        self.say(f"{name} = {code}")
        self._codes[id(value)] = name
        return name

    def _variable_name(self, value: Value) -> str:
        if id(value) in self.blobs:
            return self.names.new(self._short(self.blobs[id(value)]), "x")
        node = self.producers[id(value)]
        if self._last.get(node.layer) is node:
            return self.names.new(self._short(node.layer), "x")
        return self.names.new(_snake(node.op), "x")

    def say(self, statement: str) -> None:
        self.body.append(self._indent + statement)

    def kind(self, value: Value) -> str:
        """Return whether a value holds floats, "f", or doubles, "d", whole numbers, "i", or truth values, "b"."""
        if value.array is not None:
            return value.array.dtype.kind.replace("u", "i")
        return self._kinds.get(id(value), "f")

    def rank(self, value: Value) -> int | None:
        shape = self.shape(value)
        return self._ranks.get(id(value)) if shape is None else len(shape)

    def shape(self, value: Value) -> Sizes | None:
        return self.shapes.get(id(value), value.shape)

    def indented(self, statement: str) -> AbstractContextManager[None]:
        """Write a statement that ends in a colon; what is written within the context belongs to it."""
        self.say(statement)
        return self._deeper()

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        self._indent += "    "
        yield
        self._indent = self._indent[:-4]

    def _kind_after(self, node: OnnxNode, place: int) -> str:
        if place and node.op in ("MaxPool", "TopK"):
            return "i"
        if node.op in _BOOLEAN:
            return "b"
        if node.op in _WHOLE:
            return "i"
        if node.op == "Cast":
            return {FLOAT: "f", DOUBLE: "d", BOOL: "b"}.get(node.attributes["to"], "i")
        read = [value for value in node.inputs[1 if node.op == "Where" else 0 :] if value is not None]
        return self.kind(read[0]) if read else "f"

    def _rank_after(self, node: OnnxNode) -> int | None:
        """Return the number of axes that the results of an operation have, if that can be told."""
        first, second = ([self.rank(value) if value else None for value in node.inputs] + [None, None])[:2]
        if node.op in _ELEMENTWISE:
            ranks = [self.rank(value) for value in node.inputs if value is not None]
            return None if None in ranks else max((rank for rank in ranks if rank is not None), default=None)
        if node.op == "Gather" and first is not None and second is not None:
            return first + second - 1
        if node.op.startswith(("Reduce", "Arg")) and not node.attributes.get("keepdims", 1):
            return None
        return first if node.op.startswith(("Reduce", "Arg")) or node.op in _SAME_RANK else None


@dataclass
class Operation:
    """An operation that is to be written, with what its translation asks for."""

    node: OnnxNode
    scope: Scope

    def __post_init__(self) -> None:
        pending = [value for value in self.node.inputs if value is not None and value.array is None]
        pending = [value for value in pending if id(value) not in self.scope.sizes]
        lengths = {id(value): len(self.scope.code(value)) for value in pending}
        for value in pending:
            if lengths[id(value)] > _INLINE or sum(lengths.values()) > 1.5 * _INLINE:
                self.scope.variable(value)

    def __len__(self) -> int:
        return len(self.node.inputs)

    def value(self, index: int) -> Value | None:
        return self.node.inputs[index] if index < len(self.node.inputs) else None

    def given(self, index: int) -> Value:
        value = self.value(index)
        assert value is not None
        return value

    def __getitem__(self, index: int) -> Code:
        """Return what stands for an input."""
        return self.scope.code(self.given(index))

    def all(self) -> Iterable[Code]:
        return (self.tensor(index) for index in range(len(self)))

    def variable(self, index: int) -> Code:
        """Return a variable for an input that is needed in several places."""
        return self.scope.variable(self.given(index))

    def tensor(self, index: int) -> Code:
        """Return what stands for an input where numbers will not do."""
        value = self.given(index)
        if value.array is not None and value.blob is None and value.array.ndim == 0:
            return call("torch.tensor", value.array)
        return self.scope.code(value)

    def optional(self, index: int) -> Code | None:
        return None if self.value(index) is None else self[index]

    def constant(self, index: int) -> np.ndarray | None:
        """Return the numbers of an input, if they are no weights."""
        value = self.value(index)
        return None if value is None or value.blob is not None else value.array

    def numbers(self, index: int) -> np.ndarray:
        """Return the numbers of an input that has to be a constant."""
        array = self.constant(index)
        if array is None:
            self.refuse(f"its input {index} is computed")
        return array

    def whole(self, index: int, name: str) -> list[int] | None:
        """Return whole numbers that are an attribute or, in later versions of the operator, an input."""
        if name in self.node.attributes:
            return [int(n) for n in self.node.attributes[name]]
        return None if self.value(index) is None else [int(n) for n in self.numbers(index)]

    def attribute(self, name: str, otherwise: Any = None) -> Any:
        return self.node.attributes.get(name, otherwise)

    def kind(self, index: int) -> str:
        return self.scope.kind(self.given(index))

    def rank(self, index: int) -> int | None:
        return self.scope.rank(self.given(index))

    def shape(self, index: int) -> Sizes | None:
        return self.scope.shape(self.given(index))

    def size(self, axis: int) -> int | None:
        """Return the size of the first input along an axis, if it is known."""
        shape = self.shape(0)
        return None if shape is None else shape[axis]

    def sizes(self, index: int) -> list[Any] | None:
        """Return an input that is a shape or a part of one, as numbers and, where the batch decides, code."""
        value = self.value(index)
        if value is None or value.array is not None:
            array = self.constant(index)
            return None if array is None or array.ndim != 1 or array.dtype.kind != "i" else [int(n) for n in array]
        return self.scope.sizes.get(id(value))

    def say_sizes(self, sizes: Sequence[Any]) -> Sequence[Code]:
        """Give a shape or a part of one as the result."""
        self.scope.sizes[id(self.node.outputs[0])] = list(sizes)
        return []

    def number(self, index: int) -> Code:
        """Return an input of an operation on elements: a constant of one element as a number."""
        array = self.constant(index)
        if array is not None and array.size == 1:
            others = [self.rank(i) for i in range(len(self)) if i != index and self.value(i) is not None]
            if array.ndim == 0 or any(rank is not None and rank >= array.ndim for rank in others):
                return literal(array.reshape(()))
        return self[index]

    def source(self, index: int) -> OnnxNode | None:
        """Return the operation that computes an input."""
        return self.scope.producers.get(id(self.given(index)))

    def is_read(self, output: int) -> bool:
        return output < len(self.node.outputs) and self.scope.reads[id(self.node.outputs[output])] > 0

    def module(self, kind: str, *sizes: int, state: dict[str, Value | None], **settings: Any) -> Code | None:
        """Return the attribute for a module that has these weights; None if they are computed, or another's."""
        given = {role: value for role, value in state.items() if value is not None}
        return self.scope.module(self.node.layer, Module(kind, sizes, settings, given))

    def helper(self, name: str, *operands: Any, **named: Any) -> Code:
        """Write a call of one of the functions of torch_helpers.py, which becomes part of the file."""
        self.scope.helpers.add(name)
        return call(name, *operands, **named)

    def refuse(self, why: str) -> NoReturn:
        raise CaffeError(f"{self.node.op} cannot be written in PyTorch here: {why}")


def _snake(op: str) -> str:
    return "".join(
        f"_{c.lower()}" if c.isupper() and i and not op[i - 1].isupper() else c.lower() for i, c in enumerate(op)
    )
