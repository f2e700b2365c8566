"""pycaffe's `caffe.net_spec`: nets written in Python, as in `n.conv1 = L.Convolution(n.data, num_output=20)`."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

from google.protobuf.message import Message

from .errors import NetError
from .proto import caffe_pb2
from .proto.schema import Field, advise_enum, advise_field, fields_of
from .text.spelling import nearest

__all__ = [
    "Function",
    "Layers",
    "NetSpec",
    "NotATop",
    "Parameters",
    "Top",
    "assign_proto",
    "layers",
    "param_name_dict",
    "params",
    "to_proto",
]


class NotATop(NetError, TypeError):
    """A layer is given a bottom that is no other layer's top. The text is the original's; the hint is a note."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what, hint=hint)
        self.__notes__ = [hint]

    def __str__(self) -> str:
        return self.what

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.what, self.hint)


class UnknownTop(NetError, AttributeError, KeyError):
    """A NetSpec has no blob of this name; a KeyError in pycaffe."""


class FieldError(NetError, AttributeError):
    """A message has no field of this name; protobuf's AttributeError in pycaffe."""


class ValueRefused(NetError, TypeError, ValueError):
    """A field does not take a value; protobuf's TypeError or ValueError in pycaffe."""


class Top:
    """One output of a layer, which other layers take as a bottom."""

    def __init__(self, fn: Function, n: int) -> None:
        self.fn = fn
        self.n = n

    def to_proto(self) -> caffe_pb2.NetParameter:
        """Return the net that ends in this top, with names made from types: Convolution1, ReLU1, ..."""
        return to_proto(self)

    def _to_proto(self, layers: _Layers, names: dict[Top | Function, str], autonames: Counter[str]) -> None:
        self.fn._to_proto(layers, names, autonames)

    def __iter__(self) -> NoReturn:
        raise NotATop(
            f"{self.fn.type_name} has one top, which cannot be unpacked", "Ask for more with ntop, as in ntop=2"
        )


class Function:
    """A layer to be made: its type, its bottoms, its parameters, and its outputs in ``tops``.

    The parameters are fields of the message of its type or, if that has no such field, of LayerParameter (``name``,
    ``include``, ``loss_weight``, ...). A layer that reads another type's message is given the whole message:
    ``L.Deconvolution(x, convolution_param=dict(num_output=2))``. ``ntop`` is the number of tops (1); with
    ``in_place``, the tops are the bottoms.
    """

    def __init__(self, type_name: str, inputs: Sequence[Top], params: Mapping[str, Any]) -> None:
        for index, given in enumerate(inputs):
            if not isinstance(given, Top):
                raise NotATop(
                    f"{type_name} input {index} is not a Top (type is {type(given)})",
                    "Give the tops one by one: *data in place of data"
                    if isinstance(given, (tuple, list))
                    else "Give what a layer function returned",
                )
        self.type_name = type_name
        self.inputs = tuple(inputs)
        self.params = dict(params)
        self.ntop: int = self.params.pop("ntop", 1)
        self.in_place: bool = self.params.pop("in_place", False)
        self.tops = tuple(Top(self, n) for n in range(self.ntop))

    def add_to(self, spec: _Naming) -> None:
        """Add the layer, after the layers that make its bottoms, to the net being made."""
        # Without recursion: deep nets have more layers than Python has frames.
        waiting = [self]
        while waiting:
            function = waiting[-1]
            missing = [top.fn for top in function.inputs if top.fn not in spec.layers]
            if missing:
                waiting.extend(reversed(missing))
                continue
            waiting.pop()
            if function not in spec.layers:
                spec.layers[function] = function._layer(spec)

    def _to_proto(self, layers: _Layers, names: dict[Top | Function, str], autonames: Counter[str]) -> None:
        """Add the layer, and those it needs, to ``layers``; ``names`` and ``autonames`` name those without a name."""
        self.add_to(_Naming(names, layers, autonames))

    def _layer(self, spec: _Naming) -> caffe_pb2.LayerParameter:
        layer = caffe_pb2.LayerParameter(type=self.type_name)
        layer.bottom.extend(spec.layers[top.fn].top[top.n] for top in self.inputs)
        layer.top.extend(layer.bottom if self.in_place else [spec.name_of(top) for top in self.tops])
        layer.name = spec.name_of(self.tops[0] if self.tops else self)
        own = _message_names().get(self.type_name)
        for name, value in self.params.items():
            # A name that ends in "param" is a field of the layer, even if its own message has a field of that name.
            inside = own and not name.endswith("param") and name in fields_of(getattr(layer, own).DESCRIPTOR)
            try:
                assign_proto(getattr(layer, own) if own and inside else layer, name, value, self.type_name)
            except NetError as error:
                raise error.located(layer=layer.name, layer_type=self.type_name) from None
        return layer


