"""The best of many, and the suppression of boxes that overlap."""

from __future__ import annotations

from collections.abc import Sequence

from ..torch_code import Code, call
from ..torch_scope import Operation
from .table import translates, unless


@translates("TopK")
def _top_k(op: Operation) -> Sequence[Code] | Code:
    axis, count = op.attribute("axis", -1), op.constant(1)
    descending = None if not op.attribute("largest", 1) else True
    # Equal elements come in their order, which torch.topk does not promise.
    return op.helper(
        "top_k",
        op.tensor(0),
        call("int", op[1]) if count is None else int(count.reshape(())),
        dim=unless(axis, -1),
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
