"""A page for each layer type, made from its docstring, the schema, and the attributes of its class."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import Any

from docstrings import as_markdown, cleaned, docstrings, form_errors, parts

from caffe_lite.layer import Kind, Layer, layer_class, layer_type_list
from caffe_lite.proto import caffe_pb2
from caffe_lite.proto.forks import is_of_forks
from caffe_lite.proto.schema import fields_of, replacement

_LAYER: Any = caffe_pb2.LayerParameter.DESCRIPTOR
_ACCEPTED = {"engine", "force_nd_im2col"}  # they have no effect in any layer that has them


_HEADINGS = {
    Kind.DATA: "Data",
    Kind.CONVOLUTION: "Filters over images",
    Kind.PRODUCT: "Products and sequences",
    Kind.POOLING: "Pooling",
    Kind.NEURON: "Neurons",
    Kind.NORMALISATION: "Normalisation",
    Kind.ARRANGEMENT: "Blobs cut, joined and rearranged",
    Kind.DETECTION: "Detection",
    Kind.LOSS: "Losses and results",
    Kind.OTHER: "Your own",
}


def groups() -> dict[str, list[type[Layer]]]:
    """Map each heading to the classes of our layers of that kind, sorted by type."""
    found = (layer_class(name) for name in layer_type_list())
    ours = [cls for cls in found if cls and cls.__module__.startswith("caffe_lite.")]
    return {_HEADINGS[kind]: [cls for cls in ours if cls.kind is kind] for kind in Kind}


def page_names() -> dict[str, str]:
    """Map each type to the name of its page.

    Types whose names differ only in case share the page of the first: some file systems do not tell them apart.
    """
    first: dict[str, str] = {}
    types = [cls.type for classes in groups().values() for cls in classes]
    return {name: first.setdefault(name.lower(), name) for name in types}


def pages() -> dict[str, str]:
    """Map paths to the Markdown of every layer's page and of the index; raise ValueError if a class says too little."""
    errors: list[str] = []
    names = page_names()
    sections: dict[str, dict[str, str]] = {}  # of each page, by class
    read: dict[str, None] = {}  # the parameters that pages show
    others = {name: text for module, name, text in docstrings()}
    index = [_INDEX]
    for heading, classes in groups().items():
        index += [f"## {heading}", "", "| type | |", "| --- | --- |"]
        for cls in classes:
            name, text = cls.type, cleaned(cls)
            if not cls.formula:
                errors.append(f"{name}: its class has no formula")
            for referred in re.findall(r"\bsee ([A-Z]\w+)", text):
                if referred not in others:
                    errors.append(f"{name}: it refers to {referred}, which has no docstring")
            used = _parameters(text)
            read |= dict.fromkeys(used)
            own = _own(name)
            errors += form_errors(name, _with_referred(text, others), _fields_to_tell(own, text) if own else {})
            above = sections.setdefault(names[name], {})
            above[cls.__name__] = _page(cls, text, used, {k: other for k, other in others.items() if k not in above})
            index.append(f"| [{name}]({names[name]}.md) | {as_markdown(_headline(cls))} |")
        index.append("")
    if errors:
        raise ValueError("what layers say of themselves:\n" + "\n".join(errors))
    made = {
        f"layers/{page}.md": _joined([name for name in names if names[name] == page], list(texts.values()))
        for page, texts in sections.items()
    }
    made["layers/index.md"] = "\n".join([*index, _shared_tables(read)])
    return made


_INDEX = """\
# Layers

Every type of Caffe 1.0, and those of its forks that published nets use. N is the size of the batch, C the number of
channels or classes, H and W are height and width; (N, ...) is a blob of any number of axes. A page shows the layer's
formula, its docstring, and its parameters from the schema.
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
    """Return the fields that a docstring must name: all except those that today's files no longer use."""
    if re.search(rf"``{param}``,? as \w+ does", text) or f"``{param}``" not in text:
        return {}
    message = fields_of(_LAYER)[param].message
    assert message is not None
    return {
        field.name: _default(field) or None
        for field in message.fields
        if not replacement(_LAYER, [param, field.name])
        and field.name not in _ACCEPTED
        and not is_of_forks(message, field.name)
    }


