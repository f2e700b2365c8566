"""The contract that every layer keeps, and the registry that finds a layer by its type."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NoReturn, TypeVar

import numpy as np

from .blob import Blob
from .errors import LayerError, NetError, UnknownLayerType, Where
from .log import logger
from .ops.base import Ops
from .proto import caffe_pb2

Range = tuple[int, "int | None"]


class Layer:
    """One layer of a Net: ``Setup`` once, then ``Reshape``, ``Forward`` and ``Backward`` any number of times.

    A layer binds its results (``top[0].data = ...``) and keeps on itself what ``Backward`` needs: by then a later
    in-place layer may have bound another array to the same blob. So every layer whose tops keep the shape of its
    bottoms may run in place.

    Attributes of the class:
        bottoms, tops: how many the layer takes, as (least, most); most is None where there is no limit.
        equal_bottoms_tops: whether it needs as many tops as bottoms.
        is_loss: whether the first top weighs 1 in the net's loss if the prototxt gives no loss_weight.
        not_differentiable: bottoms that never get a gradient (labels), by index; negative counts from the end.

    Attributes of the instance:
        param: its LayerParameter.         blobs: its learnable Blobs.      ops: the engine's arithmetic.
        phase: caffe_pb2.TRAIN or TEST.    rng: the net's random numbers.   where: its place in the prototxt, or None.
    """

    type: ClassVar[str] = ""
    bottoms: ClassVar[Range] = (1, 1)
    tops: ClassVar[Range] = (1, 1)
    equal_bottoms_tops: ClassVar[bool] = False
    is_loss: ClassVar[bool] = False
    not_differentiable: ClassVar[tuple[int, ...]] = ()

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


LayerClass = TypeVar("LayerClass", bound=type[Layer])
_registry: dict[str, type[Layer]] = {}


def register_layer(type_name: str) -> Callable[[LayerClass], LayerClass]:
    """Class decorator: make the layer known to every Net under the type string that prototxt files use."""

    def register(cls: LayerClass) -> LayerClass:
        if type_name in _registry and _registry[type_name].__qualname__ != cls.__qualname__:
            raise ValueError(f"layer type {type_name!r} is taken by {_registry[type_name].__qualname__}")
        cls.type = type_name
        _registry[type_name] = cls
        return cls

    return register


def layer_type_list() -> list[str]:
    """Every type string a prototxt may use, sorted."""
    return sorted(_registry)


def create_layer(
    param: caffe_pb2.LayerParameter, ops: Ops, phase: int, rng: np.random.Generator, where: Where | None = None
) -> Layer:
    """The layer that a LayerParameter asks for; NetError with the nearest known types if there is none."""
    if not param.type:
        raise NetError("it has no type", where=where, layer=param.name, hint='Give it one, as in type: "ReLU"')
    cls = _registry.get(param.type)
    if cls is None:
        near = difflib.get_close_matches(param.type, _registry, 3, 0.5)
        if not near:
            near = [name for name in _registry if name.lower() == param.type.lower()]
        raise UnknownLayerType(
            f"unknown layer type {param.type!r}",
            where=where,
            layer=param.name,
            layer_type=param.type,
            hint=f"did you mean {' or '.join(near)}?" if near else f"known types: {', '.join(layer_type_list())}",
        )
    logger.info("Creating layer %s", param.name)
    return cls(param, ops, phase, rng, where)
