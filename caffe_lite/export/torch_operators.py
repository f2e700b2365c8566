"""How each operator of ONNX is written in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Any

import numpy as np

from ..errors import CaffeError
from ..onnx_graph import BOOL, DOUBLE, FLOAT, INT32, INT64, OnnxNode, Sizes, Value
from ..ops.windows import spanned
from .torch_code import Code, at_axis, call, infix, literal, method, power, sign, subscript
from .torch_scope import Operation, Scope

# Returns what stands for each output, or one call that gives them all.
Translation = Callable[[Operation], "Code | Sequence[Code]"]
TRANSLATIONS: dict[str, Translation] = {}
_FAR = 2**31 - 1  # an end of Slice from here on means all


def translates(*ops: str) -> Callable[[Translation], Translation]:
    """Enter a translation into the table."""

    def enter(translation: Translation) -> Translation:
        TRANSLATIONS.update(dict.fromkeys(ops, translation))
        return translation

    return enter


def _even(sizes: Sequence[int]) -> Any:
    """Return one number for sizes that are all the same."""
    return sizes[0] if len(set(sizes)) == 1 else tuple(sizes)


def _unless(value: Any, usual: Any) -> Any:
    """Return None for what may be left out."""
    return None if value == usual else value


def _known(op: Operation, index: int) -> tuple[int, ...]:
    """Return the shape of an input, of which all sizes have to be known."""
    sizes = tuple(size for size in op.shape(index) or () if size is not None)
    if sizes != op.shape(index):
        op.refuse(f"the shape of its input {index} is unknown")
    return sizes


# Products with weights.


@translates("Conv")
def _conv(op: Operation) -> Code:
    weight = op.given(1)
    outputs, inputs, *kernel = _known(op, 1)
    n, group = len(kernel), op.attribute("group", 1)
    pads = op.attribute("pads", [0] * 2 * n)
    settings = {
        "stride": _unless(_even(op.attribute("strides", [1] * n)), 1),
        "padding": _unless(_even(pads[:n]), 0),
        "dilation": _unless(_even(op.attribute("dilations", [1] * n)), 1),
        "groups": _unless(group, 1),
    }
    x = op[0]
    if pads[:n] != pads[n:]:
        settings["padding"], x = None, _padded(x, pads[:n], pads[n:])
    module = None
    if weight.blob is not None:
        module = op.module(
            f"Conv{n}d",
            inputs * group,
            outputs,
            kernel_size=_even(kernel),
            **settings,
            bias=None if op.value(2) else False,
            state={"weight": weight, "bias": op.value(2)},
        )
    return call(module, x) if module else call(f"F.conv{n}d", x, op[1], op.optional(2), **settings)


@translates("ConvTranspose")
def _conv_transpose(op: Operation) -> Code:
    weight = op.given(1)
    inputs, outputs, *kernel = _known(op, 1)
    n, group = len(kernel), op.attribute("group", 1)
    pads = op.attribute("pads", [0] * 2 * n)
    if pads[:n] != pads[n:] or op.attribute("output_shape"):
        op.refuse("its padding is uneven")
    settings = {
        "stride": _unless(_even(op.attribute("strides", [1] * n)), 1),
        "padding": _unless(_even(pads[:n]), 0),
        "output_padding": _unless(_even(op.attribute("output_padding", [0] * n)), 0),
        "dilation": _unless(_even(op.attribute("dilations", [1] * n)), 1),
        "groups": _unless(group, 1),
    }
    module = None
    if weight.blob is not None:
        module = op.module(
            f"ConvTranspose{n}d",
            inputs,
            outputs * group,
            kernel_size=_even(kernel),
            **settings,
            bias=None if op.value(2) else False,
            state={"weight": weight, "bias": op.value(2)},
        )
    return call(module, op[0]) if module else call(f"F.conv_transpose{n}d", op[0], op[1], op.optional(2), **settings)


@translates("Gemm")
def _gemm(op: Operation) -> Code:
    alpha, beta = op.attribute("alpha", 1.0), op.attribute("beta", 1.0)
    rows = method(op[0], "t") if op.attribute("transA") else op[0]
    weight, bias = op.given(1), op.value(2)
    if op.attribute("transB") and alpha == beta == 1:
        if weight.blob is not None and weight.ndim == 2 and (bias is None or bias.shape == weight.sizes[:1]):
            outputs, inputs = _known(op, 1)
            state = {"weight": weight, "bias": bias}
            linear = op.module("Linear", inputs, outputs, bias=None if bias else False, state=state)
            if linear is not None:
                return call(linear, rows)
        if bias is None or (bias.shape is not None and bias.ndim == 1):
            return call("F.linear", rows, op[1], op.optional(2))
    y = infix(rows, "@", method(op[1], "t") if op.attribute("transB") else op[1])
    y = y if alpha == 1 else infix(y, "*", alpha)
    if bias is None or beta == 0:
        return y
    return infix(y, "+", op.number(2) if beta == 1 else infix(op.number(2), "*", beta))


@translates("MatMul")
def _matmul(op: Operation) -> Code:
    return infix(op.tensor(0), "@", op.tensor(1))


@translates("Einsum")
def _einsum(op: Operation) -> Code:
    return call("torch.einsum", op.attribute("equation"), *op.all())


# Pooling and normalising.


@translates("MaxPool")
def _max_pool(op: Operation) -> Code | Sequence[Code]:
    kernel = op.attribute("kernel_shape")
    n, wants_places = len(kernel), op.is_read(1)
    dilations = op.attribute("dilations", [1] * n)
    fitted = _rounding(op, op.shape(0), dilations)
    x, padding, ceil_mode = op[0], op.attribute("pads", [0] * n)[:n], None
    if fitted is not None:
        ceil_mode = fitted or None
    elif wants_places:
        op.refuse("the places of its padded windows cannot be told")
    else:
        x, padding = _padded(x, padding, op.attribute("pads")[n:], literal(-np.inf)), [0] * n
    pooled = call(
        f"F.max_pool{n}d",
        x,
        kernel_size=_even(kernel),
        stride=_even(op.attribute("strides", [1] * n)),
        padding=_unless(_even(padding), 0),
        dilation=_unless(_even(dilations), 1),
        ceil_mode=ceil_mode,
        return_indices=True if wants_places else None,
    )
    return pooled if wants_places or len(op.node.outputs) == 1 else [pooled, Code("None")]


@translates("AveragePool")
def _average_pool(op: Operation) -> Code:
    kernel, n = op.attribute("kernel_shape"), len(op.attribute("kernel_shape"))
    pads = op.attribute("pads", [0] * 2 * n)
    x, shape, padding = op[0], op.shape(0), pads[:n]
    counts = bool(op.attribute("count_include_pad", 0))
    before = op.source(0)
    if before is not None and before.op == "Pad" and not any(padding):
        # The windows may reach beyond the padding, which a mean counts and what is beyond it does not.
        inner = Operation(before, op.scope)
        edges = [int(edge) for edge in inner.numbers(1)]
        if edges[: n + 2] == edges[n + 2 :] and not any(edges[:2]) and op.scope.reads[id(op.given(0))] == 1:
            again = _rounding(op, inner.shape(0), [1] * n, edges[2 : n + 2])
            if again is not None:
                return _mean(op, inner[0], edges[2 : n + 2], again, True)
    fitted = _rounding(op, shape, [1] * n)
    if fitted is not None and (not any(padding) or not counts or pads[:n] == pads[n:] or not fitted):
        return _mean(op, x, padding, fitted, counts)
    if counts:
        return _mean(op, _padded(x, padding, pads[n:]), [0] * n, False, True)
    x = op.variable(0)
    sums, sizes = (
        call(f"F.avg_pool{n}d", _padded(of, padding, pads[n:]), _even(kernel), _even(op.attribute("strides", [1] * n)))
        for of in (x, call("torch.ones_like", x))
    )
    return infix(sums, "/", sizes)


def _mean(op: Operation, x: Code, padding: Sequence[int], ceil_mode: bool, counts: bool) -> Code:
    kernel = op.attribute("kernel_shape")
    return call(
        f"F.avg_pool{len(kernel)}d",
        x,
        kernel_size=_even(kernel),
        stride=_even(op.attribute("strides", [1] * len(kernel))),
        padding=_unless(_even(padding), 0),
        ceil_mode=ceil_mode or None,
        count_include_pad=False if any(padding) and not counts else None,
    )


def _rounding(op: Operation, shape: Any, dilations: Sequence[int], padding: Sequence[int] | None = None) -> bool | None:
    """Return ceil_mode for as many windows as the operation has; None if neither rule of PyTorch gives so many."""
    kernel = op.attribute("kernel_shape")
    n = len(kernel)
    pads, strides = op.attribute("pads", [0] * 2 * n), op.attribute("strides", [1] * n)
    padding = pads[:n] if padding is None else padding
    if shape is None or None in shape[2:] or any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        return None
    room = [
        size + 2 * edge - spanned(1, k, 1, d)
        for size, edge, k, d in zip(shape[2:], padding, kernel, dilations, strict=True)
    ]
    ends = [most + end - begin for most, begin, end in zip(room, pads[:n], pads[n:], strict=True)]
    wanted = [end // stride + 1 for end, stride in zip(ends, strides, strict=True)]
    up = [
        -(-r // s) + 1 - int(-(-r // s) * s >= size + edge)
        for r, s, size, edge in zip(room, strides, shape[2:], padding, strict=True)
    ]
    down = [r // s + 1 for r, s in zip(room, strides, strict=True)]
    # Caffe rounds up. That matters for images of other sizes, too, so it is said wherever it may be.
    if wanted == up:
        return up != down or (max(strides) > 1 and list(kernel) != list(shape[2:]))
    return False if wanted == down else None


@translates("GlobalAveragePool")
def _global_mean(op: Operation) -> Code:
    return _over_image(op, "mean", "avg")


@translates("GlobalMaxPool")
def _global_max(op: Operation) -> Code:
    return _over_image(op, "amax", "max")


def _over_image(op: Operation, reduction: str, pooling: str) -> Code:
    rank = op.rank(0)
    if rank in (3, 4, 5):
        return call(f"F.adaptive_{pooling}_pool{rank - 2}d", op[0], 1)
    if rank is None:
        op.refuse("the number of axes is unknown")
    return method(op[0], reduction, tuple(range(2, rank)), keepdim=True)


@translates("BatchNormalization")
def _batch_norm(op: Operation) -> Code:
    scale, shift, mean, variance = (op.given(i) for i in range(1, 5))
    (channels,), epsilon = _known(op, 1), op.attribute("epsilon", 1e-5)
    plain = all(
        value.blob is None and value.array is not None and np.all(value.array == usual)
        for value, usual in ((scale, 1), (shift, 0))
    )
    kind = {2: "BatchNorm1d", 3: "BatchNorm1d", 4: "BatchNorm2d", 5: "BatchNorm3d"}.get(op.rank(0) or 0)
    settings = {"eps": _unless(np.float32(epsilon), np.float32(1e-5)), "affine": False if plain else None}
    learned: dict[str, Value | None] = {} if plain else {"weight": scale, "bias": shift}
    state = {**learned, "running_mean": mean, "running_var": variance}
    module = op.module(kind, channels, **settings, state=state) if kind else None
    if module is not None:
        op.scope.count_batches(module)
        return call(module, op[0])
    affine = {} if plain else {"weight": op[1], "bias": op[2]}
    return call("F.batch_norm", op[0], op[3], op[4], **affine, eps=_unless(np.float32(epsilon), np.float32(1e-5)))


@translates("InstanceNormalization")
def _instance_norm(op: Operation) -> Code:
    return call("F.instance_norm", op[0], weight=op[1], bias=op[2], eps=op.attribute("epsilon", 1e-5))


@translates("LayerNormalization")
def _layer_norm(op: Operation) -> Code:
    return call("F.layer_norm", op[0], _known(op, 1), op[1], op.optional(2), eps=op.attribute("epsilon", 1e-5))


@translates("LRN")
def _lrn(op: Operation) -> Code:
    size = op.attribute("size")
    usual = {"alpha": 1e-4, "beta": 0.75, "k": 1.0}
    given = {name: op.attribute("bias" if name == "k" else name, value) for name, value in usual.items()}
    settings = {name: value for name, value in given.items() if np.float32(value) != np.float32(usual[name])}
    if size % 2:
        return call("F.local_response_norm", op[0], size, **settings)
    # Windows of an even size have one channel more before than after in PyTorch, and one more after in ONNX.
    return method(call("F.local_response_norm", method(op[0], "flip", 1), size, **settings), "flip", 1)


@translates("LpNormalization")
def _normalized(op: Operation) -> Code:
    return call("F.normalize", op[0], p=_unless(op.attribute("p", 2), 2), dim=op.attribute("axis", -1), eps=0.0)


# Neurons.

_FUNCTIONS = {
    "Relu": "F.relu",
    "Sigmoid": "torch.sigmoid",
    "Tanh": "torch.tanh",
    "Softplus": "F.softplus",
    "Softsign": "F.softsign",
    "HardSwish": "F.hardswish",
    "Mish": "F.mish",
}
_METHODS = {
    "Abs": "abs",
    "Acos": "acos",
    "Asin": "asin",
    "Atan": "atan",
    "Ceil": "ceil",
    "Cos": "cos",
    "Erf": "erf",
    "Exp": "exp",
    "Floor": "floor",
    "IsInf": "isinf",
    "IsNaN": "isnan",
    "Log": "log",
    "Reciprocal": "reciprocal",
    "Round": "round",
    "Sign": "sign",
    "Sin": "sin",
    "Sqrt": "sqrt",
    "Tan": "tan",
}


@translates(*_FUNCTIONS)
def _function(op: Operation) -> Code:
    return call(_FUNCTIONS[op.node.op], op.tensor(0))


@translates(*_METHODS)
def _method(op: Operation) -> Code:
    return method(op.tensor(0), _METHODS[op.node.op])


@translates("Neg")
def _neg(op: Operation) -> Code:
    return sign("-", op[0])


@translates("Not")
def _not(op: Operation) -> Code:
    return sign("~", op[0])


@translates("LeakyRelu")
def _leaky_relu(op: Operation) -> Code:
    return call("F.leaky_relu", op[0], op.attribute("alpha", 0.01))


@translates("PRelu")
def _prelu(op: Operation) -> Code:
    slope = op.given(1)
    if op.attribute("channels"):
        module = op.module("PReLU", *([] if slope.sizes == (1,) else _known(op, 1)), state={"weight": slope})
        return call(module, op[0]) if module else call("F.prelu", op[0], op[1])
    x = op.variable(0)
    return call("torch.where", infix(x, ">", Code("0")), x, infix(x, "*", op.number(1)))


@translates("Elu")
def _elu(op: Operation) -> Code:
    return call("F.elu", op[0], alpha=_unless(op.attribute("alpha", 1.0), 1.0))


@translates("Celu")
def _celu(op: Operation) -> Code:
    return call("F.celu", op[0], alpha=_unless(op.attribute("alpha", 1.0), 1.0))


@translates("Selu")
def _selu(op: Operation) -> Code:
    alpha = op.attribute("alpha", 1.67326319217681884765625)
    gamma = op.attribute("gamma", 1.05070102214813232421875)
    if np.isclose(alpha, 1.6732632, rtol=1e-7) and np.isclose(gamma, 1.0507010, rtol=1e-7):
        return call("F.selu", op[0])
    return infix(gamma, "*", call("F.elu", op[0], alpha=alpha))


@translates("Gelu")
def _gelu(op: Operation) -> Code:
    return call("F.gelu", op[0], approximate=_unless(op.attribute("approximate", "none"), "none"))


@translates("HardSigmoid")
def _hard_sigmoid(op: Operation) -> Code:
    slope, shift = op.attribute("alpha", 0.2), op.attribute("beta", 0.5)
    if np.float32(slope) == np.float32(1 / 6) and shift == 0.5:
        return call("F.hardsigmoid", op[0])
    return method(infix(infix(op[0], "*", slope), "+", shift), "clamp", 0, 1)


@translates("ThresholdedRelu")
def _thresholded(op: Operation) -> Code:
    return call("F.threshold", op[0], op.attribute("alpha", 1.0), 0.0)


@translates("Clip")
def _clip(op: Operation) -> Code:
    bounds = [None if op.value(i) is None else op.number(i) for i in (1, 2)]
    if bounds == ["0.0", "6.0"]:
        return call("F.relu6", op[0])
    return method(op[0], "clamp", min=bounds[0], max=bounds[1])


@translates("Softmax", "LogSoftmax")
def _softmax(op: Operation) -> Code:
    name = "F.softmax" if op.node.op == "Softmax" else "F.log_softmax"
    return call(name, op[0], dim=op.attribute("axis", -1))


@translates("Dropout", "Identity")
def _identity(op: Operation) -> Code:
    return op.tensor(0)


# Arithmetic and comparisons.

_INFIX = {
    "Add": "+",
    "Sub": "-",
    "Mul": "*",
    "Div": "/",
    "Equal": "==",
    "Greater": ">",
    "GreaterOrEqual": ">=",
    "Less": "<",
    "LessOrEqual": "<=",
    "And": "&",
    "Or": "|",
    "Xor": "!=",
}


@translates(*_INFIX)
def _infix(op: Operation) -> Code:
    if op.node.op == "Div" and op.kind(0) == "i":
        return call("torch.div", op.tensor(0), op.number(1), rounding_mode="trunc")
    return infix(op.number(0), _INFIX[op.node.op], op.number(1))


@translates("Mod")
def _mod(op: Operation) -> Code:
    if op.attribute("fmod"):
        return call("torch.fmod", op[0], op.number(1))
    return infix(op.number(0), "%", op.number(1))


@translates("Pow")
def _pow(op: Operation) -> Code:
    exponent = op.number(1)
    if exponent == "2.0":
        exponent = Code("2")
    return method(op[0], "sqrt") if exponent == "0.5" else power(op.number(0), exponent)


@translates("Max", "Min", "Sum", "Mean")
def _of_several(op: Operation) -> Code:
    if op.node.op in ("Sum", "Mean"):
        total = op[0]
        for index in range(1, len(op)):
            total = infix(total, "+", op.number(index))
        return total if op.node.op == "Sum" else infix(total, "/", len(op))
    bound, function = ("min", "torch.maximum") if op.node.op == "Max" else ("max", "torch.minimum")
    chosen = op[0] if op.constant(0) is None else op.tensor(0)
    for index in range(1, len(op)):
        number = op.number(index)
        scalar = op.constant(index) is not None and not number.startswith("self.")
        chosen = method(chosen, "clamp", **{bound: number}) if scalar else call(function, chosen, op[index])
    return chosen


@translates("Where")
def _where(op: Operation) -> Code:
    return call("torch.where", op[0], op.number(1), op.number(2))


_CASTS = {
    FLOAT: ("f", "float"),
    DOUBLE: ("d", "double"),
    BOOL: ("b", "bool"),
    INT32: ("i", "int"),
    INT64: ("i", "long"),
}


@translates("Cast")
def _cast(op: Operation) -> Code | Sequence[Code]:
    if op.attribute("to") not in _CASTS:
        op.refuse(f"type {op.attribute('to')} is not one that layers use")
    wanted, function = _CASTS[op.attribute("to")]
    return op[0] if op.kind(0) == wanted != "i" else method(op.tensor(0), function)


@translates("CumSum")
def _cumsum(op: Operation) -> Code:
    axis = int(op.numbers(1))
    x = op[0]
    if op.attribute("reverse"):
        return method(method(method(x, "flip", axis), "cumsum", axis), "flip", axis)
    if op.attribute("exclusive"):
        x = op.variable(0)
        return infix(method(x, "cumsum", axis), "-", x)
    return method(x, "cumsum", axis)


# Reductions.

_REDUCTIONS = {"ReduceSum": "sum", "ReduceMean": "mean", "ReduceMax": "amax", "ReduceMin": "amin", "ReduceL2": "norm"}


@translates(*_REDUCTIONS)
def _reduce(op: Operation) -> Code:
    return _reduced(op, op.tensor(0), _REDUCTIONS[op.node.op])


@translates("ReduceL1")
def _reduce_l1(op: Operation) -> Code:
    return _reduced(op, method(op[0], "abs"), "sum")


@translates("ReduceSumSquare")
def _reduce_squares(op: Operation) -> Code:
    return _reduced(op, power(op[0], 2), "sum")


@translates("ReduceLogSumExp")
def _reduce_log_sum_exp(op: Operation) -> Code:
    return _reduced(op, op[0], "logsumexp")


@translates("ReduceProd")
def _reduce_prod(op: Operation) -> Code:
    axes = op.whole(1, "axes")
    if axes is None or len(axes) != 1:
        op.refuse("its product is over several axes")
    return method(op[0], "prod", axes[0], keepdim=True if op.attribute("keepdims", 1) else None)


def _reduced(op: Operation, x: Code, reduction: str) -> Code:
    axes, keeps = op.whole(1, "axes"), bool(op.attribute("keepdims", 1))
    if axes is None:
        if op.attribute("noop_with_empty_axes"):
            return x
        rank = op.rank(0)
        if not keeps:
            return method(x, reduction)
        if rank is None:
            op.refuse("the number of axes is unknown")
        axes = list(range(rank))
    return method(x, reduction, dim=_even(axes) if len(axes) == 1 else tuple(axes), keepdim=keeps or None)


@translates("ArgMax", "ArgMin")
def _arg(op: Operation) -> Code:
    x, axis = op[0], op.attribute("axis", 0)
    name, keepdim = op.node.op.lower(), True if op.attribute("keepdims", 1) else None
    if op.attribute("select_last_index"):
        x = op.variable(0)
        last = infix(Code(f"{x}.shape[{axis}]"), "-", 1)
        return infix(last, "-", method(method(x, "flip", axis), name, dim=axis, keepdim=keepdim))
    return method(x, name, dim=axis, keepdim=keepdim)


# Shapes.


@translates("Reshape")
def _reshape(op: Operation) -> Code:
    target, old, new = op.constant(1), op.shape(0), op.node.outputs[0].shape
    if target is None:
        sizes = op.sizes(1)
        return method(op.tensor(0), "reshape", *([method(op[1], "tolist")] if sizes is None else sizes))
    if old is not None and new is not None:
        known = _reshaped(op, old, new)
        if known is not None:
            return known
    sizes = [int(n) for n in target]
    if 0 in sizes and not op.attribute("allowzero"):
        x = op.variable(0)
        return method(x, "reshape", *(Code(f"{x}.shape[{i}]") if n == 0 else n for i, n in enumerate(sizes)))
    return method(op.tensor(0), "reshape", *sizes or [()])


def _reshaped(op: Operation, before: Sizes, after: Sizes) -> Code | None:
    """Write what leads from one shape to another; None if only sizes as numbers do."""
    same = before.count(None) == after.count(None) and _known_part(before) == _known_part(after)
    first = 0
    while first < min(len(before), len(after)) and _stays(before[first], after[first], same):
        first += 1
    if first == len(before):
        added = after[first:]
        return subscript(op[0], *[":"] * first, *["None"] * len(added)) if set(added) <= {1} else None
    last = 0
    while last < min(len(before), len(after)) - first - 1 and _stays(before[-1 - last], after[-1 - last], same):
        last += 1
    old, new = before[first : len(before) - last], after[first : len(after) - last]
    if not new and set(old) == {1} and first and not last:
        return method(op[0], "flatten", first - 1)
    if len(new) == 1 and len(old) > 1:
        return method(op[0], "flatten", first, *([] if last == 0 else [len(before) - last - 1]))
    if len(old) == 1 and len(new) > 1 and new.count(None) < 2:
        return method(op[0], "unflatten", first, tuple(-1 if n is None else n for n in new))
    if after.count(None) < 2 and 0 not in after:
        return method(op.tensor(0), "reshape", *(-1 if n is None else n for n in after))
    return None


def _known_part(shape: Sizes) -> int:
    return prod(n for n in shape if n is not None)


def _stays(before: int | None, after: int | None, same: bool) -> bool:
    """Return whether two sizes are equal; ``same`` tells it of those that the batch decides."""
    return before == after and (before is not None or same)


@translates("Flatten")
def _flatten(op: Operation) -> Code:
    axis = op.attribute("axis", 1)
    if axis == 1:
        return method(op[0], "flatten", 1)
    if axis == 0:
        return method(op[0], "reshape", 1, -1)
    return method(method(op[0], "flatten", 0, axis - 1), "flatten", 1)


@translates("Transpose")
def _transpose(op: Operation) -> Code:
    perm = op.attribute("perm")
    if perm is None:
        rank = op.rank(0)
        if rank is None:
            op.refuse("the number of axes is unknown")
        perm = list(range(rank))[::-1]
    moved = [axis for axis, source in enumerate(perm) if axis != source]
    if len(moved) == 2:
        return method(op.tensor(0), "t") if len(perm) == 2 else method(op.tensor(0), "transpose", *moved)
    return method(op.tensor(0), "permute", *perm) if moved else op[0]


@translates("Squeeze")
def _squeeze(op: Operation) -> Code:
    axes = op.whole(1, "axes")
    if axes is None:
        return method(op[0], "squeeze")
    return method(op[0], "squeeze", axes[0] if len(axes) == 1 else tuple(axes))


@translates("Unsqueeze")
def _unsqueeze(op: Operation) -> Code:
    axes = op.whole(1, "axes") or []
    y = op.tensor(0)
    if len(axes) > 1 and min(axes) < 0:
        op.refuse("its axes count from the end")
    for axis in sorted(axes):
        y = method(y, "unsqueeze", axis)
    return y


@translates("Expand")
def _expand(op: Operation) -> Code:
    sizes, shape = op.sizes(1), op.shape(0)
    if sizes is None:
        return call("torch.broadcast_to", op.tensor(0), method(op[1], "tolist"))
    if op.constant(0) is not None and op.given(0).sizes == ():
        device = next((Code(f"{n.partition('.shape[')[0]}.device") for n in sizes if isinstance(n, Code)), None)
        return call("torch.full", tuple(sizes), op.number(0), device=device)
    if shape is None or len(shape) > len(sizes):
        return call("torch.broadcast_to", op.tensor(0), tuple(sizes))
    # A size of 1 keeps what the operand has, which is -1 in PyTorch.
    ahead = len(sizes) - len(shape)
    kept = [-1 if i >= ahead and n in (1, shape[i - ahead]) else n for i, n in enumerate(sizes)]
    return method(op.tensor(0), "expand", *kept) if ahead or set(kept) != {-1} else op[0]


@translates("Tile")
def _tile(op: Operation) -> Code:
    times = op.sizes(1)
    return method(op.tensor(0), "repeat", *([method(op[1], "tolist")] if times is None else times))


@translates("Shape")
def _shape(op: Operation) -> Code | Sequence[Code]:
    shape, part = op.shape(0), slice(op.attribute("start", 0), op.attribute("end"))
    x = op.variable(0) if shape is None or None in shape[part] else op[0]
    if shape is None:
        return call("torch.tensor", Code(f"{x}.shape"))
    sizes = [Code(f"{x}.shape[{i}]") if n is None else n for i, n in enumerate(shape)]
    return op.say_sizes(sizes[part])


@translates("Size")
def _size(op: Operation) -> Code:
    return call("torch.tensor", method(op[0], "numel"))


@translates("ConstantOfShape")
def _constant_of_shape(op: Operation) -> Code:
    value = op.attribute("value", np.zeros(1, np.float32))
    sizes = op.sizes(0)
    return call("torch.full", method(op[0], "tolist") if sizes is None else tuple(sizes), value.reshape(()))


@translates("Range")
def _range(op: Operation) -> Code:
    return call("torch.arange", *(op.number(i) for i in range(3)))


@translates("Pad")
def _pad(op: Operation) -> Code:
    mode = op.attribute("mode", "constant")
    pads = [int(n) for n in op.numbers(1)]
    n = len(pads) // 2
    if op.value(3) is not None:
        axes = [int(axis) for axis in op.numbers(3)]
        rank = op.rank(0)
        if rank is None:
            op.refuse("the number of axes is unknown")
        full = np.zeros((2, rank), int)
        full[:, axes] = np.reshape(pads, (2, -1))
        pads, n = [int(edge) for edge in full.ravel()], rank
    if mode == "constant":
        value = op.number(2) if op.value(2) is not None else literal(0.0)
        return _padded(op[0], pads[:n], pads[n:], value)
    if n > 2 and not any([*pads[:2], *pads[n : n + 2]]):
        return _padded(op[0], pads[2:n], pads[n + 2 :], mode={"edge": "replicate"}.get(mode, mode))
    op.refuse(f"mode {mode} reaches the first axes")


def _padded(x: Code, before: Sequence[int], after: Sequence[int], value: Code | None = None, **named: str) -> Code:
    """Pad the last axes of a value."""
    pairs = list(zip(before, after, strict=True))
    while pairs and pairs[0] == (0, 0):
        del pairs[0]
    edges = tuple(edge for pair in reversed(pairs) for edge in pair)
    return call("F.pad", x, edges, **named, value=_unless(value, "0.0")) if edges else x


@translates("Concat")
def _concat(op: Operation) -> Code | Sequence[Code]:
    parts = [op.sizes(index) for index in range(len(op))]
    if any(value.array is None for value in op.node.inputs if value) and None not in parts:
        return op.say_sizes([n for part in parts for n in part or ()])
    return call("torch.cat", tuple(op.all()), dim=_unless(op.attribute("axis"), 0))


@translates("Split")
def _split(op: Operation) -> Code:
    axis, sizes, count = op.attribute("axis", 0), op.whole(1, "split"), len(op.node.outputs)
    if sizes is None:
        parts = method(op[0], "chunk", count, dim=_unless(axis, 0))
    else:
        parts = method(op[0], "split", sizes[0] if len(set(sizes)) == 1 else sizes, dim=_unless(axis, 0))
    return subscript(parts, "0") if count == 1 else parts


@translates("Slice")
def _slice(op: Operation) -> Code | Sequence[Code]:
    starts, ends = op.constant(1), op.constant(2)
    axes, steps = op.whole(3, "axes"), op.whole(4, "steps")
    if starts is None or ends is None:
        return _computed_slice(op, axes or [], steps or [1])
    sizes = op.sizes(0) if op.constant(0) is None else None
    if sizes is not None and steps is None:
        return op.say_sizes(sizes[int(starts[0]) : int(ends[0])])
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(axes) if steps is None else steps
    y, places = op.tensor(0), {}
    for axis, start, end, step in zip(axes, map(int, starts), map(int, ends), steps, strict=True):
        size = op.size(axis)
        if step > 0:
            last = "" if end >= (_FAR if size is None else size) else str(end)
            places[axis] = f"{start or ''}:{last}" + (f":{step}" if step > 1 else "")
        elif step == -1 and start in (-1, None if size is None else size - 1) and end <= -(size or _FAR) - 1:
            y = method(y, "flip", axis)
        else:
            op.refuse("it steps backwards")
    if len(places) > 1 and min(places) < 0:
        op.refuse("its axes count from the end")
    if len(places) == 1:
        return at_axis(y, *next(iter(places.items())))
    return subscript(y, *(places.get(axis, ":") for axis in range(max(places, default=-1) + 1)))


def _computed_slice(op: Operation, axes: Sequence[int], steps: Sequence[int]) -> Code:
    if len(axes) != 1 or list(steps) != [1]:
        op.refuse("its bounds are computed")
    bounds = []
    for index in (1, 2):
        known = op.sizes(index)
        bound = call("int", op[index]) if known is None else literal(known[0])
        bounds.append(
            "" if known and isinstance(known[0], int) and (known[0] >= _FAR or index + known[0] == 1) else bound
        )
    return at_axis(op.tensor(0), axes[0], ":".join(bounds))


@translates("Gather")
def _gather(op: Operation) -> Code | Sequence[Code]:
    axis, places = op.attribute("axis", 0), op.constant(1)
    sizes = op.sizes(0) if op.constant(0) is None else None
    if sizes is not None and places is not None and places.ndim == 1:
        return op.say_sizes([sizes[int(place)] for place in places])
    if places is not None and places.ndim == 0:
        return at_axis(op.tensor(0), axis, str(int(places)))
    if places is not None and places.ndim == 1:
        step = _regular(places)
        if step is not None:
            return at_axis(op.tensor(0), axis, step)
        if list(places) == list(range(len(places)))[::-1] and op.size(axis) == len(places):
            return method(op.tensor(0), "flip", axis)
    return at_axis(op.tensor(0), axis, op.tensor(1))


def _regular(places: np.ndarray) -> str | None:
    """Return a slice for places that rise by the same step."""
    if len(places) < 2 or places[0] < 0:
        return f"{places[0]}:{places[0] + 1}" if len(places) == 1 and places[0] >= 0 else None
    step = int(places[1] - places[0])
    if step < 1 or np.any(np.diff(places) != step):
        return None
    return f"{places[0] or ''}:{places[-1] + 1}" + (f":{step}" if step > 1 else "")


@translates("GatherElements")
def _gather_elements(op: Operation) -> Code:
    return method(op.tensor(0), "gather", op.attribute("axis", 0), op.tensor(1))


@translates("GatherND")
def _gather_nd(op: Operation) -> Code:
    if op.attribute("batch_dims", 0):
        return op.helper("gather_nd", op.tensor(0), op.tensor(1), batch_dims=op.attribute("batch_dims"))
    return subscript(op.tensor(0), call("tuple", method(op.tensor(1), "movedim", -1, 0)))


@translates("ScatterElements")
def _scatter_elements(op: Operation) -> Code:
    how = op.attribute("reduction", "none")
    axis = op.attribute("axis", 0)
    if how == "none":
        return method(op.tensor(0), "scatter", axis, op.tensor(1), op.tensor(2))
    reduction = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}[how]
    return method(op.tensor(0), "scatter_reduce", axis, op.tensor(1), op.tensor(2), reduction)


@translates("ScatterND")
def _scatter_nd(op: Operation) -> Code:
    how = op.attribute("reduction", "none")
    if how not in ("none", "add"):
        op.refuse(f"its reduction is {how}")
    places = call("tuple", method(op.tensor(1), "movedim", -1, 0))
    accumulate = True if how == "add" else None
    return method(op.tensor(0), "index_put", places, op.tensor(2), accumulate=accumulate)


@translates("OneHot")
def _one_hot(op: Operation) -> Code:
    return op.helper("one_hot", op.tensor(0), call("int", op.number(1)), op.tensor(2), op.attribute("axis", -1))


@translates("NonZero")
def _non_zero(op: Operation) -> Code:
    return method(method(op.tensor(0), "nonzero"), "t")


@translates("Compress")
def _compress(op: Operation) -> Code:
    axis = op.attribute("axis")
    x = op.tensor(0) if axis is not None else method(op.tensor(0), "flatten")
    return at_axis(x, axis or 0, op.tensor(1))


@translates("DepthToSpace")
def _depth_to_space(op: Operation) -> Code:
    size = op.attribute("blocksize")
    if op.attribute("mode", "DCR") == "CRD":
        return call("F.pixel_shuffle", op[0], size)
    return op.helper("depth_to_space", op[0], size)


@translates("SpaceToDepth")
def _space_to_depth(op: Operation) -> Code:
    return op.helper("space_to_depth", op[0], op.attribute("blocksize"))


# Images.


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
        scale_factor=_even(times) if whole else None,
        mode=_unless(mode, "nearest"),
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


@translates("GridSample")
def _grid_sample(op: Operation) -> Code:
    return call(
        "F.grid_sample",
        op[0],
        op[1],
        mode=_unless({"linear": "bilinear", "cubic": "bicubic"}.get(*[op.attribute("mode", "linear")] * 2), "bilinear"),
        padding_mode=_unless(op.attribute("padding_mode", "zeros"), "zeros"),
        align_corners=bool(op.attribute("align_corners", 0)),
    )


@translates("MaxRoiPool")
def _max_roi_pool(op: Operation) -> Code:
    return op.helper("roi_pool", op[0], op[1], tuple(op.attribute("pooled_shape")), op.attribute("spatial_scale", 1.0))


# Sequences.


@translates("LSTM")
def _lstm(op: Operation) -> Code | Sequence[Code]:
    size = op.attribute("hidden_size")
    usual = {"hidden_size", "direction"} >= op.node.attributes.keys() and all(op.value(i) is None for i in range(4, 8))
    if not usual or op.attribute("direction", "forward") != "forward" or op.is_read(1) or op.is_read(2):
        op.refuse("it is not the usual one")
    of_x, of_h, bias = (_of_gates(op.numbers(index)[0], size) for index in (1, 2, 3))
    state = {"weight_ih_l0": of_x, "weight_hh_l0": of_h, "bias_ih_l0": bias[: 4 * size], "bias_hh_l0": bias[4 * size :]}
    values: dict[str, Value | None] = {
        name: Value(f"{op.node.layer}.{name}", array.shape, array) for name, array in state.items()
    }
    module = op.module("LSTM", of_x.shape[1], size, state=values)
    y = subscript(call(str(module), op[0]), "0")
    shape, unused = op.shape(0), [Code("None")] * (len(op.node.outputs) - 1)
    if shape is None:
        return [method(y, "unsqueeze", 1), *unused]
    # Without the axis of the directions, which what follows takes away.
    op.scope.shapes[id(op.node.outputs[0])] = (*shape[:2], size)
    return [y, *unused]


def _of_gates(rows: np.ndarray, size: int) -> np.ndarray:
    """Return rows for ONNX's gates (i, o, f, g), perhaps several such blocks, in PyTorch's order (i, f, g, o)."""
    blocks = rows.reshape(-1, 4, size, *rows.shape[1:])[:, [0, 2, 3, 1]]
    return np.ascontiguousarray(blocks).reshape(rows.shape)


@translates("Scan")
def _scan(op: Operation) -> Sequence[Code]:
    body, sequences = op.attribute("body"), op.attribute("num_scan_inputs")
    scope, count = op.scope, len(op) - sequences
    states = [scope.names.new("state", "x") for _ in range(count)]
    for index, name in enumerate(states):
        scope.say(f"{name} = {op[index]}")
    lists = [scope.names.new("outputs", "x") for _ in body.outputs[count:]]
    for name in lists:
        scope.say(f"{name} = []")
    for value, name in zip(body.inputs[:count], states, strict=True):
        scope.bind(value, Code(name))
    steps = [scope.argument(value, "step") for value in body.inputs[count:]]
    given = [op.tensor(count + index) for index in range(sequences)]
    over = given[0] if sequences == 1 else call("zip", *given)
    with scope.indented(f"for {', '.join(steps)} in {over}:"):
        write(body.nodes, scope)
        for name, value in zip(lists, body.outputs[count:], strict=True):
            scope.say(f"{name}.append({scope.code(value)})")
        scope.say(f"{', '.join(states)} = {', '.join(scope.code(value) for value in body.outputs[:count])}")
    steps_known = op.shape(count)
    if steps_known is not None and steps_known[0] == 0:
        first = op.variable(0)
        return [*map(Code, states), *(method(first, "new_zeros", 0, Code(f"*{first}.shape")) for _ in lists)]
    return [*map(Code, states), *(call("torch.stack", Code(name)) for name in lists)]


# Detections.


@translates("TopK")
def _top_k(op: Operation) -> Sequence[Code] | Code:
    axis, count = op.attribute("axis", -1), op.constant(1)
    descending = None if not op.attribute("largest", 1) else True
    # Equal elements come in their order, which torch.topk does not promise.
    return op.helper(
        "top_k",
        op.tensor(0),
        call("int", op[1]) if count is None else int(count.reshape(())),
        dim=_unless(axis, -1),
        largest=None if descending else False,
    )


@translates("NonMaxSuppression")
def _nms(op: Operation) -> Code:
    numbers = [
        usual if op.value(i) is None else op.number(i) if op.constant(i) is not None else call("float", op[i])
        for i, usual in ((2, None), (3, None), (4, None))
    ]
    return op.helper(
        "non_max_suppression",
        op[0],
        op[1],
        most=None if numbers[0] is None else call("int", numbers[0]) if op.constant(2) is None else numbers[0],
        overlap=numbers[1],
        least_score=numbers[2],
        center_point_box=True if op.attribute("center_point_box") else None,
    )


def write(nodes: Iterable[OnnxNode], scope: Scope) -> None:
    """Write operations into a class; what cannot be written becomes one of its problems."""
    for node in nodes:
        try:
            result = TRANSLATIONS[node.op](Operation(node, scope))
        except CaffeError as error:
            scope.problems.append(error.located(layer=node.layer))
            result = [Code("None")] * len(node.outputs)
        scope.write(node, [result] if isinstance(result, Code) else result)
