"""The contract of every layer, and the registry that finds a layer by its type."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Sequence
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Protocol, TypeVar

import numpy as np

from .blobs import Blob
from .errors import LayerError, NetError, UnknownLayerType, Where
from .logs.log import logger
from .onnx_graph import OnnxGraph, Value
from .ops.array import Array
from .ops.base import Ops
from .ops.roles import Role
from .plugins import load_plugins
from .proto import caffe_pb2
from .proto.forks import forks_with_layer
from .ranks import testing_share
from .text.spelling import nearest, nearest_few

if TYPE_CHECKING:
    pass

Range = tuple[int, "int | None"]


class Kind(enum.Enum):
    """The purposes of layers: drawings give each kind a colour, the documentation gives it a section."""

    DATA = "data"
    CONVOLUTION = "convolution"
    PRODUCT = "product"
    POOLING = "pooling"
    NEURON = "neuron"
    NORMALISATION = "normalisation"
    ARRANGEMENT = "arrangement"
    DETECTION = "detection"
    LOSS = "loss"
    OTHER = "other"


class Saved:
    """The values that a Forward keeps for the Backward after it, as attributes whose names the layer chooses.

    ``shapes`` holds the shapes of the bottoms of that Forward; None before the first.
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]] | None = None) -> None:
        self.shapes = shapes

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

        def __setattr__(self, name: str, value: Any) -> None: ...

    def exchange(self, old: Array, new: Array) -> None:
        """Replace ``old`` with ``new`` wherever it is kept."""
        for name, value in self.__dict__.items():
            if value is old:
                self.__dict__[name] = new

    def take(self, other: Saved) -> None:
        """Keep the values that another Forward over bottoms of the same shapes has kept."""
        self.__dict__.update(other.__dict__, shapes=self.shapes)


class Everyone(Protocol):
    """All workers that train together, each with a batch of its own. They call the same methods in the same order."""

    count: int

    def gathered(self, array: Array) -> Array:
        """Return the arrays of all workers, which have one shape, along a new first axis, by their ranks."""


