"""Compute the mean image of a database, for mean_file in transform_param, and the mean of each channel."""

from __future__ import annotations

import argparse
from collections.abc import Sized
from functools import partial

from .arguments import Parser, add_backend


def add_arguments(parser: Parser) -> None:
    parser.add_argument("database", metavar="INPUT_DB", help="a database of images of one size")
    parser.add_argument("out", metavar="OUTPUT_FILE", nargs="?", help="the .binaryproto to write; default: none")
    add_backend(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..data.databases.opening import open_database
    from ..data.databases.writing import refuse_existing
    from ..data.mean import mean_image, write_mean
    from ..logs.log import logger, start_logging
    from ..proto.caffe_pb2 import DataParameter
    from .progress import Progress

    log = start_logging()
    if arguments.out:
        refuse_existing(arguments.out)
    database = open_database(arguments.database, DataParameter.DB.Value(arguments.backend.upper()))
    try:
        total = len(database) if isinstance(database, Sized) else None  # a LevelDB does not know its length
        mean = mean_image(database, partial(Progress(log, "image"), total=total))
    finally:
        database.close()
    if arguments.out:
        logger.info("Write to %s", arguments.out)
        write_mean(mean, arguments.out)
    logger.info("Number of channels: %d", len(mean))
    for channel, values in enumerate(mean):
        logger.info("mean_value channel [%d]: %g", channel, values.mean(dtype=float))
    return 0
