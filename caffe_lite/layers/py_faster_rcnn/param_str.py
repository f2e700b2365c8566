"""Reads the settings in a param_str: a flat mapping in YAML, without a library for YAML."""

from __future__ import annotations

import re
from ast import literal_eval
from typing import Any

from ...errors import LayerError

_EXAMPLE = "write it as in param_str: \"'feat_stride': 16\""


def settings(text: str, *needed: str) -> dict[str, Any]:
    """Return the settings in ``'feat_stride': 16``, also of several lines, or in braces, with commas in between.

    Values are numbers, lists of numbers, which may have a tag (``!!python/tuple [8, 16]``), or words. Raise an error
    if one that is needed is missing.
    """
    inner = re.sub(r"^\{(.*)\}$", r"\1", text.strip(), flags=re.DOTALL)
    found = {}
    for part in re.split(r"[,\n](?![^\[(]*[\])])", inner):
        if not part.strip():
            continue
        name, colon, value = part.partition(":")
        if not colon:
            raise LayerError(f"param_str has {part.strip()!r}, which is no setting", hint=_EXAMPLE)
        found[name.strip().strip("'\"")] = _value(re.sub(r"^!!\S+\s*", "", value.strip()))
    for name in needed:
        if name not in found:
            raise LayerError(f"{name} is not in param_str {text!r}", hint=_EXAMPLE)
    return found


def _value(text: str) -> Any:
    try:
        return literal_eval(text)
    except (SyntaxError, ValueError):
        return {"true": True, "false": False}.get(text.lower(), text)
