"""The contract that every layer keeps, and the registry that finds a layer by its type."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Sequence
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

import numpy as np

from .blobs import Blob
from .errors import LayerError, NetError, UnknownLayerType, Where
from .logs.log import logger
from .ops.base import Array, Ops
from .ops.roles import Role
from .plugins import load_plugins
from .proto import caffe_pb2
from .text.spelling import nearest, nearest_few

if TYPE_CHECKING:
    pass

Range = tuple[int, "int | None"]


class Kind(enum.Enum):
    """What layers are for: drawings give each kind its colour, the documentation its section."""

    DATA = "data"
    CONVOLUTION = "convolution"
    PRODUCT = "product"
    POOLING = "pooling"
    NEURON = "neuron"
    NORMALISATION = "normalisation"
    ARRANGEMENT = "arrangement"
    LOSS = "loss"
    OTHER = "other"


class Saved:
    """What a Forward keeps for the Backward after it, as attributes with names of the layer's own.

    ``shapes`` are those of the bottoms of that Forward; None before the first.
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]] | None = None) -> None:
        self.shapes = shapes

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

        def __setattr__(self, name: str, value: Any) -> None: ...

    def exchange(self, old: Array, new: Array) -> None:
        """Keep another array wherever this one is kept."""
        for name, value in self.__dict__.items():
            if value is old:
                self.__dict__[name] = new

    def take(self, other: Saved) -> None:
        """Keep what another Forward over bottoms of these shapes has kept."""
        self.__dict__.update(other.__dict__, shapes=self.shapes)


