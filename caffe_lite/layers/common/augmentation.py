"""FlowNet2's augmentation: coefficients drawn at random, and images transformed and coloured by them.

The coefficients of a sample are a row of 42 numbers, 0 where nothing is changed: those that multiply, or are exponents,
are given by their logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ...layer import Layer
from ...logs.log import logger
from ...proto import caffe_pb2
from ...proto.caffe_pb2 import RandomGeneratorParameter

_MULTIPLIES = (
    *("zoom_x", "zoom_y", "gamma", "contrast", "color1", "color2", "color3", "lmult_pow", "lmult_mult"),
    *(f"{what}_{which}{i}" for which in ("nomean", "withmean") for what in ("pow", "mult") for i in range(3)),
)
SPATIAL = ("mirror", "dx", "dy", "angle", "zoom_x", "zoom_y")
CHROMATIC = ("gamma", "brightness", "contrast", "color1", "color2", "color3")
EIGEN = (
    *(f"{what}_{which}{i}" for which in ("nomean", "withmean") for what in ("pow", "add", "mult") for i in range(3)),
    *("lmult_pow", "lmult_add", "lmult_mult", "col_angle"),
)
EFFECTS = (
    *("fog_amount", "fog_size", "motion_blur_angle", "motion_blur_size"),
    *("shadow_angle", "shadow_distance", "shadow_strength", "noise"),
)
NAMES = (*SPATIAL, *CHROMATIC, *EIGEN, *EFFECTS)
_DEFAULTS = np.array([float(name in _MULTIPLIES) for name in NAMES])

# The distribution that each coefficient is drawn from, apart from those of the transformation.
_SOURCES = {
    **{name: name for name in (*CHROMATIC[:3], *EFFECTS)},
    **dict.fromkeys(CHROMATIC[3:], "color"),
    **{f"{what}_nomean{i}": f"{'col' if i else 'ladd'}_{what}" for what in ("pow", "add", "mult") for i in range(3)},
    **{f"{what}_withmean1": f"sat_{what}" for what in ("pow", "add", "mult")},
    **{name: name for name in ("lmult_pow", "lmult_add", "lmult_mult")},
    "col_angle": "col_rotate",
}
_MOVES = ("mirror", "translate", "translate_x", "translate_y", "rotate", "zoom", "squeeze")
_DISTRIBUTIONS = (*_MOVES, *dict.fromkeys(_SOURCES.values()))
_KINDS = ("uniform", "gaussian", "bernoulli", "uniform_bernoulli", "gaussian_bernoulli")
_TRIES = 50

Size = tuple[int, ...]  # height and width


def decoded(rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return the coefficients (N) of each name as they are applied, from rows (N, 42)."""
    with np.errstate(over="ignore"):
        values = np.where(_DEFAULTS == 1, np.exp(rows), rows)
    return dict(zip(NAMES, values.T, strict=True))


