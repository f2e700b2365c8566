"""Bring a solver of an older format to today's: `solver_type`, and the nets written inside it."""

from __future__ import annotations

import argparse

from .arguments import Parser


def add_arguments(parser: Parser) -> None:
    parser.add_argument("input", metavar="IN", help="a solver in any format")
    parser.add_argument("output", metavar="OUT", help="where to write it; it may be IN")


def run(arguments: argparse.Namespace) -> int:
    from ..logs.log import logger, start_logging
    from ..proto.prototxt import read_solver_as_written, write_text
    from ..proto.upgrade import is_old_solver, upgrade_solver

    start_logging()
    parsed = read_solver_as_written(arguments.input)
    if not is_old_solver(parsed):
        logger.error("File already in latest proto format: %s", arguments.input)
    complete = upgrade_solver(parsed)
    if not complete:
        logger.error("Encountered error(s) while upgrading prototxt; see details above.")
    write_text(arguments.output, parsed.message)
    logger.info("Wrote upgraded SolverParameter text proto to %s", arguments.output)
    return 0 if complete else 1
