"""pycaffe's `caffe.coord_map`: how the pixels of two blobs of a NetSpec correspond, to crop one to the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .errors import NetError
from .net_spec import Function, Top, layer_function
from .ops.windows import extent

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

PASS_THROUGH_LAYERS = [
    *("AbsVal", "BatchNorm", "Bias", "BNLL", "Clip", "Dropout", "Eltwise", "ELU", "Exp", "Log", "LRN", "MVN", "Power"),
    *("PReLU", "ReLU", "Scale", "Sigmoid", "Split", "Swish", "TanH", "Threshold"),
]

# (axis, a, b): a pixel at x of one blob lies at a x + b of the other, on the axes after ``axis`` (None: any).
CoordMap: TypeAlias = tuple["int | None", "float | np.ndarray", "float | np.ndarray"]
_SAME: CoordMap = (None, 1, 0)


class UndefinedMapException(NetError):
    """Layers of this type do not map pixels to pixels."""


class AxisMismatchException(NetError):
    """Two layers count their spatial axes differently."""


class Unconnected(NetError, RuntimeError):
    """No blob leads to both tops through layers that map pixels to pixels."""


class MissingParameter(NetError, KeyError):
    """A layer lacks the parameter that says how its pixels correspond."""


class CannotCrop(NetError, AssertionError):
    """One blob cannot be cropped to the other."""


def coord_map(fn: Function) -> CoordMap:
    """Return the axis, scale and offset that take pixels of the layer's bottom to those of its top."""
    if fn.type_name in ("Convolution", "Pooling", "Im2col"):
        axis, stride, kernel, pad = conv_params(fn)
        return axis, 1 / stride, (pad - (kernel - 1) / 2) / stride
    if fn.type_name == "Deconvolution":
        axis, stride, kernel, pad = conv_params(fn)
        return axis, stride, (kernel - 1) / 2 - pad
    if fn.type_name in PASS_THROUGH_LAYERS:
        return _SAME
    if fn.type_name == "Crop":
        axis, offset = crop_params(fn)
        return axis - 1, 1, -offset
    raise UndefinedMapException(f"a {fn.type_name} layer maps no pixels on pixels")


def coord_map_from_to(top_from: Top, top_to: Top) -> CoordMap:
    """Return the axis, scale and offset from pixels of ``top_from`` to those of ``top_to``, by a blob below both."""
    from_maps = dict(_walk_back(top_from))
    for top, to_map in _walk_back(top_to):
        if top in from_maps:
            return compose(to_map, inverse(from_maps[top]))
    raise Unconnected(
        "Could not compute map between tops; are they connected by spatial layers?",
        hint=f"such layers are Convolution, Deconvolution, Pooling, Im2col, Crop, {', '.join(PASS_THROUGH_LAYERS)}",
    )


def crop(top_from: Top, top_to: Top) -> Top:
    """Make a Crop layer that crops ``top_from`` to the pixels that correspond to ``top_to``'s; return its top."""
    axis, scale, offset = coord_map_from_to(top_from, top_to)
    scale, offset = np.ravel(scale), np.ravel(offset)
    if not np.allclose(scale, 1):
        raise CannotCrop(f"scale mismatch on crop (a = {scale})", hint="bring both to one scale, as by a Deconvolution")
    if (offset > 0).any():
        raise CannotCrop(f"cannot crop negative offset (b = {offset})", hint="pad more before, or crop the other way")
    if not np.allclose(np.round(offset), offset):
        raise CannotCrop(f"cannot crop noninteger offset (b = {offset})", hint="change kernel_size or pad by one")
    first = 2 if axis is None else axis + 1
    return layer_function("Crop")(
        top_from, top_to, crop_param={"axis": first, "offset": [int(n) for n in -np.round(offset)]}
    )


def compose(base_map: CoordMap, next_map: CoordMap) -> CoordMap:
    """Return the map that applies ``next_map`` first and then ``base_map``."""
    (axis, a, b), (next_axis, next_a, next_b) = base_map, next_map
    if axis is not None and next_axis is not None and axis != next_axis:
        raise AxisMismatchException(f"the maps begin at different axes: {axis} and {next_axis}")
    return next_axis if axis is None else axis, a * next_a, a * next_b + b


def inverse(coord_map: CoordMap) -> CoordMap:
    """Return the map in the opposite direction."""
    axis, a, b = coord_map
    return axis, 1 / a, -b / a


def _walk_back(top: Top) -> Iterator[tuple[Top, CoordMap]]:
    """Yield every blob whose pixels lead to ``top``, with the map from it, nearest blobs first."""
    maps = {top: _SAME}
    queue = [top]
    for reached in queue:
        yield reached, maps[reached]
        try:
            step = coord_map(reached.fn)
        except UndefinedMapException:
            continue
        # A Crop uses only the size of its second bottom.
        for bottom in reached.fn.inputs[: 1 if reached.fn.type_name == "Crop" else None]:
            if bottom not in maps:
                maps[bottom] = compose(maps[reached], step)
                queue.append(bottom)


def conv_params(fn: Function) -> tuple[int, Any, Any, Any]:
    """Return the axis, stride, dilated kernel size and padding of a layer with a window; all except axis are arrays."""
    params = _params(fn, "pooling_param" if fn.type_name == "Pooling" else "convolution_param")
    if params.get("global_pooling"):
        raise UndefinedMapException("global pooling maps no pixels on pixels")
    kernel = _sizes(params, "kernel_size", "kernel", None)
    dilation = _numbers(params.get("dilation", 1))
    return (
        int(params.get("axis", 1)),
        _sizes(params, "stride", "stride", 1),
        extent(kernel, dilation),
        _sizes(params, "pad", "pad", 0),
    )


def crop_params(fn: Function) -> tuple[int, np.ndarray]:
    """Return the axis (default 2) and the offset (default 0) of a Crop layer."""
    params = _params(fn, "crop_param")
    return int(params.get("axis", 2)), _numbers(params.get("offset", 0))


def _sizes(params: Mapping[str, Any], name: str, prefix: str, default: int | None) -> Any:
    if f"{prefix}_h" in params or f"{prefix}_w" in params:
        return np.array([params.get(f"{prefix}_h", default or 0), params.get(f"{prefix}_w", default or 0)])
    given = params.get(name, default)
    if given is None:
        raise MissingParameter(f"no {name} is given", hint="without one nothing says how the pixels lie")
    return _numbers(given)


def _params(fn: Function, message: str) -> Mapping[str, Any]:
    return fn.params.get(message, fn.params)


def _numbers(given: ArrayLike) -> Any:
    return np.array(given, ndmin=1)