_Layers: TypeAlias = "dict[Function, caffe_pb2.LayerParameter]"


class _Naming:
    """The net being made: its layers so far, and the names given to tops and layers without a name."""

    def __init__(
        self, names: dict[Top | Function, str], layers: _Layers | None = None, numbers: Counter[str] | None = None
    ) -> None:
        self.layers: _Layers = {} if layers is None else layers
        self._names = names
        self._numbers: Counter[str] = Counter() if numbers is None else numbers

    def name_of(self, thing: Top | Function) -> str:
        if thing not in self._names:
            kind = (thing.fn if isinstance(thing, Top) else thing).type_name
            self._numbers[kind] += 1
            self._names[thing] = f"{kind}{self._numbers[kind]}"
        return self._names[thing]

    def net(self) -> caffe_pb2.NetParameter:
        return caffe_pb2.NetParameter(layer=self.layers.values())


class NetSpec:
    """A net whose blobs get the names under which they are assigned: ``n.data, n.label = L.Data(..., ntop=2)``.

    ``n["conv1/3x3"] = ...`` is for names that are not Python identifiers. A layer gets the name of its first top or, if
    it has no tops, the name under which it was assigned. Any value may be assigned; ``to_proto`` raises an error for a
    value that is not a top.
    """

    tops: dict[str, Any]

    def __init__(self) -> None:
        super().__setattr__("tops", {})

    def __setattr__(self, name: str, value: Any) -> None:
        self.tops[name] = value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "tops":  # copy and pickle ask for these
            raise AttributeError(name)
        if name not in self.tops:
            near = nearest(name, self.tops)
            raise UnknownTop(f"the net has no {name!r} yet", hint=f"did you mean {near!r}?" if near else "")
        return self.tops[name]

    __setitem__ = __setattr__
    __getitem__ = __getattr__

    def keys(self) -> list[str]:
        """Return the names, in the order in which they were first assigned."""
        return list(self.tops)

    def vals(self) -> list[Any]:
        """Return the values assigned to the names, in the same order."""
        return list(self.tops.values())

    def update(self, name: str, params: Mapping[str, Any]) -> None:
        """Add or change parameters of the layer of this name, as in SSD's Caffe."""
        _function(name, self[name]).params.update(params)

    def __delitem__(self, name: str) -> None:
        del self.tops[name]

    def __delattr__(self, name: str) -> None:
        if self.tops.pop(name, None) is None:
            raise AttributeError(name)

    def to_proto(self) -> caffe_pb2.NetParameter:
        """Return the net, with its layers in the order in which their tops were assigned."""
        functions = [_function(name, top) for name, top in self.tops.items()]
        spec = _Naming({top: name for name, top in self.tops.items()})
        for function in functions:
            function.add_to(spec)
        return spec.net()


def to_proto(*tops: Top | Function) -> caffe_pb2.NetParameter:
    """Return the net that ends in these tops, with names made from types: Convolution1, ReLU1, ..."""
    spec = _Naming({})
    for index, top in enumerate(tops):
        _function(f"to_proto input {index}", top).add_to(spec)
    return spec.net()


def _function(name: str, top: object) -> Function:
    if not isinstance(top, (Top, Function)):
        raise NotATop(
            f"{name} is not a Top (type is {type(top)})",
            "Give tops one by one: n.data, n.label = L.Data(..., ntop=2)"
            if isinstance(top, (tuple, list))
            else "Give what a layer function returned",
        )
    return top.fn if isinstance(top, Top) else top


