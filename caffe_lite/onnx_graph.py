"""Graphs in ONNX's terms, without the onnx package: layers write themselves into one (``Layer.to_onnx``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from .blobs import Blob
from .errors import NetError

Sizes = tuple["int | None", ...]  # None: a size that the batch decides
# Types of elements, as attributes of Cast name them.
FLOAT, INT32, INT64, BOOL, DOUBLE = 1, 6, 7, 9, 11
END = 2**63 - 1  # of an axis whose size the batch decides, for ``OnnxGraph.slice``
# The name of the metadata in which a model holds the layers that are several of its operations, as a prototxt.
LAYERS = "caffe_lite.layers"
_ROLES = ("weight", "bias")  # of a layer's learnable blobs, in their order
# Since these opsets, the axes are an input; before, they are an attribute.
_AXES_AS_INPUT = {"ReduceSum": 13}
_AXES_OF_OTHERS = 18


@dataclass(eq=False)
class Value:
    """A tensor of a graph: its name, and its shape as far as it is known; ``shape`` is None if nothing is known.

    ``array`` holds the values of a constant, ``blob`` the learnable blob that they are.
    """

    name: str
    shape: Sizes | None = None
    array: np.ndarray | None = None
    blob: Blob | None = None

    @property
    def sizes(self) -> Sizes:
        """The shape of a value for which it is known: a bottom, a top, a constant, the result of ``reshape``."""
        assert self.shape is not None, f"the shape of {self.name} is unknown"
        return self.shape

    @property
    def ndim(self) -> int:
        return len(self.sizes)

    @property
    def image(self) -> tuple[int, ...]:
        """The sizes from axis 2 on; raise a NetError if one of them is free."""
        sizes = tuple(size for size in self.sizes[2:] if size is not None)
        if len(sizes) < len(self.sizes[2:]):
            raise NetError(f"the size of the images in {self.name!r} is free", hint="Give images of one size")
        return sizes


@dataclass(eq=False)
class OnnxNode:
    """One operation: its type, its inputs (None for one that is left out), outputs and attributes.

    An attribute is a number, a text, a list of them, an array or an ``OnnxGraph``. ``layer`` is the name of the layer
    that it belongs to.
    """

    op: str
    inputs: list[Value | None]
    outputs: list[Value]
    attributes: dict[str, Any]
    layer: str


Operand = Value | Blob | np.ndarray | float | int | Sequence[int] | None


@dataclass(eq=False)
class OnnxGraph:
    """The operations of a net, in order. Every operation of ONNX is a method: ``y = g.Conv(x, weight, pads=[...])``.

    Operands are values, learnable blobs, arrays of NumPy (of float32 if they hold floats), floats (scalars of float32)
    and whole numbers or lists of them (int64). ``outputs=2`` asks for several results, which come as a list.

    Attributes:
        opset: the version of ONNX's operators. The operators here are those that all versions from 13 on have in
            common; where they differ, a method of this class has the name of what it does.
        layer: the name of the layer that writes at present.
        notes: what differs from the net, if a graph cannot say all of it; for reports.
    """

    opset: int = 17
    nodes: list[OnnxNode] = field(default_factory=list)
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    layer: str = ""
    notes: list[str] = field(default_factory=list)
    _names: Counter[str] = field(default_factory=Counter, repr=False)
    _of_blob: dict[int, Value] = field(default_factory=dict, repr=False)

    def __getattr__(self, op: str) -> Callable[..., Any]:
        if not op[:1].isupper():
            raise AttributeError(op)

        def add(*operands: Operand, outputs: int = 1, **attributes: Any) -> Any:
            inputs = [None if operand is None else self.value(operand) for operand in operands]
            made = [Value(self.unused_name(f"{self.layer}/{op}")) for _ in range(outputs)]
            given = {name: value for name, value in attributes.items() if value is not None}
            self.nodes.append(OnnxNode(op, inputs, made, given, self.layer))
            return made[0] if outputs == 1 else made

        return add

    def input(self, name: str, shape: Sizes) -> Value:
        """Add an input of the graph."""
        value = Value(self.unused_name(name), shape)
        self.inputs.append(value)
        return value

    def value(self, operand: Operand) -> Value:
        """Return the value of an operand; a blob has one, whatever the number of its readers."""
        if isinstance(operand, Value):
            return operand
        return self._learned(operand) if isinstance(operand, Blob) else self.constant(operand)

    def constant(self, values: Any, name: str = "constant") -> Value:
        """Return a value that holds numbers: floats as float32, whole numbers as int64, truth values as they are."""
        array = np.asarray(values)
        if array.dtype.kind == "f":
            array = array.astype(np.float32)
        elif array.dtype.kind in "iu" and array.dtype != np.uint8:
            array = array.astype(np.int64)
        return Value(self.unused_name(f"{self.layer}.{name}"), array.shape, array)

    def _learned(self, blob: Blob) -> Value:
        if id(blob) not in self._of_blob:
            place = sum(1 for value in self._of_blob.values() if value.name.startswith(f"{self.layer}."))
            name = _ROLES[place] if place < len(_ROLES) else str(place)
            value = self.constant(np.array(blob.ops.host_view(blob.data)), name)
            value.blob = blob
            self._of_blob[id(blob)] = value
        return self._of_blob[id(blob)]

    def learned(self, blobs: Sequence[Blob]) -> list[Value] | None:
        """Return the values of learnable blobs, or None if the graph does not hold all of them as they are."""
        values = [self._of_blob.get(id(blob)) for blob in blobs]
        return None if None in values else [value for value in values if value is not None]

    def unused_name(self, name: str) -> str:
        """Return a name that no value of the graph has yet: this one, or this one with a number."""
        self._names[name] += 1
        count = self._names[name]
        return name if count == 1 else self.unused_name(f"{name}_{count}")

    def body(self) -> OnnxGraph:
        """Return a graph for the attribute of an operation, as of Scan; it sees the values of this one."""
        return OnnxGraph(self.opset, layer=self.layer, _names=self._names, _of_blob=self._of_blob)

    def reshape(self, x: Value, shape: Sizes) -> Value:
        """Give a value another shape. Besides sizes at the front that stay, the batch may decide one."""
        if x.shape == shape and shape.count(None) < 2:
            return x
        stays = x.shape is not None
        target: list[int] = []
        for axis, size in enumerate(shape):
            stays = stays and x.sizes[axis : axis + 1] == (size,)
            target.append(size if size is not None else 0 if stays and None in shape[axis + 1 :] else -1)
        if target.count(-1) > 1:
            raise NetError(f"more than one size of {shape} is free", hint="Export it for one size of batch")
        # A size of 0 means "as it was", unless allowzero is set.
        y: Value = self.Reshape(x, target, allowzero=1 if 0 in shape and self.opset >= 14 else None)
        y.shape = shape
        return y

    @staticmethod
    def merged(sizes: Sizes) -> int | None:
        """Return the number of elements of a shape, or None if the batch decides it."""
        return None if None in sizes else prod(size for size in sizes if size is not None)

    def flat(self, x: Value, first: int, last: int) -> Value:
        """Merge the axes from ``first`` to before ``last`` into one."""
        return self.reshape(x, (*x.sizes[:first], self.merged(x.sizes[first:last]), *x.sizes[last:]))

    def reduce(self, op: str, x: Value, axes: Sequence[int], keepdims: bool = True) -> Value:
        """Reduce along some axes: ``op`` is "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", ..."""
        write = getattr(self, op)
        if self.opset >= _AXES_AS_INPUT.get(op, _AXES_OF_OTHERS):
            reduced: Value = write(x, self.constant(np.array(axes, np.int64), "axes"), keepdims=int(keepdims))
        else:
            reduced = write(x, axes=list(axes), keepdims=int(keepdims))
        return reduced

    def affine(self, x: Value, scale: float, shift: float = 0.0) -> Value:
        """Write scale * x + shift."""
        scaled = x if scale == 1 else self.Mul(x, float(scale))
        return self.Add(scaled, float(shift)) if shift else scaled

    def flip(self, x: Value, axes: Sequence[int]) -> Value:
        """Reverse the elements along some axes."""
        steps = [-1] * len(axes)
        return self.like(x, self.Slice(x, steps, [-END] * len(axes), list(axes), steps)) if axes else x

    def slice(self, x: Value, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int]) -> Value:
        """Take the elements from ``starts`` to before ``ends`` along some axes."""
        sliced: Value = self.Slice(x, list(starts), list(ends), list(axes))
        if x.shape is not None:
            shape = list(x.shape)
            for start, end, axis in zip(starts, ends, axes, strict=True):
                size = shape[axis]
                shape[axis] = None if size is None else len(range(size)[start:end])
            sliced.shape = tuple(shape)
        return sliced

    def sizes(self, x: Value, shape: Sizes) -> Value:
        """Write a shape in numbers; a size that the batch decides is that of ``x`` along the same axis."""
        if None not in shape:
            return self.constant(np.array(shape, np.int64), "sizes")
        of_x = self.Shape(x)
        parts = [self.slice(of_x, [i], [i + 1], [0]) if n is None else [n] for i, n in enumerate(shape)]
        sizes: Value = self.Concat(*parts, axis=0)
        return sizes

    def resize(self, x: Value, image: Sequence[int], **attributes: Any) -> Value:
        """Give images (N, C, *) another size; ``attributes`` say how, as those of Resize."""
        scales = [1.0, 1.0, *(_scale(size, wanted) for size, wanted in zip(x.image, image, strict=True))]
        resized: Value = self.Resize(x, None, np.array(scales), **attributes)
        return resized

    @staticmethod
    def like(x: Value, y: Value) -> Value:
        """Return y, which has the shape of x."""
        y.shape = x.shape
        return y

    def along(self, x: Operand, ndim: int, axis: int = 1) -> Value:
        """Shape a vector so that it meets one axis of a value with ``ndim`` axes."""
        vector = self.value(x)
        return self.reshape(vector, (*vector.sizes, *(1,) * (ndim - axis - 1)))


def _scale(size: int, wanted: int) -> np.float32:
    """Return the scale by which Resize makes exactly ``wanted`` elements of ``size``: it rounds down."""
    scale = np.float32(wanted / size)
    return scale if float(scale) * size >= wanted else np.nextafter(scale, np.float32(np.inf))