def settled(coefficients: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the coefficients with those that change almost nothing set to what changes nothing."""
    return {
        name: np.where(abs(values - default) < 1e-3, default, values)
        for (name, values), default in zip(coefficients.items(), _DEFAULTS, strict=True)
    }


def changes(coefficients: Mapping[str, np.ndarray], names: tuple[str, ...]) -> bool:
    """Return whether one of the named coefficients changes a sample."""
    return any((coefficients[name] != (name in _MULTIPLIES)).any() for name in names)


def has_effects(coefficients: Mapping[str, np.ndarray]) -> bool:
    """Return whether an effect is asked for; fog and motion blur then only limit the values."""
    c = coefficients
    fog = (c["fog_amount"] != 0) & (c["fog_size"] != 0)
    return bool((fog | (c["motion_blur_size"] > 0) | (c["shadow_strength"] > 0) | (c["noise"] > 0)).any())


def check_rows(layer: Layer, shape: tuple[int, ...], num: int) -> None:
    """Refuse a bottom of this shape unless it holds the coefficients of ``num`` samples."""
    if len(shape) < 2 or shape[0] != num or math.prod(shape[1:]) != len(NAMES):
        layer.error(
            f"the coefficients have the shape {shape}",
            f"give {len(NAMES)} for each of {num} samples, as GenerateAugmentationParameters makes them",
        )


class Drawing:
    """The random coefficients of a layer with an AugmentationParameter."""

    def __init__(self, layer: Layer) -> None:
        self.layer, self.p, self.schedule = layer, layer.param.augmentation_param, layer.param.coeff_schedule_param
        self.active = layer.phase == caffe_pb2.TRAIN or self.p.augment_during_test
        self.given = {name for name in _DISTRIBUTIONS if self.p.HasField(name)}
        for name in sorted(self.given):
            p: RandomGeneratorParameter = getattr(self.p, name)
            if p.rand_type not in _KINDS:
                layer.error(f"the rand_type of {name} is {p.rand_type!r}", f"use {', '.join(_KINDS)}")
            if not 0 <= p.prob <= 1:
                layer.error(f"the prob of {name} is {p.prob:g}", "give a probability, from 0 to 1")
        if self.schedule.half_life < 0:
            layer.error(f"half_life is {self.schedule.half_life:g}", "give coeff_schedule_param one of 0 or more")

    def rows(self, given: np.ndarray, mode: str, count: float, crop: Size, image: Size) -> np.ndarray:
        """Return coefficients for crops of images: drawn, or drawn and combined with the given ones (N, 42).

        ``mode``: "regenerate" draws without them, "replace" draws some anew, "add" adds those that it draws.
        ``count`` is the number of the pass, from 1 on.
        """
        rows = np.zeros_like(given) if mode == "regenerate" else given.copy()
        if not self.active:
            return rows
        factor = self._factor(count)
        for row in rows:
            if self.given.intersection(_MOVES):
                if mode == "replace":
                    row[: len(SPATIAL)] = 0
                self._move(row, factor, crop, image)
            for name, value in self._other(factor).items():
                index = NAMES.index(name)
                row[index] = self._encoded(name, value) + (row[index] if mode == "add" else 0)
        return rows

    def _factor(self, count: float) -> float:
        """Return what the spreads are multiplied with."""
        s = self.schedule
        done = 2 / (1 + math.exp(-1.0986 * count / s.half_life)) - 1 if s.half_life else 1.0
        return s.initial_coeff + (s.final_coeff - s.initial_coeff) * done

    def _move(self, row: np.ndarray, factor: float, crop: Size, image: Size) -> None:
        """Add a transformation that keeps the corners of the crop in the image, if one is found."""
        corners = np.array([[x, y] for x in (0, crop[1] - 1) for y in (0, crop[0] - 1)])
        limits = np.array([image[1] - 1, image[0] - 1])
        for _ in range(_TRIES):
            tried = row.copy()
            for name, value in self._transformation(factor).items():
                tried[NAMES.index(name)] += self._encoded(name, value)
            (matrix,) = matrices(self.layer, decoded(tried[None]), crop, image)
            places = corners @ matrix[:, :2].T + matrix[:, 2]
            if ((places >= 0) & (places < limits)).all():
                row[:] = tried
                return
        logger.warning(
            "%s: no transformation that stays in the image was found in %d tries", *(self.layer.name, _TRIES)
        )

    def _transformation(self, factor: float) -> dict[str, float]:
        drawn: dict[str, float] = {}
        if "mirror" in self.given:
            drawn["mirror"] = float(bool(self._number("mirror", 0.0, 0.0)))
        for name, target in (
            *(("translate", "dx"), ("translate", "dy"), ("translate_x", "dx"), ("translate_y", "dy")),
            *(("rotate", "angle"), ("zoom", "zoom_x")),
        ):
            if name in self.given:
                drawn[target] = self._number(name, factor, float(target in _MULTIPLIES))
        if "zoom" in self.given:
            drawn["zoom_y"] = drawn["zoom_x"]
        if "squeeze" in self.given:
            squeeze = self._number("squeeze", factor, 1.0)
            if squeeze == 0:
                self.layer.error("a squeeze of 0 was drawn", "give squeeze another distribution, or exp: true")
            drawn["zoom_x"] = drawn.get("zoom_x", 1.0) * squeeze
            drawn["zoom_y"] = drawn.get("zoom_y", 1.0) / squeeze
        return drawn

    def _other(self, factor: float) -> dict[str, float]:
        drawn = {
            name: self._number(source, factor, 0.0 if name in EFFECTS[:-1] else None)
            for name, source in _SOURCES.items()
            if source in self.given
        }
        return drawn | {f"{name[:-1]}2": value for name, value in drawn.items() if name.endswith("withmean1")}

    def _number(self, name: str, factor: float, otherwise: float | None) -> float:
        """Draw from a distribution; ``otherwise`` is the value of one that applies only with a probability."""
        p: RandomGeneratorParameter = getattr(self.p, name)
        rng, spread = self.layer.rng, p.spread * (factor if p.apply_schedule else 1.0)
        kind, _, sometimes = p.rand_type.partition("_")
        if kind == "bernoulli":
            value = float(rng.random() < p.prob)
        else:
            value = p.mean
            if sometimes and rng.random() >= p.prob:
                if otherwise is not None:
                    return otherwise
                value = 0.0
            elif spread > 0:
                uniform = kind == "uniform"
                value = rng.uniform(value - spread, value + spread) if uniform else rng.normal(value, spread)
            value = math.exp(value) if p.exp else value
        if p.discretize:
            value = math.copysign(math.floor(abs(value) + 0.5), value)
        return p.multiplier * value

    def _encoded(self, name: str, value: float) -> float:
        if name not in _MULTIPLIES:
            return value
        if value < 0:
            self.layer.error(f"a {name} of {value:g} was drawn", "give it a distribution above 0, or exp: true")
        return math.log(value) if value else -math.inf


def matrices(layer: Layer, coefficients: Mapping[str, np.ndarray], crop: Size, image: Size) -> np.ndarray:
    """Return the matrices (N, 2, 3) that make x, y in the image of x, y, 1 in the crop."""
    c = coefficients
    turn = np.where(c["mirror"] != 0, -1.0, 1.0)
    cos, sin = np.cos(c["angle"]), np.sin(c["angle"])
    across, down = crop[1] / 2, crop[0] / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.array(
            [
                [turn * cos, -sin, c["dx"] * crop[1] - turn * cos * across + sin * down] / c["zoom_x"],
                [turn * sin, cos, c["dy"] * crop[0] - turn * sin * across - cos * down] / c["zoom_y"],
            ]
        )
    found[:, 2] += np.array([[image[1] / 2], [image[0] / 2]])
    if not np.isfinite(found).all():
        layer.error("the coefficients hold a zoom of 0, or a value that is not finite", "correct what they come from")
    return found.transpose(2, 0, 1)


def places(matrix: np.ndarray, size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y in the image of every pixel of a crop of this size."""
    y, x = np.indices(size)
    across, down = (a * x + b * y + c for a, b, c in matrix)
    return across, down


def transformed(images: np.ndarray, matrix: np.ndarray, size: Size) -> np.ndarray:
    """Return crops (N, C, height, width), interpolated between four pixels; outside the image, those at its border."""
    num, channels, height, width = images.shape
    crops = np.empty((num, channels, *size), images.dtype)
    for image, m, crop in zip(images, matrix, crops, strict=True):
        # The original stays so far from the last pixel that there is always one to the right and below.
        x, y = (np.clip(p, 0, max(0, n - 1.05)) for p, n in zip(places(m, size), (width, height), strict=True))
        left, upper = x.astype(int), y.astype(int)
        right, lower = np.minimum(left + 1, width - 1), np.minimum(upper + 1, height - 1)
        across, down = (x - left).astype(images.dtype), (y - upper).astype(images.dtype)
        above = (1 - across) * image[:, upper, left] + across * image[:, upper, right]
        below = (1 - across) * image[:, lower, left] + across * image[:, lower, right]
        crop[:] = (1 - down) * above + down * below
    return crops


def moved_flow(flows: np.ndarray, first: np.ndarray, second: np.ndarray, size: Size) -> np.ndarray:
    """Return the flow between two crops from that between their images, the nearest pixel's."""
    moved = np.empty((len(flows), 2, *size), flows.dtype)
    y, x = np.indices(size)
    for flow, m, n, crop in zip(flows, first, second, moved, strict=True):
        across, down = places(m, size)
        column, row = (
            np.clip((p + 0.5).astype(int), 0, n - 1) for p, n in zip((across, down), flow.shape[:0:-1], strict=True)
        )
        target = np.stack([across, down]) + flow[:, row, column] - n[:, 2, None, None]
        crop[:] = np.tensordot(np.linalg.inv(n[:, :2]), target, 1) - np.stack([x, y])
    return moved


def _by_sample(coefficients: Mapping[str, np.ndarray], like: np.ndarray, *names: str) -> np.ndarray:
    """Return coefficients (N, names, 1, 1) in the type of the images."""
    return np.stack([coefficients[name] for name in names], 1).astype(like.dtype)[:, :, None, None]


def recoloured(images: np.ndarray, coefficients: Mapping[str, np.ndarray], most: float) -> np.ndarray:
    """Change the colours (N, 3, H, W) at equal brightness, then gamma, brightness and contrast."""
    gamma, brightness, contrast = (_by_sample(coefficients, images, name) for name in CHROMATIC[:3])
    coloured = images * _by_sample(coefficients, images, *CHROMATIC[3:])
    keep = images.sum(1, keepdims=True) / (coloured.sum(1, keepdims=True) + images.dtype.type(0.01))
    bright = np.clip(coloured * keep, 0, 1) ** gamma + brightness
    return np.clip(0.5 + (bright - 0.5) * contrast, 0, most)


def _power(x: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    return np.copysign(abs(x) ** exponent, x)


def recoloured_in_eigenspace(
    crops: np.ndarray, images: np.ndarray, vectors: np.ndarray, coefficients: Mapping[str, np.ndarray], most: float
) -> np.ndarray:
    """Change the colours (N, 3, H, W) along the vectors (3, 3), scaled by the largest values in all the images."""
    least = 1e-2

    def named(name: str) -> np.ndarray:
        return _by_sample(coefficients, crops, name)

    def triple(name: str) -> np.ndarray:
        return _by_sample(coefficients, crops, *(f"{name}{i}" for i in range(3)))

    vectors = vectors.astype(crops.dtype)
    mean = images.mean((0, 2, 3), dtype=np.float64).astype(crops.dtype)
    largest = abs(np.einsum("kc,nchw->nkhw", vectors, images)).max((0, 2, 3))
    longest = np.sqrt((largest**2).sum())
    wide = (largest > least)[:, None, None]
    unit = np.where(wide, largest[:, None, None], 1)
    eigen = np.einsum("kc,nchw->nkhw", vectors, crops - mean[:, None, None]) / unit
    changed = (_power(eigen, triple("pow_nomean")) + triple("add_nomean")) * triple("mult_nomean")
    eigen = np.where(wide, changed, eigen) + (vectors @ mean)[:, None, None] / unit
    light, first, second = (eigen[:, i : i + 1] for i in range(3))
    if wide[0]:
        light = (_power(light, named("pow_withmean0")) + named("add_withmean0")) * named("mult_withmean0")
    saturation = np.hypot(first, second)
    saturated = np.maximum(saturation ** named("pow_withmean1") + named("add_withmean1"), 0) * named("mult_withmean1")
    cos, sin = np.cos(named("col_angle")), np.sin(named("col_angle"))
    eigen = np.concatenate([light, cos * first - sin * second, sin * first + cos * second], 1) * unit
    length = np.sqrt((eigen**2).sum(1, keepdims=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        eigen[:, 1:] *= np.where(saturation > least, saturated / saturation, 1)
        if longest > least:
            wanted = (length / longest) ** named("lmult_pow") + named("lmult_add")
            wanted = np.maximum(wanted, 0) * named("lmult_mult") * longest
            length = np.sqrt((eigen**2).sum(1, keepdims=True))
            scaled = np.minimum(eigen * (wanted / length), largest[:, None, None])
            eigen = np.where(length > least, scaled, eigen)
    return np.clip(np.einsum("kc,nkhw->nchw", vectors, eigen), 0, most)


def affected(images: np.ndarray, coefficients: Mapping[str, np.ndarray], most: float, layer: Layer) -> np.ndarray:
    """Add shadows, beyond a line, then noise."""
    height, width = images.shape[2:]
    y, x = np.indices((height, width))
    angle, distance, strength = (_by_sample(coefficients, images, name) for name in EFFECTS[4:7])
    beyond = (x - width // 2) * np.cos(angle) + (y - height // 2) * np.sin(angle) - distance > 0
    images = np.clip(images - beyond * strength, 0, most)
    for image, deviation in zip(images, coefficients["noise"], strict=True):
        if deviation > 0:
            image += layer.rng.normal(0, deviation, image.shape)
    return images