def layer_function(type_name: str) -> Callable[..., Any]:
    """Return a function, such as ``L.Convolution``, that makes a layer of this type and returns its top.

    Several tops come as a tuple; with ``ntop=0``, the function returns the layer itself.
    """

    def function(*inputs: Top, **params: Any) -> Any:
        made = Function(type_name, inputs, params)
        if not made.tops:
            return made
        return made.tops[0] if len(made.tops) == 1 else made.tops

    function.__name__ = function.__qualname__ = type_name
    return function


class Layers:
    """The layer functions as attributes of an object, like ``L``: ``Layers().Convolution(bottom, num_output=2)``."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return layer_function(name)


class Parameters:
    """The constants of the layers' messages: ``P.Pooling.MAX``."""

    def __getattr__(self, name: str) -> Any:
        message = getattr(caffe_pb2, f"{name}Parameter", None)
        if message is None:
            known = [found[: -len("Parameter")] for found in dir(caffe_pb2) if found.endswith("Parameter")]
            near = nearest(name, known)
            raise AttributeError(f"Caffe has no {name}Parameter" + (f"; did you mean P.{near}?" if near else ""))
        return message


layers, params = Layers(), Parameters()


def assign_proto(proto: Any, name: str, val: Any, layer_type: str | None = None) -> None:
    """Set a field of a message from Python values: numbers, text, names of enums, dicts for messages, lists of these.

    A single value becomes the only one of a repeated field. Raise NetError if a value does not fit.
    """
    field = fields_of(proto.DESCRIPTOR).get(name)
    if field is None:
        raise FieldError(
            f"{proto.DESCRIPTOR.name} has no field {name!r}",
            hint=advise_field(name, [(proto.DESCRIPTOR, proto.DESCRIPTOR.name)], layer_type),
        )
    if field.repeated:
        values = val.tolist() if hasattr(val, "tolist") else val
        for value in values if isinstance(values, (list, tuple)) else [values]:
            _append(getattr(proto, name), field, value)
    elif field.message is not None:
        _merge(getattr(proto, name), field.name, val)
    else:
        plain = _plain(field, val)
        try:
            setattr(proto, name, plain)
        except (TypeError, ValueError):
            _refuse(field, val)


def _append(values: Any, field: Field, value: Any) -> None:
    if field.message is not None:
        _merge(values.add(), field.name, value)
        return
    plain = _plain(field, value)
    try:
        values.append(plain)
    except (TypeError, ValueError):
        _refuse(field, value)


def _merge(message: Message, name: str, value: Any) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            assign_proto(message, key, inner)
    elif isinstance(value, type(message)):
        message.CopyFrom(value)
    else:
        raise ValueRefused(f"{name} is {value!r}", hint=f"it takes a dict of the fields of {message.DESCRIPTOR.name}")


def _plain(field: Field, value: Any) -> Any:
    """Return the value as protobuf takes it: enums as numbers, NumPy's scalars as Python's."""
    if field.enum is not None and isinstance(value, str):
        if value not in field.enum.values_by_name:
            raise ValueRefused(f"{field.name} is {value!r}", hint=advise_enum(value, field.enum))
        return field.enum.values_by_name[value].number
    return value.item() if hasattr(value, "item") else value


def _refuse(field: Field, value: object) -> NoReturn:
    raise ValueRefused(f"{field.name} is {value!r}", hint=f"it takes {field.takes}") from None


def param_name_dict() -> dict[str, str]:
    """Map each layer type to the name of its own parameters, without the ending: "InnerProduct" to "inner_product"."""
    return {kind: field.removesuffix("_param") for kind, field in _message_names().items()}


@functools.cache
def _message_names() -> dict[str, str]:
    """Map each layer type to the field of its own parameters: "InnerProduct" to "inner_product_param".

    Some forks have a message under a second name (relu6_param, normalize_param): the first in the schema counts.
    """
    names: dict[str, str] = {}
    for field in fields_of(caffe_pb2.LayerParameter.DESCRIPTOR).values():
        if field.message is not None and field.name.endswith("_param"):
            names.setdefault(field.message.name.removesuffix("Parameter"), field.name)
    return names
