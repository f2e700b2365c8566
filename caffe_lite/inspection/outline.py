"""Outline: a net's layers and the shapes of their blobs, found without its data, its weights or any arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NoReturn, cast

import numpy as np

from ..blobs import Blob
from ..blobs.unknown import RANKS, Shape, Undetermined, UnknownSize, choose, explore, joined, known, unknown_shape
from ..errors import CaffeError, NetError, UnknownLayerType, Where
from ..layer import Layer, create_layer
from ..net.filtering import PlacedLayer, layers_in_state
from ..net.random import new_generator
from ..net.wiring import Node, Wiring, loss_weights, refuse_reshaped_bottoms
from ..ops.array import Array
from ..ops.base import Ops
from ..ops.windows import Ints
from ..proto import caffe_pb2

Report = Callable[[CaffeError], None]


def _raise(error: CaffeError) -> NoReturn:
    raise error


class Outline(Wiring):
    """A net in one state, built as ``Net`` builds it, but without values: no weights are filled, no sources opened.

    Sizes that the parameters do not give are unknown, and so are those that follow from them. A layer is refused only
    if it fits in no way at all. After a layer that is refused, building goes on as if its tops had unknown shapes.

    Args:
        layers: the layers of the whole net, with their places.
        state: selects layers; its phase is theirs.
        report: is called with every problem; by default the first one is raised.
        open_sources: if true, layers may look into their sources, and users' layers may run, if these exist.
    """

    def __init__(
        self,
        layers: Sequence[PlacedLayer],
        state: caffe_pb2.NetState,
        report: Report = _raise,
        open_sources: bool = False,
    ) -> None:
        super().__init__(state.phase, ShapeOps(), new_generator(0))
        self.report = report
        self.open_sources = open_sources
        for placed in layers_in_state(layers, state, report):
            self.add(placed)

    def add(self, placed: PlacedLayer) -> None:
        absent = [name for name in placed.param.bottom if name not in self.blobs]  # layers_in_state has reported them
        for name in absent:
            self.blobs[name], self._needs_backward[name] = _Outlined(self.ops), True
            self._settle(name, None)
        try:
            if placed.doubtful:
                create_layer(placed.param, self.ops, self.phase, self.rng, placed.where)
                self._stand_in(placed)
            else:
                super().add(placed)
        except CaffeError as error:
            if not placed.doubtful or isinstance(error, UnknownLayerType):
                self.report(error.located(placed.where, placed.param.name, placed.param.type))
            self._stand_in(placed)
        for name in absent:
            if name not in placed.param.top:
                self.blobs.pop(name, None)

    def _stand_in(self, placed: PlacedLayer) -> None:
        """Let building go on with the next layers as if this one existed."""
        for name in placed.param.bottom:
            self.unread.pop(name, None)
        for name in placed.param.top:
            if name not in self.blobs:
                self.blobs[name] = _Outlined(self.ops)
            self._makers.setdefault(name, placed)
            self._settle(name, None)
            self.unread[name] = None
            self._needs_backward[name] = True

    def _settle(self, name: str, shape: Shape | None) -> None:
        cast(_Outlined, self.blobs[name]).settle(shape)

    def _new_blob(self, name: str, where: Where | None) -> Blob:
        return _Outlined(self.ops)

    def _set_up(self, node: Node) -> None:
        node.loss_weights = loss_weights(node)
        self._params: list[Shape | None] | None = None
        before = {blob: cast(_Outlined, blob).outline for blob in (*node.bottom, *node.top)}
        fit: _Fit | None = None
        refusals: list[CaffeError] = []
        meanings: set[str] = set()
        try:
            for outcome in explore(partial(self._fit, node, before)):
                if isinstance(outcome, CaffeError):
                    refusals.append(outcome)
                    continue
                meanings.add(outcome.layer.meaning)
                fit = outcome if fit is None else fit.joined(outcome)
                if all(shape is None for shape in fit.tops):  # further ways cannot change that
                    fit.params = [None] * len(fit.params)
                    break
            if fit is None:
                raise refusals[0]
        except Undetermined:
            fit = None
            meanings.add(node.layer.meaning)
        if fit:
            node.layer, self._params = fit.layer, fit.params
            node.layer.blobs = [_Outlined(self.ops, shape) for shape in fit.params]
        if len(meanings) > 1:  # a shape that is unknown decides
            node.layer.meaning = ""
        tops = fit.tops if fit else [None] * len(node.top)
        for blob, shape in (before | dict(zip(node.top, tops, strict=True))).items():
            cast(_Outlined, blob).settle(shape)

    def _fit(self, node: Node, before: dict[Blob, Shape | None]) -> _Fit:
        """Set up a layer from scratch; if not even the number of a blob's axes is known, choose one."""
        for blob, shape in before.items():
            cast(_Outlined, blob).settle(unknown_shape(RANKS[choose(len(RANKS))]) if shape is None else shape)
        layer = node.layer = type(node.layer)(node.param, self.ops, node.param.phase, self.rng, node.where)
        shapes = [blob.shape for blob in node.bottom]
        try:
            if self.open_sources:
                _open(layer, node)
            else:
                layer.outline(node.bottom, node.top)
        except CaffeError:
            raise
        except (IndexError, TypeError, ValueError) as error:
            if all(known(shape) for shape in before.values()):
                raise
            if isinstance(error, TypeError):  # the layer needs a number that is unknown
                raise Undetermined from error
            raise NetError("the shapes of its bottoms do not fit") from error
        refuse_reshaped_bottoms(node, shapes)
        return _Fit(layer, [blob.shape for blob in node.top], [blob.shape for blob in layer.blobs])

    def _register_params(self, node: Node) -> None:
        if self._params is None:
            node.layer.blobs = []
        elif None in self._params:
            self._check_params(node)
        else:
            super()._register_params(node)


