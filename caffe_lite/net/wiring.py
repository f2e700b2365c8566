"""Wiring: the layers of a net, made one after another and connected by the names of their blobs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import isfinite

import numpy as np

from ..blobs import Blob
from ..blobs.reshaped import ReshapedBlob
from ..errors import BlobTooLarge, CaffeError, NetError, UnknownField, Where
from ..layer import Layer, Saved, create_layer
from ..logs.log import logger
from ..ops.array import Array
from ..ops.base import Ops
from ..proto import caffe_pb2
from ..proto.fork_fields import refused
from .filtering import PlacedLayer

# The original's name for the top that a loss gets if the prototxt names none. It is not an output of the net.
UNNAMED = "(automatic)"


@dataclass
class Node:
    """A layer in its net: the blobs that it reads and writes, and the gradients that it must compute."""

    layer: Layer
    where: Where | None
    bottom_names: list[str] = field(default_factory=list)
    top_names: list[str] = field(default_factory=list)
    bottom: list[Blob] = field(default_factory=list)
    top: list[Blob] = field(default_factory=list)
    loss_weights: list[float] = field(default_factory=list)
    need_backward: bool = False
    bottom_need_backward: list[bool] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.layer.name

    @property
    def param(self) -> caffe_pb2.LayerParameter:
        return self.layer.param

    def param_name(self, index: int) -> str:
        """Return the name that the prototxt gives to one of the learnable blobs, or an empty string."""
        return self.param.param[index].name if index < len(self.param.param) else ""

    def error(self, what: str, hint: str = "") -> NetError:
        return NetError(what, where=self.where, layer=self.name, layer_type=self.layer.type, hint=hint)

    def out_of_memory(self) -> BlobTooLarge:
        shapes = [blob.shape for blob in (*self.layer.blobs, *self.top)]
        return BlobTooLarge(
            f"there is not enough memory for it: its blobs are of the shapes {', '.join(map(str, shapes))}",
            where=self.where,
            layer=self.name,
            layer_type=self.layer.type,
            hint="check its sizes, or take smaller batches",
        )

    def reshape(self) -> None:
        self.layer.Reshape(self.bottom, self.top)
        self._fill_loss_weights()

    def _fill_loss_weights(self) -> None:
        for blob, weight in zip(self.top, self.loss_weights, strict=True):
            if weight and not blob.has_diff:
                blob.diff = blob.ops.full(blob.shape, weight)

    @property
    def nodes(self) -> Sequence[Node]:
        """The node itself, since a pass executes single nodes and runs of several."""
        return (self,)

    def forward(self) -> None:
        self.layer.saved = self.nothing_saved()
        self.layer.Forward(self.bottom, self.top)

    def nothing_saved(self) -> Saved:
        """Return the empty ``saved`` with which a Forward over the bottoms begins."""
        return Saved([blob.shape for blob in self.bottom])

    def backward(self) -> None:
        if self.need_backward:
            self.layer.Backward(self.top, self.bottom_need_backward, self.bottom)

    @property
    def lacks_forward(self) -> bool:
        """True if Backward would run without a Forward over bottoms of the present shapes."""
        layer = self.layer
        return (
            self.need_backward
            and layer.repeatable
            and layer.saved.shapes != [blob.shape for blob in self.bottom]
            and bool(self.bottom)
        )

    def run_aside(self) -> None:
        """Run the layer forward over its present bottoms, only for what it keeps for Backward.

        Blobs, parameters and states stay as they are, but a top whose shape does not follow from the bottoms gets the
        shape that does.
        """
        layer, ops = self.layer, self.layer.ops
        aside = {id(blob): Blob(ops, blob.shape) for blob in self.top}
        for blob in self.bottom:
            if id(blob) in aside:
                aside[id(blob)].data = blob.data
        bottom, top = ([aside.get(id(blob), blob) for blob in blobs] for blobs in (self.bottom, self.top))
        params = [(blob.data, ops.copy(blob.data)) for blob in layer.blobs]
        states = [(blob, blob.shape, blob.data) for blob in layer.carried]
        layer.saved = self.nothing_saved()
        try:
            layer.Reshape(bottom, top)
            layer.Forward(bottom, top)
        except CaffeError as error:
            raise error.located(self.where, self.name, layer.type) from error.__cause__
        except MemoryError:
            raise self.out_of_memory() from None
        finally:
            for array, before in params:
                if ops.number(ops.sum(ops.astype(array != before))):  # running statistics differ
                    array[...] = before
            for blob, shape, before in states:
                blob.Reshape(shape)
                blob.data = before
        for blob, made in zip(self.top, top, strict=True):
            blob.Reshape(made.shape)
        self._fill_loss_weights()


@dataclass
class Param:
    """A learnable blob of the net, once even if layers share it."""

    name: str
    blob: Blob
    lr_mult: float
    decay_mult: float
    owner: Node
    index: int
    spec: caffe_pb2.ParamSpec


class Wiring:
    """Makes the nodes of a net, in order: a layer's bottoms are blobs that earlier layers have made.

    Attributes:
        nodes: the nodes made so far.
        blobs: every blob by its name; an in-place layer's top is its bottom.
        params: the learnable blobs.
        inputs: the names of the tops of Input layers.
        unread: names of the blobs that no layer has read so far: in the end, the net's outputs.
    """

    def __init__(self, phase: caffe_pb2.Phase, ops: Ops[Array], rng: np.random.Generator) -> None:
        self.phase = phase
        self.ops = ops
        self.rng = rng
        self.nodes: list[Node] = []
        self.blobs: dict[str, Blob] = {}
        self.params: list[Param] = []
        self.inputs: list[str] = []
        self.unread: dict[str, None] = {}
        self._makers: dict[str, PlacedLayer] = {}
        self._needs_backward: dict[str, bool] = {}
        self._shared: dict[str, Param] = {}
        self._learners: dict[str, Node] = {}
        self._memory = 0

    def add(self, placed: PlacedLayer) -> None:
        """Make the next layer: connect it, set it up and register its parameters."""
        node = self._create(placed)
        self.nodes.append(node)
        self._connect_bottoms(node)
        self._connect_tops(node, placed)
        try:
            self._set_up(node)
            self._register_params(node)
        except CaffeError as error:
            raise error.located(node.where, node.name, node.layer.type) from error.__cause__
        except (MemoryError, RuntimeError) as error:
            if self.ops.ran_out_of_memory(error):
                raise node.out_of_memory() from None
            raise
        node.need_backward = any(node.bottom_need_backward) or any(node.layer.param_propagate_down)
        for name in node.top_names:
            self._needs_backward[name] = node.need_backward or self._needs_backward.get(name, False)

    def _create(self, placed: PlacedLayer) -> Node:
        param = placed.param
        if not param.HasField("phase"):
            param.phase = self.phase
        if param.propagate_down and len(param.propagate_down) != len(param.bottom):
            raise placed.error(
                f"propagate_down is given {len(param.propagate_down)} times for {len(param.bottom)} bottoms",
                "give it once per bottom or not at all",
            )
        layer = create_layer(param, self.ops, param.phase, self.rng, placed.where)
        for path, what in refused(param, layer.reads_fork_fields):
            where = placed.place(*path) if placed.place else None
            raise UnknownField(
                what, where=where, layer=param.name, layer_type=param.type, hint="remove it, if the net may do without"
            )
        logger.info("Creating Layer %s", param.name)
        return Node(layer, placed.where)

    def _connect_bottoms(self, node: Node) -> None:
        _check_count(node, "bottom", len(node.param.bottom), node.layer.bottoms)
        for i, name in enumerate(node.param.bottom):
            logger.info("%s <- %s", node.name, name)
            self.unread.pop(name, None)
            node.bottom_names.append(name)
            node.bottom.append(self.blobs[name])
            asked = node.param.propagate_down[i] if node.param.propagate_down else self._needs_backward[name]
            node.bottom_need_backward.append(asked)

    def _connect_tops(self, node: Node, placed: PlacedLayer) -> None:
        names = list(node.param.top)
        if node.layer.is_loss:
            names += [UNNAMED] * (node.layer.tops[0] - len(names))
        _check_count(node, "top", len(names), node.layer.tops)
        if node.layer.equal_bottoms_tops and len(names) != len(node.bottom):
            raise node.error(f"it has {len(node.bottom)} bottoms and {len(names)} tops", "give one top per bottom")
        for i, name in enumerate(names):
            named = i < len(node.param.top)
            if i < len(node.bottom_names) and node.bottom_names[i] == name:
                logger.info("%s -> %s (in-place)", node.name, name)
            elif named and name in self._makers:
                maker = self._makers[name]
                raise node.error(
                    f"top blob {name!r} is produced by two layers, also by {maker.param.name!r} at {maker.where}",
                    "rename one top; to run in place, name the same blob as bottom and top at the same position",
                )
            else:
                logger.info("%s -> %s", node.name, name)
                self.blobs[name] = self._new_blob(name, node.where)
            if named:
                self._makers.setdefault(name, placed)
                self.unread[name] = None
            node.top_names.append(name)
            node.top.append(self.blobs[name])
        if node.layer.type == "Input":
            self.inputs += names

    def _new_blob(self, name: str, where: Where | None) -> Blob:
        return Blob(self.ops, name=name, where=where)

    def _set_up(self, node: Node) -> None:
        shapes = [blob.shape for blob in node.bottom]
        node.loss_weights = loss_weights(node)
        logger.info("Setting up %s", node.name)
        node.layer.Setup(node.bottom, node.top)
        node.reshape()
        refuse_reshaped_bottoms(node, shapes)
        for blob, weight in zip(node.top, node.loss_weights, strict=True):
            logger.info("Top shape: %s(%d)", "".join(f"{n} " for n in blob.shape), blob.count)
            if weight:
                logger.info("    with loss weight %g", weight)
            self._memory += blob.count
        logger.info("Memory required for data: %d", self._memory * 4)

    def _register_params(self, node: Node) -> None:
        layer, wanted = node.layer, []
        self._check_params(node)
        for index, blob in enumerate(layer.blobs):
            blob.allocate()
            spec = layer.param.param[index] if index < len(layer.param.param) else caffe_pb2.ParamSpec()
            wanted.append(spec.lr_mult != 0)
            owner = self._shared.get(spec.name) if spec.name else None
            if owner is None:
                param = Param(spec.name, blob, spec.lr_mult, spec.decay_mult, node, index, spec)
                self.params.append(param)
                if spec.name:
                    self._shared[spec.name] = param
            else:
                logger.info(
                    "Sharing parameters '%s' owned by layer '%s', param index %d",
                    spec.name,
                    owner.owner.name,
                    owner.index,
                )
                layer.blobs[index] = shared_blob(node, index, owner.blob, f"layer {owner.owner.name!r}")
                _join_multipliers(node, spec, owner)
        layer.param_propagate_down = wanted

    def _check_params(self, node: Node) -> None:
        """Raise if the prototxt's settings for learnable blobs are too many or not finite, or if the name is taken.

        The name is taken if another layer of this name has learnable blobs, too: in a weights file, or in another net
        that shares them, it would be unclear which belong to which (the original uses the first layer for all).
        """
        given, blobs = len(node.param.param), len(node.layer.blobs)
        if given > blobs:
            raise node.error(f"{given} param entries for {blobs} learnable blobs", "remove the surplus ones")
        for index, spec in enumerate(node.param.param):
            for name in ("lr_mult", "decay_mult"):
                if not isfinite(getattr(spec, name)):
                    raise node.error(f"{name} of param {index} is {getattr(spec, name):g}", "give a number")
        if blobs and (other := self._learners.setdefault(node.name, node)) is not node:
            at = f" ({other.layer.type}) at {other.where}" if other.where else f" ({other.layer.type})"
            raise node.error(
                f"two layers with learnable blobs are named {node.name!r}, also the one{at}", "rename one of them"
            )


def by_name(nodes: Iterable[Node]) -> dict[str, Node]:
    """Return each layer by its name; of several with the same name, the one with learnable blobs, else the first."""
    named: dict[str, Node] = {}
    for node in nodes:
        if named.setdefault(node.name, node) is not node and node.layer.blobs:
            named[node.name] = node
    return named


def refuse_reshaped_bottoms(node: Node, shapes: Sequence[Sequence[int]]) -> None:
    """Raise if setting the layer up has changed the shape of a bottom, as an in-place layer may do."""
    for blob, name, shape in zip(node.bottom, node.bottom_names, shapes, strict=True):
        if blob.shape != shape:
            raise node.error(
                f"it runs in place on blob {name!r}, but turns its shape {shape} into {blob.shape}",
                "give its top another name",
            )


def _check_count(node: Node, kind: str, count: int, allowed: tuple[int, int | None]) -> None:
    least, most = allowed
    if count < least or (most is not None and count > most):
        wanted = str(least) if least == most else f"at least {least}" if most is None else f"{least} to {most}"
        raise node.error(
            f"{count} {kind}s, a {node.layer.type} layer takes {wanted}", f"give it {wanted} {kind}: fields"
        )


def loss_weights(node: Node) -> list[float]:
    """Return one weight per top: as the prototxt says, else 1 for the first top of a loss layer and 0 for all others.

    Further tops of a loss layer that are given no weight get 0 (the original aborts on two tops).
    """
    given = list(node.param.loss_weight) or ([1.0] if node.layer.is_loss else [])
    if bad := [weight for weight in given if not isfinite(weight)]:
        raise node.error(f"loss_weight is {bad[0]:g}", "give a number")
    if given and len(given) != len(node.top) and not (node.layer.is_loss and len(given) < len(node.top)):
        raise node.error(
            f"loss_weight is given {len(given)} times for {len(node.top)} tops", "give it once per top or not at all"
        )
    return given + [0.0] * (len(node.top) - len(given))


def shared_blob(node: Node, index: int, blob: Blob, owner: str) -> Blob:
    """Return the owner's blob in the shape that this layer wants; ``owner`` names the owner in error messages."""
    mine, spec = node.layer.blobs[index], node.param.param[index]
    if spec.share_mode == caffe_pb2.ParamSpec.PERMISSIVE:
        if mine.count != blob.count:
            raise node.error(
                f"cannot share param {spec.name!r} with {owner}: its shape {mine.shape} counts {mine.count}, "
                f"the owner's {blob.shape} counts {blob.count}",
                "make the sizes equal or give the param another name",
            )
    elif mine.shape != blob.shape:
        raise node.error(
            f"cannot share param {spec.name!r} with {owner}: its shape is {mine.shape}, the owner's {blob.shape}",
            "make the shapes equal, or set share_mode: PERMISSIVE if only the sizes are",
        )
    return blob if mine.shape == blob.shape else ReshapedBlob(blob, mine.shape)


def _join_multipliers(node: Node, spec: caffe_pb2.ParamSpec, owner: Param) -> None:
    """Give a shared parameter the multipliers that this layer sets; raise if another layer has set different ones."""
    for name in ("lr_mult", "decay_mult"):
        if not spec.HasField(name):
            continue
        if not owner.spec.HasField(name):
            owner.spec = caffe_pb2.ParamSpec.FromString(owner.spec.SerializeToString())
            setattr(owner.spec, name, getattr(spec, name))
            setattr(owner, name, getattr(spec, name))
        elif getattr(spec, name) != getattr(owner.spec, name):
            raise node.error(
                f"shared param {spec.name!r} has {name} {getattr(spec, name):g} here and "
                f"{getattr(owner.spec, name):g} in layer {owner.owner.name!r}",
                "give both the same, or only one of them",
            )