class Layer:
    """One layer of a Net: ``Setup`` once, then ``Reshape``, ``Forward`` and ``Backward`` any number of times.

    A layer binds its results (``top[0].data = ...``) and keeps in ``saved`` whatever ``Backward`` needs: by then, a
    later in-place layer may have bound another array to the same blob. Therefore every layer whose tops keep the shape
    of its bottoms may run in place. ``Forward`` changes nothing else in the layer.

    Attributes of the class:
        bottoms, tops: how many the layer takes, as (least, most); most is None if there is no limit.
        equal_bottoms_tops: True if it needs as many tops as bottoms.
        is_loss: True if the first top weighs 1 in the net's loss unless the prototxt gives a loss_weight.
        not_differentiable: bottoms that never get a gradient (labels), by index; negative ones count from the end.
        repeatable: True if Forward does nothing but compute its tops, so that the Net may call it at any time.
        decides: True if it lists the best of its candidates, so that rounding may change its tops as a whole.
        has_weights: True if most of its work is products with weights that it learns.
        normalizes_batch: True if it normalises by the statistics of the batch.
        rows_vary: True if the values decide how many rows its tops have.
        reads_fork_fields: what it reads of fields that forks add to BVLC's messages: "PoolingParameter.ceil_mode".
        kind: its purpose.
        formula: the formula that it computes, in LaTeX, for its page of the documentation.

    Attributes of the instance:
        param: its LayerParameter.         blobs: its learnable Blobs.      ops: the engine's arithmetic.
        phase: caffe_pb2.TRAIN or TEST.    rng: the net's random numbers.   where: its place in the prototxt, or None.
        saved: the values that the last ``Forward`` kept for ``Backward``; new and empty for every Forward.
    """

    type: ClassVar[str] = ""
    bottoms: ClassVar[Range] = (1, 1)
    tops: ClassVar[Range] = (1, 1)
    equal_bottoms_tops: ClassVar[bool] = False
    is_loss: ClassVar[bool] = False
    not_differentiable: ClassVar[tuple[int, ...]] = ()
    repeatable: ClassVar[bool] = True
    decides: bool = False
    has_weights: ClassVar[bool] = False
    normalizes_batch: ClassVar[bool] = False
    rows_vary: ClassVar[bool] = False
    reads_fork_fields: ClassVar[tuple[str, ...]] = ()
    kind: ClassVar[Kind] = Kind.OTHER
    formula: ClassVar[str] = ""

    @staticmethod
    def caption(param: caffe_pb2.LayerParameter) -> str:
        """Return the most important settings in a few words, for drawings: "7 x 7 /2, pad 3 → 64"."""
        return ""

    def __init__(
        self,
        param: caffe_pb2.LayerParameter,
        ops: Ops[Array],
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
        """Check the parameters, then create and fill ``blobs``. Called once, before the first ``Reshape``."""

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Set the shapes of the tops from the shapes of the bottoms."""
        raise NotImplementedError

    def outline(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Check the parameters and shape the tops where no values are needed and there may be no data.

        A layer that opens a source, or runs the user's code, overrides this method: sizes that only the data or that
        code could tell are unknown (``UnknownSize``), or it raises ``Undetermined``.
        """
        self.Setup(bottom, top)
        self.Reshape(bottom, top)

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Compute ``top[i].data``."""
        raise NotImplementedError

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Compute ``bottom[i].diff`` where ``propagate_down[i]``; with ``add_diff``, add the gradient of ``blobs[j]``
        where ``param_propagate_down[j]``."""
        raise NotImplementedError

    def Deconv(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob], guided: bool) -> None:
        """Run ``Backward`` as a deconvolutional network or guided backpropagation does: rectifying layers differ.

        Source: the Caffe of the deep visualization toolbox.
        """
        self.Backward(top, propagate_down, bottom)

    def role(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> Role | None:
        """Return the layer's role for its neighbours, or None if it cannot run as one kernel with them."""
        return None

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        """Write into a graph what ``Forward`` computes in TEST; return the results, one for each top.

        ``top`` has the shapes that the results must have. In the shapes, a size is None if the batch decides it. What
        cannot be written is an ``error``; an engine's arrays may be computed and used as constants.
        """
        self.error(f"a {self.type} layer cannot be written in ONNX", "Remove it, and what reads its tops")

    def example(self, index: int, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray | None:
        """Return values that make sense for a bottom, for trying a net out; None if any numbers do.

        A layer overrides this method if a bottom holds indices, boxes, sizes or the like.
        """
        return None

    def multiply_adds(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Count the multiply-adds of its matrix products in one Forward, without the work done once per element."""
        return 0

    # The fork whose layer it is taken for, and why: "SSD's Normalize, because norm_param is given". A layer whose name
    # forks give to several layers sets it where it decides; ``caffe-lite check`` tells it.
    meaning: str = ""

    # The objects that scripts see in place of the layer and of its learnable blobs; None for the usual ones.
    shown: Any = None

    # Set by the Net before the first Backward: which of ``blobs`` need a gradient (lr_mult 0 asks for none).
    param_propagate_down: Sequence[bool] = ()

    # How much of its training has passed, from 0 to 1; solvers set it before each iteration.
    progress: float = 0.0

    # Those whose batches count as one batch with its own; None if its own counts alone. See ``Graph.spread``.
    everyone: Everyone | None = None

    # True if the sizes of its bottoms may differ between the workers, because a layer before it chooses rows.
    uneven: bool = False

    # True if its tops hold the same values in every pass, with no data read for them: a graph has them as constants.
    is_constant: bool = False

    # Values that a pass leaves for the next one: read and bound in every Forward. Snapshots hold them, weights do not.
    carried: Sequence[Blob] = ()

    def fitted(self, arrays: Sequence[np.ndarray | None]) -> Sequence[np.ndarray | None]:
        """Return a weights file's arrays for this layer as its blobs are.

        A layer overrides this method if a fork keeps the same blobs in another order or in other shapes.
        """
        return arrays

    def state(self) -> Any:
        """Return, as JSON, what a snapshot needs besides ``blobs`` to go on as if never stopped; None if nothing."""
        return [self.ops.host_view(blob.data).tolist() for blob in self.carried] or None

    def restore_state(self, state: Any) -> None:
        """Go on from a state that ``state()`` returned."""
        for place, blob in enumerate(self.carried):
            array = self.ops.asarray(np.array(state[place]))
            blob.Reshape(array.shape)
            blob.data = array

    def goes_on(self, bottom: Sequence[Blob]) -> bool:
        """Return whether the last Forward, of these bottoms, has used what earlier ones left in ``carried``."""
        return bool(self.carried)

    def check_undivided(self, why: str) -> None:
        """Refuse to be part of a net whose batches are dealt out to several processes."""
        if self.phase == caffe_pb2.TEST and (count := testing_share().count) > 1:
            self.error(f"{why}, and {count} workers have a part of the batches each", "run this net without --workers")

    def forget(self) -> None:
        """Let the next pass begin as the first one did, if it would use what others have left."""

    def close(self) -> None:
        """Stop threads and close files. The Net calls this once; the layer is not used afterwards."""

    @property
    def workers(self) -> int:
        """The number of workers whose batches count as one batch."""
        return 1 if self.everyone is None else self.everyone.count

    @property
    def mixes_samples(self) -> bool:
        """True if what it makes of a sample depends on the others in the batch of this worker, for all it knows."""
        return False

    def total(self, x: Array) -> Array:
        """Return the sum of the workers' arrays of this shape if their batches count as one; else ``x`` itself."""
        if self.everyone is None:
            return x
        return self.ops.sum(self.gathered(x), 0)

    def total_number(self, number: int) -> int:
        """Return the sum of the workers' numbers if their batches count as one; else the number itself."""
        return number if self.everyone is None else round(self.ops.number(self.total(self.ops.scalar(number))))

    def total_size(self, size: int) -> int:
        """Return the same of a number that follows from the shapes of the bottoms."""
        return self.total_number(size) if self.uneven else size * self.workers

    def gathered(self, x: Array) -> Array:
        """Return the arrays of all workers whose batches count as one with its own, along a new first axis."""
        assert self.everyone is not None
        if self.ops.tracer is not None:
            raise NotImplementedError("workers tell each other values in it")
        return self.everyone.gathered(x)

    def error(self, what: str, hint: str = "") -> NoReturn:
        """Raise a LayerError that names this layer and its place in the prototxt."""
        raise LayerError(what, where=self.where, layer=self.name, layer_type=self.type, hint=hint)

    def settings(self, **defaults: Any) -> SimpleNamespace:
        """Return the parameters of a layer whose type has no message in the schema, from the JSON in its python_param.

            python_param { param_str: '{"slope": 0.2}' }

        gives ``self.settings(slope=0.1).slope == 0.2``. A default also gives the type that a value must have; a type
        instead of a default (``num_output=int``) makes the setting required.
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
        """Return the axis counted from 0; the prototxt may count from the end."""
        if not -num_axes <= axis < num_axes:
            self.error(
                f"{field} {axis} is out of range for a bottom with {num_axes} axes",
                f"use {-num_axes} to {num_axes - 1}"
                if num_axes
                else "a scalar has no axes: give the layer another bottom",
            )
        return axis % num_axes

    def gradient_reaches(self, bottom_index: int, num_bottoms: int) -> bool:
        """Return whether this bottom can have a gradient at all."""
        return not {bottom_index, bottom_index - num_bottoms} & set(self.not_differentiable)


_JSON_EXAMPLE = """python_param { param_str: '{"name": 1}' }"""
_KINDS = {float: "a number", int: "a whole number", bool: "true or false", str: "text", list: "a list"}

LayerClass = TypeVar("LayerClass", bound=type[Layer])
_registry: dict[str, type[Layer]] = {}


def _registered() -> dict[str, type[Layer]]:
    """Return the layer class of every type known so far; the first call imports the layers of this package."""
    import_module(".layers", __package__)
    return _registry


def register_layer(type_name: str) -> Callable[[LayerClass], LayerClass]:
    """Decorate a layer's class to make it known to every Net under the type string that prototxt files use."""

    def register(cls: LayerClass) -> LayerClass:
        taken = _registered().get(type_name, cls)
        if (taken.__module__, taken.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"layer type {type_name!r} is taken by {taken.__module__}.{taken.__qualname__}")
        cls.type = type_name
        _registry[type_name] = cls
        return cls

    return register


def is_registered(type_name: str) -> bool:
    """Return whether a layer of this type is known so far; no plug-ins are loaded to find it."""
    return type_name in _registered()


def layer_class(type_name: str) -> type[Layer] | None:
    """Return the class of a layer type, or None if there is none; load plug-ins if the type is not known yet."""
    known = _registered()
    if type_name not in known:
        load_plugins()
    return known.get(type_name)


def layer_type_list() -> list[str]:
    """Return every type string that a prototxt may use, including those of plug-ins, sorted."""
    for problem in load_plugins():
        raise problem
    return sorted(_registered())


def create_layer(
    param: caffe_pb2.LayerParameter, ops: Ops[Array], phase: int, rng: np.random.Generator, where: Where | None = None
) -> Layer:
    """Make the layer that a LayerParameter asks for; raise NetError with the nearest known types if there is none.

    Plug-ins are loaded if the type is not known without them.
    """
    if not param.type:
        raise NetError("it has no type", where=where, layer=param.name, hint='Give it one, as in type: "ReLU"')
    cls = layer_class(param.type)
    if cls is None:
        known = _registered()
        near = nearest_few(param.type, known)
        forks = forks_with_layer(param.type)
        if forks:
            hint = f"{param.type} is a layer of {forks}, which caffe_lite does not have yet."
        elif near:
            hint = f"did you mean {' or '.join(near)}?"
        else:
            hint = f"known types: {', '.join(sorted(known))}."
        raise UnknownLayerType(
            f"unknown layer type {param.type!r}",
            where=where,
            layer=param.name,
            layer_type=param.type,
            hint=" ".join([hint, *(f"Perhaps a plug-in is missing: {problem.what}" for problem in load_plugins())]),
        )
    logger.info("Creating layer %s", param.name)
    return cls(param, ops, phase, rng, where)
