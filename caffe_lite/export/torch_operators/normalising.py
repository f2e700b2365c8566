"""Normalisations."""

from __future__ import annotations

import numpy as np

from ...onnx_graph import Value
from ..torch_code import Code, call, method
from ..torch_scope import Operation
from .table import known, translates, unless


@translates("BatchNormalization")
def _batch_norm(op: Operation) -> Code:
    scale, shift, mean, variance = (op.given(i) for i in range(1, 5))
    (channels,), epsilon = known(op, 1), op.attribute("epsilon", 1e-5)
    plain = all(
        value.blob is None and value.array is not None and np.all(value.array == usual)
        for value, usual in ((scale, 1), (shift, 0))
    )
    kind = {2: "BatchNorm1d", 3: "BatchNorm1d", 4: "BatchNorm2d", 5: "BatchNorm3d"}.get(op.rank(0) or 0)
    settings = {"eps": unless(np.float32(epsilon), np.float32(1e-5)), "affine": False if plain else None}
    learned: dict[str, Value | None] = {} if plain else {"weight": scale, "bias": shift}
    state = {**learned, "running_mean": mean, "running_var": variance}
    module = op.module(kind, channels, **settings, state=state) if kind else None
    if module is not None:
        op.scope.count_batches(module)
        return call(module, op[0])
    affine = {} if plain else {"weight": op[1], "bias": op[2]}
    return call("F.batch_norm", op[0], op[3], op[4], **affine, eps=unless(np.float32(epsilon), np.float32(1e-5)))


@translates("InstanceNormalization")
def _instance_norm(op: Operation) -> Code:
    return call("F.instance_norm", op[0], weight=op[1], bias=op[2], eps=op.attribute("epsilon", 1e-5))


@translates("LayerNormalization")
def _layer_norm(op: Operation) -> Code:
    return call("F.layer_norm", op[0], known(op, 1), op[1], op.optional(2), eps=op.attribute("epsilon", 1e-5))


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
    return call("F.normalize", op[0], p=unless(op.attribute("p", 2), 2), dim=op.attribute("axis", -1), eps=0.0)
