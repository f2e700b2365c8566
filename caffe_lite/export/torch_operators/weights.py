"""Products with weights: convolutions and inner products."""

from __future__ import annotations

from ..torch_code import Code, call, infix, method
from ..torch_scope import Operation
from .table import even, known, padded, translates, unless


@translates("Conv")
def _conv(op: Operation) -> Code:
    weight = op.given(1)
    outputs, inputs, *kernel = known(op, 1)
    n, group = len(kernel), op.attribute("group", 1)
    pads = op.attribute("pads", [0] * 2 * n)
    settings = {
        "stride": unless(even(op.attribute("strides", [1] * n)), 1),
        "padding": unless(even(pads[:n]), 0),
        "dilation": unless(even(op.attribute("dilations", [1] * n)), 1),
        "groups": unless(group, 1),
    }
    x = op[0]
    if pads[:n] != pads[n:]:
        settings["padding"], x = None, padded(x, pads[:n], pads[n:])
    module = None
    if weight.blob is not None:
        module = op.module(
            f"Conv{n}d",
            inputs * group,
            outputs,
            kernel_size=even(kernel),
            **settings,
            bias=None if op.value(2) else False,
            state={"weight": weight, "bias": op.value(2)},
        )
    return call(module, x) if module else call(f"F.conv{n}d", x, op[1], op.optional(2), **settings)


@translates("ConvTranspose")
def _conv_transpose(op: Operation) -> Code:
    weight = op.given(1)
    inputs, outputs, *kernel = known(op, 1)
    n, group = len(kernel), op.attribute("group", 1)
    pads = op.attribute("pads", [0] * 2 * n)
    if pads[:n] != pads[n:] or op.attribute("output_shape"):
        op.refuse("its padding is uneven")
    settings = {
        "stride": unless(even(op.attribute("strides", [1] * n)), 1),
        "padding": unless(even(pads[:n]), 0),
        "output_padding": unless(even(op.attribute("output_padding", [0] * n)), 0),
        "dilation": unless(even(op.attribute("dilations", [1] * n)), 1),
        "groups": unless(group, 1),
    }
    module = None
    if weight.blob is not None:
        module = op.module(
            f"ConvTranspose{n}d",
            inputs,
            outputs * group,
            kernel_size=even(kernel),
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
            outputs, inputs = known(op, 1)
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
