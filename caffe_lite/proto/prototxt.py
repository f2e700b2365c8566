"""Nets and solvers in files: reading them with the place of every field, writing them in the original's form."""

from __future__ import annotations

import codecs
import math
import os
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from ..errors import PrototxtError, Where
from ..files.atomic import atomic_write
from ..files.paths import StrPath, read_file, system_path
from ..text.foreign_bytes import to_bytes
from ..text.spelling import nearest
from . import caffe_pb2
from .parsed import Parsed
from .parser import parse_text
from .schema import fields_of
from .source import Source
from .tokens import MARK, NAME, STRING, Token, tokenize
from .upgrade import default_snapshot_prefix, upgrade_net, upgrade_solver

M = TypeVar("M", bound=Message)


def read_net(path: StrPath) -> Parsed[caffe_pb2.NetParameter]:
    """Read a net and upgrade it to today's format, as the original does: inputs become a layer, and so on."""
    parsed = read_net_as_written(path)
    upgrade_net(parsed)
    return parsed


def read_net_as_written(path: StrPath) -> Parsed[caffe_pb2.NetParameter]:
    """Read a net without upgrading it."""
    return _read(path, caffe_pb2.NetParameter, caffe_pb2.SolverParameter)


def net_from_bytes(data: bytes, name: str) -> Parsed[caffe_pb2.NetParameter]:
    """Read a net, without upgrading it, from the content of a file; ``name`` stands for its path in messages."""
    source = Source(_text(data, Where(name)), name)
    return _parsed(source, caffe_pb2.NetParameter, caffe_pb2.SolverParameter)


def read_solver(path: StrPath) -> Parsed[caffe_pb2.SolverParameter]:
    """Read a solver with the nets inside it, and upgrade both to today's format."""
    parsed = read_solver_as_written(path)
    upgrade_solver(parsed)
    default_snapshot_prefix(parsed)
    return parsed


def read_solver_as_written(path: StrPath) -> Parsed[caffe_pb2.SolverParameter]:
    """Read a solver without upgrading it."""
    return _read(path, caffe_pb2.SolverParameter, caffe_pb2.NetParameter)


def read_text(path: StrPath) -> str:
    """Read a text file; raise a PrototxtError if it is not text or does not exist.

    Bytes that are not UTF-8 are kept as surrogates.
    """
    where = Where(os.fspath(path) or "''")
    path = system_path(path, PrototxtError)
    try:
        return _text(read_file(path), where)
    except FileNotFoundError:
        raise PrototxtError("there is no such file", where=where, hint=_similar_file(Path(path))) from None
    except (IsADirectoryError, PermissionError) as error:
        what = "this is a folder, not a file" if Path(path).is_dir() else f"cannot read it: {error.strerror}"
        raise PrototxtError(what, where=where) from None
    except OSError as error:
        raise PrototxtError(f"cannot read it: {error.strerror}", where=where) from None


def _text(data: bytes, where: Where) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    if not is_text(data):
        kind = "an HDF5 file" if data.startswith(b"\x89HDF") else "a binary file"
        raise PrototxtError(f"this is {kind}, not prototxt", where=where,
                            hint="Weights (.caffemodel) are given beside the net, not in its place")  # fmt: skip
    text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
    if not re.search(r"^[ \t\r\f\v]*[^\s#]", text, re.MULTILINE):
        raise PrototxtError("the file is empty" if not text.strip() else "there are only comments here", where=where)
    return text


def is_text(data: bytes) -> bool:
    """Return whether this may be the content of a text file in UTF-8 or a similar encoding."""
    return b"\0" not in data and all(byte > 8 for byte in data[:4096])


def _similar_file(path: Path) -> str:
    if not path.parent.is_dir():
        return f"There is no folder {path.parent} either"
    close = nearest(path.name, os.listdir(path.parent))
    return f"Did you mean {path.with_name(close)}?" if close else f"Paths start from {os.getcwd()}"


# Jinja's marks, and the numbers of classes in the templates of chuanqi305/MobileNet-SSD.
_TEMPLATE = re.compile(r"\{\{[^{}\n]*\}\}|\{%[^{}\n]*%\}|(?<=: )cls\d+x\b")


