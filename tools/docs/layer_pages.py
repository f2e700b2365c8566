"""A page for each layer type, made from its docstring, the schema, and its formula in layers.yml."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml
from docstrings import as_markdown, cleaned, docstrings, form_errors, parts

from caffe_lite.layer import Layer, _registry, layer_type_list
from caffe_lite.proto import caffe_pb2
from caffe_lite.proto.schema import fields_of, replacement

_LAYER: Any = caffe_pb2.LayerParameter.DESCRIPTOR
_ACCEPTED = {"engine", "force_nd_im2col"}  # for every layer that has them, they choose nothing


def groups() -> dict[str, dict[str, str]]:
    """Group → layer type → formula; ValueError unless every type of ours stands there once."""
    table: dict[str, dict[str, str]] = yaml.safe_load(Path(__file__).with_name("layers.yml").read_text("utf-8"))
    listed = [name for group in table.values() for name in group]
    types = [name for name in layer_type_list() if _registry[name].__module__.startswith("caffe_lite.")]
    if sorted(listed) != types:
        raise ValueError(f"layers.yml and the layers differ in {sorted(set(listed) ^ set(types)) or 'repetitions'}")
    return table


def pages() -> dict[str, str]:
    """Path under docs → Markdown, of every layer's page and of their index; ValueError if a docstring has no form."""
    errors: list[str] = []
    made = {}
    others = {name: text for module, name, text in docstrings()}
    index = [_INDEX]
    for group, formulas in groups().items():
        index += [f"## {group}", "", "| type | |", "| --- | --- |"]
        for name, formula in formulas.items():
            cls = _registry[name]
            text = cleaned(cls)
            for referred in re.findall(r"\bsee ([A-Z]\w+)", text):
                if referred not in others:
                    errors.append(f"{name}: it refers to {referred}, which has no docstring")
            used = _parameters(text)
            own = _own(name)
            errors += form_errors(name, _with_referred(text, others), _fields_to_tell(own, text) if own else {})
            made[f"layers/{name}.md"] = _page(name, cls, formula, text, used, others)
            index.append(f"| [{name}]({name}.md) | {as_markdown(_headline(cls))} |")
        index.append("")
    if errors:
        raise ValueError("docstrings of layers:\n" + "\n".join(errors))
    made["layers/index.md"] = "\n".join([*index, _shared_tables()])
    return made


_INDEX = """\
# Layers

Every type of Caffe 1.0. N is the size of the batch, C the number of channels or classes, H and W are height and width;
(N, ...) is a blob of any number of axes. A page shows the layer's formula, what it says of itself, and its parameters
as the schema has them.
"""


def _headline(cls: type[Layer]) -> str:
    text = (sys.modules[cls.__module__].__doc__ or "").strip().partition("\n\n")[0]
    headline = " ".join((text.partition(": ")[2] or text).split())
    return headline[0].upper() + headline[1:]


def _own(name: str) -> str | None:
    wanted = name.lower().replace("deconvolution", "convolution")
    wanted = {"softmaxwithloss": "softmax", "rnn": "recurrent", "lstm": "recurrent"}.get(wanted, wanted)
    names = {field.removesuffix("_param").replace("_", ""): field for field in fields_of(_LAYER)}
    return names.get(wanted)


def _parameters(text: str) -> list[str]:
    known = [name for name in fields_of(_LAYER) if name.endswith("_param")]
    return [name for name in dict.fromkeys(re.findall(r"``(\w+_param)``", text)) if name in known]


def _with_referred(text: str, others: dict[str, str]) -> str:
    return "\n".join([text, *(others.get(name, "") for name in re.findall(r"\bsee ([A-Z]\w+)", text))])


def _fields_to_tell(param: str, text: str) -> dict[str, str | None]:
    """The fields that a docstring must name: all but those that today's files no longer use."""
    if re.search(rf"``{param}``,? as \w+ does", text) or f"``{param}``" not in text:
        return {}
    message = fields_of(_LAYER)[param].message
    assert message is not None
    return {
        field.name: _default(field) or None
        for field in message.fields
        if not replacement(_LAYER, [param, field.name]) and field.name not in _ACCEPTED
    }


def _default(field: Any) -> str:
    if not field.has_default_value:
        return ""
    if field.enum_type:
        return str(field.enum_type.values_by_number[field.default_value].name)
    if isinstance(field.default_value, bool):
        return str(field.default_value).lower()
    return f"{field.default_value:.7g}" if isinstance(field.default_value, float) else str(field.default_value)


def _table(param: str, heading: str) -> list[str]:
    message = fields_of(_LAYER)[param].message
    assert message is not None
    rows = _rows(message, lambda name: replacement(_LAYER, [param, name]))
    return [heading, "", "| field | takes | default |", "| --- | --- | --- |", *rows, ""]


def _rows(message: Any, replaced: Any) -> list[str]:
    rows = []
    for field in message.fields:
        known = fields_of(message)[field.name]
        takes = known.takes + (", any number of times" if known.repeated else "")
        if known.message is not None:
            takes = f"a block of [{known.message.name}](index.md#{known.message.name.lower()})"
        if old := replaced(field.name):
            takes += f"; of older files, today {old}"
        default = _default(field)
        rows.append(f"| `{field.name}` | {takes} | {f'`{default}`' if default else ''} |")
    return rows


def _page(name: str, cls: type[Layer], formula: str, text: str, used: list[str], others: dict[str, str]) -> str:
    lines = [f"# {name}", "", as_markdown(_headline(cls)), "", "```math", formula, "```", ""]
    lines += [f"{_emphasised(part)}\n" for part in parts(text)]
    for referred in dict.fromkeys(re.findall(r"\bsee ([A-Z]\w+)", text)):
        lines += [f"## {referred}", "", *(f"{_emphasised(part)}\n" for part in parts(others.get(referred, "")))]
    if used:
        lines += ["## Parameters", ""]
    for param in used:
        lines += _table(param, f"### {param}")
    return "\n".join(lines)


def _emphasised(part: str) -> str:
    opening = re.match(r"[A-Z][a-z]+s?(?: and [a-z]+)?(?=:)|Reads", part)
    return f"**{opening[0]}**{as_markdown(part[opening.end() :])}" if opening else as_markdown(part)


def _shared_tables() -> str:
    """The messages that fields of layers hold, and what every layer may have."""
    lines = ["## What every layer may have", "", "| field | takes | default |", "| --- | --- | --- |"]
    rows = _rows(_LAYER, lambda name: None)
    lines += [row for row in rows if "_param`" not in row.partition("|")[2].partition("|")[0]]
    lines += ["", "## The blocks inside", ""]
    for message in (
        caffe_pb2.ParamSpec,
        caffe_pb2.NetStateRule,
        caffe_pb2.FillerParameter,
        caffe_pb2.BlobShape,
        caffe_pb2.BlobProto,
    ):
        descriptor = message.DESCRIPTOR
        lines += [f"### {descriptor.name}", "", "| field | takes | default |", "| --- | --- | --- |"]
        lines += [*_rows(descriptor, lambda name: None), ""]
    return "\n".join(lines)
