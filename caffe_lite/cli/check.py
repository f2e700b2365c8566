"""Find all that is wrong with nets, solvers and other prototxt files, without their data and weights."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from .arguments import Parser

if TYPE_CHECKING:
    from ..errors import CaffeError
    from ..inspection.check import Checked


def add_arguments(parser: Parser) -> None:
    parser.add_argument("files", metavar="FILE", nargs="+", help="a prototxt; of a solver, its nets are checked too")
    parser.add_argument("--json", action="store_true", help="tell it as JSON, a list with an object for each file")


def run(arguments: argparse.Namespace) -> int:
    from ..inspection.check import check

    files = dict.fromkeys(arguments.files)
    found: list[Checked] = []
    while len(found) < len(files):
        found.append(check(list(files)[len(found)]))
        files |= dict.fromkeys(found[-1].nets)
        if not arguments.json:
            _print(found[-1])
    if arguments.json:
        print(json.dumps([_as_json(checked) for checked in found], indent=2))
    return 0 if all(checked.status == "ok" for checked in found) else 1


def _print(checked: Checked) -> None:
    for problem in checked.problems:
        print(problem)
    for note in checked.notes:
        print(f"{note.place}: note: {note.message}")
    if checked.status == "ok":
        print(f"{checked.file}: ok")


def _as_json(checked: Checked) -> dict[str, object]:
    return {
        "file": checked.file,
        "kind": checked.kind,
        "status": checked.status,
        "problems": [_place_and_message(problem) for problem in checked.problems],
        "notes": [_place_and_message(note) for note in checked.notes],
    }


def _place_and_message(error: CaffeError) -> dict[str, object]:
    line, column = (error.where.line, error.where.column) if error.where else (0, 0)
    return {"line": line or None, "column": column or None, "layer": error.layer, "message": error.message}
