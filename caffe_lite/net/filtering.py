"""The changes to a NetParameter before its layers are made: filtering by state, and splits of blobs read twice.

Source: the original's net.cpp (FilterNet, StateMeetsRule) and util/insert_splits.cpp.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NoReturn

from ..errors import NetError, Where
from ..logs.log import logger
from ..proto.caffe_pb2 import TEST, LayerParameter, NetParameter, NetState, NetStateRule, Phase
from ..proto.parsed import Parsed
from ..text.spelling import nearest_few

Report = Callable[[NetError], None]


@dataclass
class PlacedLayer:
    """A LayerParameter and its place in the prototxt, if it came from one.

    ``doubtful`` is true if the prototxt's text for it could not be read in full. ``place`` finds one of its fields.
    """

    param: LayerParameter
    where: Where | None = None
    doubtful: bool = False
    place: Callable[..., Where] | None = None

    def error(self, what: str, hint: str = "") -> NetError:
        return NetError(what, where=self.where, layer=self.param.name, layer_type=self.param.type, hint=hint)


def placed_layers(net: Parsed[NetParameter]) -> list[PlacedLayer]:
    """Return the layers of a net that was read from a file."""
    return [
        PlacedLayer(param, net.where("layer", index), place=partial(net.where, "layer", index))
        for index, param in enumerate(net.message.layer)
    ]


def state_of(net: NetParameter, phase: Phase, level: int = 0, stages: Sequence[str] = ()) -> NetState:
    """Return the state of a net in a phase: its own state, with the level and the stages that are asked for."""
    state = NetState()
    state.CopyFrom(net.state)
    state.phase = phase
    state.level = level or state.level
    state.stage.extend(stage for stage in stages if stage not in state.stage)
    return state


def _raise(error: NetError) -> NoReturn:
    raise error


def filter_layers(layers: Sequence[PlacedLayer], state: NetState, report: Report = _raise) -> list[PlacedLayer]:
    """Return the layers whose include and exclude rules admit them in this state."""
    return [layer for layer in layers if _included(layer, state, report)]


def _included(layer: PlacedLayer, state: NetState, report: Report) -> bool:
    include, exclude = layer.param.include, layer.param.exclude
    if include and exclude:
        report(layer.error("it has both include and exclude rules", "keep one kind"))
    if include:
        return any(_meets(state, rule, layer.param.name) for rule in include)
    return not any(_meets(state, rule, layer.param.name) for rule in exclude)


def _meets(state: NetState, rule: NetStateRule, name: str) -> bool:
    by = f"specified by a rule in layer {name}"
    if rule.HasField("phase") and rule.phase != state.phase:
        logger.info("The NetState phase (%d) differed from the phase (%d) %s", state.phase, rule.phase, by)
        return False
    if rule.HasField("min_level") and state.level < rule.min_level:
        logger.info("The NetState level (%d) is above the min_level (%d) %s", state.level, rule.min_level, by)
        return False
    if rule.HasField("max_level") and state.level > rule.max_level:
        logger.info("The NetState level (%d) is above the max_level (%d) %s", state.level, rule.max_level, by)
        return False
    for stage in rule.stage:
        if stage not in state.stage:
            logger.info("The NetState did not contain stage '%s' %s", stage, by)
            return False
    for stage in rule.not_stage:
        if stage in state.stage:
            logger.info("The NetState contained a not_stage '%s' %s", stage, by)
            return False
    return True


def layers_in_state(layers: Sequence[PlacedLayer], state: NetState, report: Report = _raise) -> list[PlacedLayer]:
    """Return the layers of a net in a state, with the splits that they need."""
    kept = filter_layers(layers, state, report)
    there = set(map(id, kept))
    left_out = [layer for layer in layers if id(layer) not in there]
    return insert_splits(kept, report, lambda blob: _made_in_another_state(left_out, state, blob))


def insert_splits(
    layers: list[PlacedLayer], report: Report = _raise, made_elsewhere: Callable[[str], str] = lambda blob: ""
) -> list[PlacedLayer]:
    """Insert a Split after every top that has more than one reader, so that each reader has its own diff.

    An explicit nonzero loss_weight counts as a reader. ``report`` is called with a NetError for each bottom that no
    earlier layer makes; ``made_elsewhere`` may return a hint about a layer that makes it but was left out.
    """
    source: dict[str, tuple[int, int]] = {}
    makers: dict[str, PlacedLayer] | None = None
    inputs: list[list[tuple[int, int] | None]] = []
    readers: Counter[tuple[int, int] | None] = Counter()
    for i, layer in enumerate(layers):
        for blob in layer.param.bottom:
            if blob not in source:
                if makers is None:
                    makers = {top: maker for maker in reversed(layers) for top in maker.param.top}
                report(_unknown_bottom(layer, blob, list(source), makers.get(blob), made_elsewhere(blob)))
        inputs.append([source.get(blob) for blob in layer.param.bottom])
        readers.update(inputs[-1])
        source.update({blob: (i, j) for j, blob in enumerate(layer.param.top)})
        readers.update(
            source[blob] for blob, weight in zip(layer.param.top, layer.param.loss_weight, strict=False) if weight
        )

    placed: list[PlacedLayer] = []
    used: Counter[tuple[int, int]] = Counter()

    def next_copy(top: tuple[int, int]) -> str:
        name = f"{_split_name(layers, top)}_{used[top]}"
        used[top] += 1
        return name

    for i, layer in enumerate(layers):
        param = LayerParameter()
        param.CopyFrom(layer.param)
        for j, read in enumerate(inputs[i]):
            if read and readers[read] > 1:
                param.bottom[j] = next_copy(read)
        placed.append(replace(layer, param=param))
        for j, blob in enumerate(param.top):
            top = (i, j)
            if readers[top] < 2:
                continue
            name = _split_name(layers, top)
            split = LayerParameter(name=name, type="Split", bottom=[blob])
            split.top.extend(f"{name}_{k}" for k in range(readers[top]))
            weight = layer.param.loss_weight[j] if j < len(layer.param.loss_weight) else 0.0
            if weight:
                split.loss_weight.extend([weight] + [0.0] * (readers[top] - 1))
                param.loss_weight[j] = 0.0
                used[top] += 1
            placed.append(PlacedLayer(split, layer.where))
    return placed


def _split_name(layers: list[PlacedLayer], top: tuple[int, int]) -> str:
    param = layers[top[0]].param
    return f"{param.top[top[1]]}_{param.name}_{top[1]}_split"


def _made_in_another_state(left_out: Sequence[PlacedLayer], state: NetState, blob: str) -> str:
    """Say how to include a layer that makes a blob but was left out by its rules; return "" if there is none."""
    makers = [layer for layer in left_out if blob in layer.param.top]
    if not makers:
        return ""
    phase, field = ("TEST", "test_state") if state.phase == TEST else ("TRAIN", "train_state")
    for maker in makers:
        for rule in maker.param.include:
            lacking = [stage for stage in rule.stage if stage not in state.stage]
            level = max(rule.min_level, state.level)
            level = min(rule.max_level, level) if rule.HasField("max_level") else level
            asked = NetState(phase=state.phase, level=level, stage=[*state.stage, *lacking])
            if not _meets(asked, rule, maker.param.name):
                continue
            fields = [f"level: {level}"] * (level != state.level) + [f'stage: "{stage}"' for stage in asked.stage]
            words = [f"level={level}"] * (level != state.level) + [f"stages={list(asked.stage)}"] * bool(asked.stage)
            return (
                f"layer {maker.param.name!r} ({maker.where}) makes it, which this state leaves out: in a solver, "
                f"have it with {field} {{ {' '.join(fields)} }}, in a script with Net(..., {', '.join(words)})"
            )
    return f"layer {makers[0].param.name!r} ({makers[0].where}) makes it, which its rules leave out in {phase}"


def _unknown_bottom(
    layer: PlacedLayer, blob: str, made_before: list[str], maker: PlacedLayer | None, made_elsewhere: str
) -> NetError:
    index = list(layer.param.bottom).index(blob)
    if maker is layer:
        hint = f"a layer cannot read its own top: a loop; did you mean {_either(made_before[-3:])}?"
    elif maker:
        hint = f"layer {maker.param.name!r} makes it further down ({maker.where}): move that layer up"
    elif made_elsewhere:
        hint = made_elsewhere
    else:
        near = nearest_few(blob, made_before)
        hint = f"did you mean {_either(near)}?" if near else f"blobs made before it: {', '.join(made_before) or 'none'}"
    return layer.error(f"unknown bottom blob {blob!r} (bottom {index}): no layer before it makes it", hint)


def _either(names: list[str]) -> str:
    return " or ".join(map(repr, names)) or "the name of a blob made above"
