"""Make a database of the images that a list names, with their labels."""

from __future__ import annotations

import argparse

from .arguments import Parser, UsageError, add_backend, add_switch, not_negative


def add_arguments(parser: Parser) -> None:
    parser.add_argument("root", metavar="ROOTFOLDER", help="what the names in the list begin from")
    parser.add_argument("list", metavar="LISTFILE", help="lines of an image file and a label: cats/1.jpg 0")
    parser.add_argument("out", metavar="DB_NAME", help="the database to make: a folder that does not exist yet")
    add_backend(parser)
    add_switch(parser, "gray", "read the images as grey ones; without it in colour")
    add_switch(parser, "shuffle", "put the images in a random order")
    parser.add_argument(
        "--seed", metavar="S", type=not_negative, help="shuffle with this seed; default: another every time"
    )
    parser.add_argument("--resize-width", metavar="N", type=not_negative, default=0, help="make all images so wide")
    parser.add_argument("--resize-height", metavar="N", type=not_negative, default=0, help="make all images so high")
    add_switch(parser, "check-size", "stop at an image of another size than the first")
    add_switch(parser, "encoded", "keep the images as files (JPEG, PNG, ...), which are smaller and take time to read")
    parser.add_argument("--encode-type", metavar="X", default="", help="how to encode them: jpg, png, ...")


def run(arguments: argparse.Namespace) -> int:
    from ..data.imageset import convert_imageset
    from ..logs.log import start_logging
    from .progress import Progress

    if bool(arguments.resize_width) != bool(arguments.resize_height):
        raise UsageError("--resize-width and --resize-height work together only: give both")
    written = convert_imageset(
        arguments.root,
        arguments.list,
        arguments.out,
        backend=arguments.backend,
        gray=arguments.gray,
        shuffle=arguments.shuffle,
        seed=arguments.seed,
        size=(arguments.resize_height, arguments.resize_width) if arguments.resize_width else None,
        check_size=arguments.check_size,
        encoded=arguments.encoded,
        encode_type=arguments.encode_type,
        track=Progress(start_logging(), "image"),
    )
    print(f"Wrote {written} images to {arguments.out}")
    return 0