@dataclass
class _Fit:
    """One way in which a layer fits: the shapes of its tops and of its parameters."""

    layer: Layer
    tops: list[Shape | None]
    params: list[Shape | None]

    def joined(self, other: _Fit) -> _Fit:
        """Return the shapes that hold in both ways."""
        tops = [joined(shapes) for shapes in zip(self.tops, other.tops, strict=True)]
        return _Fit(self.layer, tops, [joined(shapes) for shapes in zip(self.params, other.params, strict=False)])


def _open(layer: Layer, node: Node) -> None:
    """Set a layer up with its source, or without it if that fails."""
    try:
        Layer.outline(layer, node.bottom, node.top)
    except CaffeError:
        if type(layer).outline is Layer.outline:
            raise
        layer.outline(node.bottom, node.top)
    finally:
        layer.close()


def shape_of(blob: Blob) -> Shape | None:
    """Return the shape of a blob, or None if not even the number of its axes is known."""
    return blob.outline if isinstance(blob, _Outlined) else blob.shape


class _Outlined(Blob):
    """A blob for which not even the number of axes may be known."""

    __slots__ = ("outline",)

    def __init__(self, ops: Ops[Array], shape: Shape | None = ()) -> None:
        super().__init__(ops, shape or ())
        self.outline = shape

    @property
    def count(self) -> Any:
        return UnknownSize() if self.outline is None else super().count

    def settle(self, shape: Shape | None) -> None:
        self.outline = shape
        self._shape = shape or ()
        self._data = self._diff = None


class ShapeArray:
    """An array that has only a shape. Values written into it are lost."""

    __slots__ = ("shape",)

    def __init__(self, shape: Ints) -> None:
        self.shape = tuple(shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __setitem__(self, index: Any, value: Any) -> None:
        pass

    def reshape(self, shape: Ints) -> ShapeArray:
        return ShapeArray(shape)

    def _no_value(self, *_: Any) -> NoReturn:
        raise Undetermined

    __add__ = __sub__ = __mul__ = __truediv__ = __pow__ = __neg__ = __abs__ = __matmul__ = _no_value
    __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rmatmul__ = _no_value
    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = __bool__ = __hash__ = _no_value
    __float__ = __int__ = __len__ = __iter__ = __getitem__ = __getattr__ = __array__ = _no_value


class ShapeOps(Ops[Any]):
    """An engine that computes nothing: it makes arrays of any shape, but without values."""

    name: ClassVar[str] = "shapes"
    array_type = ShapeArray
    dtype = np.float32

    def __init__(self) -> None:
        pass

    def zeros(self, shape: Ints) -> ShapeArray:
        return ShapeArray(shape)

    def full(self, shape: Ints, value: float) -> ShapeArray:
        return ShapeArray(shape)

    def scalar(self, value: Any) -> ShapeArray:
        return ShapeArray(())

    def asarray(self, values: np.ndarray) -> ShapeArray:
        return ShapeArray(values.shape)

    def filled(self, shape: Ints, fill: Callable[[], np.ndarray]) -> ShapeArray:
        return ShapeArray(shape)

    def copy(self, x: ShapeArray) -> ShapeArray:
        return x

    def host_view(self, x: ShapeArray) -> np.ndarray:
        """Return a view in which one element stands for all: reading gives 0, writing does no harm."""
        if not known(x.shape):
            raise Undetermined
        return np.lib.stride_tricks.as_strided(np.zeros(1, self.dtype), x.shape, (0,) * len(x.shape))

    def inspect(self, x: ShapeArray, check: Callable[[np.ndarray], None]) -> None:
        pass

    def __getattr__(self, name: str) -> NoReturn:
        raise Undetermined  # for xp, the namespace that all other operations need
