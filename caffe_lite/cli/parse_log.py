"""Write what the log of a training run tells as two CSV files: LOG.train and LOG.test."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import Parser, add_switch

if TYPE_CHECKING:
    from ..logs.training_log import Row


def add_arguments(parser: Parser) -> None:
    parser.add_argument("log", metavar="LOG", help="what caffe-lite train, or Caffe, wrote to standard error")
    parser.add_argument("outdir", metavar="OUTDIR", nargs="?", default=".", help="the files' folder; default here")
    add_switch(parser, "verbose", "tell what is written")
    parser.add_argument(
        "--delimiter", metavar="X", type=_delimiter, default=",", help="between columns; default a comma"
    )


def run(arguments: argparse.Namespace) -> int:
    from ..logs.training_log import read_training_log

    log = read_training_log(arguments.log)
    for rows, kind in ((log.train, "train"), (log.test, "test")):
        path = Path(arguments.outdir) / f"{Path(arguments.log).name}.{kind}"
        _write(rows, path, arguments.delimiter)
        if arguments.verbose:
            print(f"Wrote {path}")
    return 0


def _write(rows: list[Row], path: Path, delimiter: str) -> None:
    """Write the table; without rows, write its header alone (the original fails)."""
    import csv

    from ..files.atomic import atomic_write
    from ..logs.training_log import columns_of

    with atomic_write(path) as part, open(part, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns_of(rows), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def _delimiter(text: str) -> str:
    text = text.replace("\\t", "\t")
    if len(text) != 1 or text in '"\r\n':
        raise argparse.ArgumentTypeError(f"{text!r} is not one character that can stand between columns")
    return text
