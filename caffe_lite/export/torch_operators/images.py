"""Images of another size, and regions of images."""

from __future__ import annotations

from ..torch_code import Code, call
from ..torch_scope import Operation
from .table import even, translates, unless


@translates("Resize")
def _resize(op: Operation) -> Code:
    old, new = op.shape(0), op.node.outputs[0].shape
    scales, sizes = op.constant(2), op.constant(3)
    if sizes is not None:
        image = [int(n) for n in sizes[2:]]
    elif new is not None:
        image = [n for n in new[2:] if n is not None]
    elif scales is not None and old is not None:
        image = [int(n * scale) for n, scale in zip(old[2:], scales[2:], strict=True) if n is not None]
    else:
        op.refuse("its sizes are computed")
    before = [n for n in old[2:] if n is not None] if old is not None else []
    times = [n // m for n, m in zip(image, before, strict=False)]
    whole = times and all(n == m * k for n, m, k in zip(image, before, times, strict=True))
    mode = _mode_of_resize(op, len(image), bool(whole))
    return call(
        "F.interpolate",
        op[0],
        size=None if whole else tuple(image),
        scale_factor=even(times) if whole else None,
        mode=unless(mode, "nearest"),
        align_corners=True if op.attribute("coordinate_transformation_mode") == "align_corners" else None,
    )


def _mode_of_resize(op: Operation, axes: int, enlarges_whole: bool) -> str:
    mode = op.attribute("mode", "nearest")
    where = op.attribute("coordinate_transformation_mode", "half_pixel")
    rounding = op.attribute("nearest_mode", "round_prefer_floor")
    if op.attribute("antialias") or op.attribute("axes"):
        op.refuse("it filters, or has its own axes")
    if mode != "nearest":
        if where not in ("half_pixel", "pytorch_half_pixel", "align_corners"):
            op.refuse(f"its coordinates are {where}")
        return {1: "linear", 2: "bilinear", 3: "trilinear"}[axes] if mode == "linear" else "bicubic"
    if (where, rounding) == ("half_pixel", "round_prefer_ceil"):
        return "nearest-exact"
    if (where, rounding) != ("asymmetric", "floor") and not (enlarges_whole and where == "half_pixel"):
        op.refuse(f"its coordinates are {where}, rounded by {rounding}")
    return "nearest"


@translates("MaxRoiPool")
def _max_roi_pool(op: Operation) -> Code:
    return op.helper("roi_pool", op[0], op[1], tuple(op.attribute("pooled_shape")), op.attribute("spatial_scale", 1.0))
