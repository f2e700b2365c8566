"""Bring a net of an older format to today's: a prototxt, or a .caffemodel, whose weights are kept."""

from __future__ import annotations

import argparse
from contextlib import suppress

from .arguments import Parser


def add_arguments(parser: Parser) -> None:
    parser.add_argument("input", metavar="IN", help="a net in any format since V0, as text or binary")
    parser.add_argument("output", metavar="OUT", help="where to write it, in the same form; it may be IN")


def run(arguments: argparse.Namespace) -> int:
    from ..files.paths import read_file, system_path
    from ..logs.log import logger, start_logging
    from ..net.weights import read_caffemodel, write_message
    from ..proto.parsed import Parsed
    from ..proto.prototxt import is_text, read_net_as_written, write_text
    from ..proto.source import Source
    from ..proto.upgrade import is_old_net, upgrade_net

    start_logging()
    binary = False
    with suppress(OSError):  # read_net_as_written reports it
        binary = not is_text(read_file(system_path(arguments.input)))
    if binary:
        parsed = Parsed(read_caffemodel(arguments.input), Source("", arguments.input))
    else:
        parsed = read_net_as_written(arguments.input)
    if not is_old_net(parsed.message):
        logger.error("File already in latest proto format: %s", arguments.input)
    complete = upgrade_net(parsed)
    if not complete:
        logger.error("Encountered error(s) while upgrading prototxt; see details above.")
    (write_message if binary else write_text)(arguments.output, parsed.message)
    logger.info("Wrote upgraded NetParameter %s proto to %s", "binary" if binary else "text", arguments.output)
    return 0 if complete else 1