class Layer:
    """One layer of a Net: ``Setup`` once, then ``Reshape``, ``Forward`` and ``Backward`` any number of times.

    A layer binds its results (``top[0].data = ...``) and keeps in ``saved`` what ``Backward`` needs: by then a later
    in-place layer may have bound another array to the same blob. So every layer whose tops keep the shape of its
    bottoms may run in place. ``Forward`` changes nothing else of the layer.

    Attributes of the class:
        bottoms, tops: how many the layer takes, as (least, most); most is None where there is no limit.
        equal_bottoms_tops: whether it needs as many tops as bottoms.
        is_loss: whether the first top weighs 1 in the net's loss if the prototxt gives no loss_weight.
        not_differentiable: bottoms that never get a gradient (labels), by index; negative counts from the end.
        repeatable: whether Forward does nothing but compute its tops, so that the Net may call it when it likes.
        has_weights: whether most of its work is products with weights that it learns.
        kind: what it is for.
        formula: what it computes, in LaTeX, for its page of the documentation.

    Attributes of the instance:
        param: its LayerParameter.         blobs: its learnable Blobs.      ops: the engine's arithmetic.
        phase: caffe_pb2.TRAIN or TEST.    rng: the net's random numbers.   where: its place in the prototxt, or None.
        saved: what the last ``Forward`` kept for ``Backward``; a new one, empty, for every Forward.
    """

    type: ClassVar[str] = ""
    bottoms: ClassVar[Range] = (1, 1)
    tops: ClassVar[Range] = (1, 1)
    equal_bottoms_tops: ClassVar[bool] = False
    is_loss: ClassVar[bool] = False
    not_differentiable: ClassVar[tuple[int, ...]] = ()
    repeatable: ClassVar[bool] = True
    has_weights: ClassVar[bool] = False
    kind: ClassVar[Kind] = Kind.OTHER
    formula: ClassVar[str] = ""

    @staticmethod
    def caption(param: caffe_pb2.LayerParameter) -> str:
        """The settings that matter most, in a few words, as "7 x 7 /2, pad 3 → 64": a drawing shows them."""
        return ""

    def __init__(
        self,
        param: caffe_pb2.LayerParameter,
        ops: Ops,
        phase: int,
        rng: np.random.Generator,
        where: Where | None = None,
    ) -> None:
        self.param = param
        self.name = param.name
        self.ops = ops
        self.phase = phase
        self.rng = rng
        self.where = where
        self.blobs: list[Blob] = []
        self.saved = Saved()

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Check the parameters, create and fill ``blobs``. Called once, before the first ``Reshape``."""

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Give the tops their shapes, from the shapes of the bottoms."""
        raise NotImplementedError

    def outline(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Check the parameters and shape the tops, where no values are wanted and there may be no data.

        A layer that opens a source, or runs code of the user's, does it otherwise than in ``Setup`` and ``Reshape``:
        what only the data could tell are sizes that are not known (``UnknownSize``), or raise ``Undetermined``.
        """
        self.Setup(bottom, top)
        self.Reshape(bottom, top)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Compute ``top[i].data``."""
        raise NotImplementedError

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Compute ``bottom[i].diff`` where ``propagate_down[i]``; add into ``blobs[j].diff`` with ``add_diff``
        where ``param_propagate_down[j]``."""
        raise NotImplementedError

    def Deconv(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob], guided: bool) -> None:
        """``Backward`` in a deconvolutional network, or in guided backpropagation: they differ where a layer rectifies.

        Source: the Caffe of the deep visualization toolbox.
        """
        self.Backward(top, propagate_down, bottom)

    def role(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> Role | None:
        """What the layer is to its neighbours, if several in a row may run as one kernel."""
        return None

    def multiply_adds(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """What its matrix products cost in one Forward; what is done once per element is not counted."""
        return 0

    # What scripts see in the layer's place and in that of its learnable blobs, if not what they see of any layer.
    shown: Any = None

    # Set by the Net before the first Backward: which of ``blobs`` need a gradient (lr_mult 0 asks for none).
    param_propagate_down: Sequence[bool] = ()

    # What a pass leaves for the next one, and no weights file holds: read and bound in every Forward.
    carried: Sequence[Blob] = ()

    def state(self) -> Any:
        """What a snapshot must hold, beyond ``blobs``, for this layer to go on as if never stopped; JSON, or None."""
        return None

    def restore_state(self, state: Any) -> None:
        """Go on from what ``state()`` gave."""

    def close(self) -> None:
        """Stop threads and close files. The Net calls it once; the layer is not used afterwards."""

    def error(self, what: str, hint: str = "") -> NoReturn:
        """Refuse: raise a LayerError that names this layer and its place in the prototxt."""
        raise LayerError(what, where=self.where, layer=self.name, layer_type=self.type, hint=hint)

    def settings(self, **defaults: Any) -> SimpleNamespace:
        """The parameters of a layer whose type has no message in the schema: JSON in its python_param.

            python_param { param_str: '{"slope": 0.2}' }

        gives ``self.settings(slope=0.1).slope == 0.2``. A default also says what may stand there; a type in its place
        (``num_output=int``), that something must.
        """
        text = self.param.python_param.param_str
        try:
            given = json.loads(text or "{}")
        except ValueError as error:
            self.error(f"param_str is no JSON: {error}", f"Write it as in {_JSON_EXAMPLE}")
        if not isinstance(given, dict):
            self.error(f"param_str is {text}, which has no names", f"Write it as in {_JSON_EXAMPLE}")
        for name, value in given.items():
            if name not in defaults:
                near = nearest(name, defaults)
                known = f"did you mean {near!r}?" if near else f"it takes {', '.join(defaults) or 'none'}"
                self.error(f"unknown setting {name!r} in param_str", known)
            kind = defaults[name] if isinstance(defaults[name], type) else type(defaults[name])
            fits = (int, float) if kind is float else kind
            if not isinstance(value, fits) or (isinstance(value, bool) and kind is not bool):
                self.error(f"{name} in param_str is {json.dumps(value)}", f"it takes {_KINDS.get(kind, kind.__name__)}")
        for name, default in defaults.items():
            if isinstance(default, type) and name not in given:
                self.error(f"{name} is not given", f"write python_param {{ param_str: '{{\"{name}\": ...}}' }}")
        return SimpleNamespace(**(defaults | given))

    def axis(self, axis: int, num_axes: int, field: str = "axis") -> int:
        """The axis counted from 0, where the prototxt may count from the end."""
        if not -num_axes <= axis < num_axes:
            self.error(
                f"{field} {axis} is out of range for a bottom with {num_axes} axes",
                f"use {-num_axes} to {num_axes - 1}"
                if num_axes
                else "a scalar has no axes: give the layer another bottom",
            )
        return axis % num_axes

    def gradient_reaches(self, bottom_index: int, num_bottoms: int) -> bool:
        """Whether this bottom can have a gradient at all."""
        return bottom_index not in [i % num_bottoms for i in self.not_differentiable]


_JSON_EXAMPLE = """python_param { param_str: '{"name": 1}' }"""
_KINDS = {float: "a number", int: "a whole number", bool: "true or false", str: "text", list: "a list"}

LayerClass = TypeVar("LayerClass", bound=type[Layer])
_registry: dict[str, type[Layer]] = {}


def _registered() -> dict[str, type[Layer]]:
    """Every type known so far by its layer; the first to ask has those of this package imported."""
    import_module(".layers", __package__)
    return _registry


def register_layer(type_name: str) -> Callable[[LayerClass], LayerClass]:
    """Class decorator: make the layer known to every Net under the type string that prototxt files use."""

    def register(cls: LayerClass) -> LayerClass:
        taken = _registered().get(type_name, cls)
        if (taken.__module__, taken.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"layer type {type_name!r} is taken by {taken.__module__}.{taken.__qualname__}")
        cls.type = type_name
        _registry[type_name] = cls
        return cls

    return register


def is_registered(type_name: str) -> bool:
    """Whether a layer of this type is known so far; plug-ins that nobody asked for are not loaded."""
    return type_name in _registered()


def layer_class(type_name: str) -> type[Layer] | None:
    """The class of the layers of a type, None if there is none; plug-ins are loaded if it is not known without them."""
    known = _registered()
    if type_name not in known:
        load_plugins()
    return known.get(type_name)


def layer_type_list() -> list[str]:
    """Every type string a prototxt may use, sorted; those of plug-ins, too."""
    for problem in load_plugins():
        raise problem
    return sorted(_registered())


def create_layer(
    param: caffe_pb2.LayerParameter, ops: Ops, phase: int, rng: np.random.Generator, where: Where | None = None
) -> Layer:
    """The layer that a LayerParameter asks for; NetError with the nearest known types if there is none.

    Plug-ins are loaded when a type is not known without them.
    """
    if not param.type:
        raise NetError("it has no type", where=where, layer=param.name, hint='Give it one, as in type: "ReLU"')
    cls = layer_class(param.type)
    if cls is None:
        known = _registered()
        near = nearest_few(param.type, known)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known types: {', '.join(sorted(known))}."
        raise UnknownLayerType(
            f"unknown layer type {param.type!r}",
            where=where,
            layer=param.name,
            layer_type=param.type,
            hint=" ".join([hint, *(f"Perhaps a plug-in is missing: {problem.what}" for problem in load_plugins())]),
        )
    logger.info("Creating layer %s", param.name)
    return cls(param, ops, phase, rng, where)
