"""Solver settings on the command line: ``--max-iter 500``, ``--set stepvalue=1000,2000``."""

from __future__ import annotations

from ..errors import PrototxtError, SolverError, Where
from ..proto.caffe_pb2 import SolverParameter
from ..proto.parsed import Parsed
from ..proto.parser import parse_text
from ..proto.prototxt import to_text
from ..proto.schema import fields_of
from ..text.foreign_bytes import from_bytes, to_bytes


def apply_setting(solver: Parsed[SolverParameter], name: str, value: str, option: str) -> None:
    """Set one field as prototxt would, but strings need no quotes, and a repeated field takes values between commas.

    ``option`` is the user's text, for the message if there is no such field or the value does not suit it.
    """
    field = fields_of(SolverParameter.DESCRIPTOR).get(name)
    values = [value]
    if field is not None and field.repeated and not value.startswith(("{", "[")):
        values = value.split(",")
    if field is not None and field.kind == "string":
        values = [to_text(SolverParameter(net=from_bytes(to_bytes(item)))).removeprefix("net: ") for item in values]
    try:
        given = parse_text("\n".join(f"{name}: {item}" for item in values), SolverParameter).message
    except PrototxtError as error:
        raise SolverError(error.what, where=Where(option), hint=error.hint) from None
    if field is not None and field.repeated:
        solver.message.ClearField(name)
    solver.message.MergeFrom(given)
    solver.elsewhere[name] = Where(option)