def template_problem(source: Source) -> PrototxtError | None:
    """Return an error if the text is a template, from which another program makes a prototxt."""
    match = _TEMPLATE.search(source.text)
    return match and PrototxtError(
        f"this is a template: another program fills in {match.group()}", where=source.where(match.start()),
        hint="Make the prototxt from it first",
    )  # fmt: skip


def _read(path: StrPath, wanted: type[M], other: type[Message]) -> Parsed[M]:
    return _parsed(Source(read_text(path), os.fspath(path)), wanted, other)


def _parsed(source: Source, wanted: type[M], other: type[Message]) -> Parsed[M]:
    parsed = parse_text(source.text, wanted, source.file, collect=True)
    if parsed.problems:
        if template := template_problem(source):
            raise template
        _refuse_other_kind(source, wanted, other)
        raise parsed.problems[0]
    return parsed


def top_fields(text: str) -> Iterator[tuple[Token, Token]]:
    """Yield the names of the fields outside any block, and the tokens where their values begin."""
    tokens, depth = tokenize(text), 0
    for token, after, value in zip(tokens, tokens[1:], [*tokens[2:], tokens[-1]], strict=False):
        if token.kind is MARK:
            depth += (token.text in "{<") - (token.text in "}>")
        if token.kind is NAME and not depth and after.text in (":", "{"):
            yield token, value


def _refuse_other_kind(source: Source, wanted: type[Message], other: type[Message]) -> None:
    """Raise if the text is a solver and a net is wanted, or if it is a net and a solver is wanted."""
    mine, others = fields_of(wanted.DESCRIPTOR), fields_of(other.DESCRIPTOR)
    foreign, net = [], ""
    for token, value in top_fields(source.text):
        if token.text in mine and token.text not in others:
            return
        if token.text in others and token.text not in mine:
            foreign.append(token)
        if token.text in ("net", "train_net") and value.kind is STRING:
            net = value.text[1:-1]
    if not foreign:
        return
    sign = min(foreign, key=lambda token: token.text not in ("layer", "layers", "base_lr"))
    if wanted is caffe_pb2.NetParameter:
        what, hint = "a solver, not a net", f"Train with it: caffe-lite train --solver={source.file}"
        hint += f"; or give its net: {net}" if net else ""
    else:
        what, hint = "a net, not a solver", 'A solver names its net: net: "..." and has base_lr, lr_policy, max_iter'
    raise PrototxtError(f"this is {what}: it has {sign.text}", where=source.where(sign.offset), hint=hint)


def write_text(path: StrPath, message: Message) -> None:
    """Write a message as text."""
    with atomic_write(path) as part:
        part.write_bytes(to_text(message).encode())


def to_text(message: Message) -> str:
    """Return a message as text, exactly as in the original: whole floats without a point, no UTF-8 in strings."""
    return "".join(_lines(message, ""))


def _lines(message: Message, indent: str) -> Iterator[str]:
    for field, value in message.ListFields():
        for item in value if fields_of(message.DESCRIPTOR)[field.name].repeated else (value,):
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                yield f"{indent}{field.name} {{\n"
                yield from _lines(item, indent + "  ")
                yield f"{indent}}}\n"
            else:
                yield f"{indent}{field.name}: {_scalar(field, item)}\n"


def _scalar(field: Any, value: Any) -> str:
    if field.type == FieldDescriptor.TYPE_ENUM:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else str(value)
    if field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
        return _quote(to_bytes(value) if isinstance(value, str) else value)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return "true" if value else "false"
    if field.type == FieldDescriptor.TYPE_FLOAT:
        return _float(value, (6, 8, 9), lambda text: struct.pack("f", float(text)) == struct.pack("f", value))
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return _float(value, (15, 17), lambda text: float(text) == value)
    return str(value)


def _float(value: float, digits: tuple[int, ...], exact: Callable[[str], bool]) -> str:
    """Write a number in C's %g, with the first precision that reads back as the same number."""
    if not math.isfinite(value):
        return str(value)
    return next((text for count in digits if exact(text := f"{value:.{count}g}")), f"{value:.{digits[-1]}g}")


_ESCAPES = {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t", ord('"'): '\\"', ord("'"): "\\'", ord("\\"): "\\\\"}


def _quote(value: bytes) -> str:
    escaped = (_ESCAPES.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}") for byte in value)
    return f'"{"".join(escaped)}"'
