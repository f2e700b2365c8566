"""Make a database from two files in MNIST's format (MNIST, Fashion-MNIST, KMNIST, ...), gzipped or not."""

from __future__ import annotations

import argparse

from .arguments import Parser, add_backend, positive


def add_arguments(parser: Parser) -> None:
    parser.add_argument("images", metavar="IMAGES", help="such as train-images-idx3-ubyte.gz")
    parser.add_argument("labels", metavar="LABELS", help="such as train-labels-idx1-ubyte.gz")
    parser.add_argument("out", metavar="OUT", help="the database to make: a folder that does not exist yet")
    add_backend(parser)
    parser.add_argument("--limit", metavar="N", type=positive, help="take only so many images; default all")
    parser.add_argument("--seed", metavar="S", type=int, help="shuffle with this seed; default: the files' order")


def run(arguments: argparse.Namespace) -> int:
    from ..data.mnist import convert_mnist

    options = {"limit": arguments.limit, "seed": arguments.seed, "backend": arguments.backend}
    count = convert_mnist(arguments.images, arguments.labels, arguments.out, **options)
    print(f"Wrote {count} images to {arguments.out}")
    return 0