def _default(field: Any) -> str:
    if not field.has_default_value:
        return ""
    if field.enum_type:
        return str(field.enum_type.values_by_number[field.default_value].name)
    if isinstance(field.default_value, bool):
        return str(field.default_value).lower()
    return f"{field.default_value:.7g}" if isinstance(field.default_value, float) else str(field.default_value)


def _table(param: str, heading: str, text: str) -> list[str]:
    message = fields_of(_LAYER)[param].message
    assert message is not None
    rows = _rows(message, lambda name: replacement(_LAYER, [param, name]), text)
    return [heading, "", "| field | takes | default |", "| --- | --- | --- |", *rows, ""]


def _rows(message: Any, replaced: Any, text: str = "") -> list[str]:
    """Return the rows of a message's fields; those that forks add, only if the text names them."""
    rows = []
    for field in message.fields:
        if is_of_forks(message, field.name) and not re.search(rf"\b{field.name}\b", text):
            continue
        known = fields_of(message)[field.name]
        takes = known.takes + (", any number of times" if known.repeated else "")
        if known.message is not None:
            takes = f"a block of [{known.message.name}](index.md#{known.message.name.lower()})"
        if old := replaced(field.name):
            takes += f"; of older files, today {old}"
        default = _default(field)
        rows.append(f"| `{field.name}` | {takes} | {f'`{default}`' if default else ''} |")
    return rows


def _joined(types: list[str], texts: list[str]) -> str:
    """Return one page for several types, or the page of one as it is."""
    if len(types) == 1:
        return texts[0]
    return "\n".join([f"# {', '.join(types)}", "", *(re.sub("^#", "##", text, flags=re.MULTILINE) for text in texts)])


def _page(cls: type[Layer], text: str, used: list[str], others: dict[str, str]) -> str:
    lines = [f"# {cls.type}", "", as_markdown(_headline(cls)), "", "```math", cls.formula, "```", ""]
    lines += [f"{_emphasised(part)}\n" for part in parts(text)]
    for referred in dict.fromkeys(re.findall(r"\bsee ([A-Z]\w+)", text)):
        if referred in others:
            lines += [f"## {referred}", "", *(f"{_emphasised(part)}\n" for part in parts(others[referred]))]
    if used:
        lines += ["## Parameters", ""]
    for param in used:
        lines += _table(param, f"### {param}", text)
    return "\n".join(lines)


def _emphasised(part: str) -> str:
    opening = re.match(r"[A-Z][a-z]+s?(?: and [a-z]+)?(?=:)|Reads", part)
    if not opening:
        return as_markdown(part)
    rest = part[opening.end() :]
    return f"**{opening[0]}**{' ' if rest.startswith(' ') else ''}{as_markdown(rest)}"


def _shared_tables(params: Iterable[str]) -> str:
    """Return the tables of the fields that every layer may have, and of the messages in them and in ``params``."""
    lines = ["## Fields of every layer", "", "| field | takes | default |", "| --- | --- | --- |"]
    rows = _rows(_LAYER, lambda name: None)
    lines += [row for row in rows if "_param`" not in row.partition("|")[2].partition("|")[0]]
    lines += ["", "## The blocks inside", ""]
    for block in _blocks(params):
        lines += [f"### {block.name}", "", "| field | takes | default |", "| --- | --- | --- |"]
        lines += [*_rows(block, lambda name: None), ""]
    return "\n".join(lines)


def _blocks(params: Iterable[str]) -> list[Any]:
    """Return the messages inside every layer's fields and inside these parameters, at any depth."""
    shared = (caffe_pb2.ParamSpec, caffe_pb2.NetStateRule, caffe_pb2.FillerParameter, caffe_pb2.BlobShape)
    found = [message.DESCRIPTOR for message in (*shared, caffe_pb2.BlobProto)]
    seen = [fields_of(_LAYER)[param].message for param in params]
    while seen:
        inside = [field.message for field in fields_of(seen.pop()).values() if field.message]
        seen += [message for message in inside if message not in found]
        found += [message for message in dict.fromkeys(inside) if message not in found]
    return found
