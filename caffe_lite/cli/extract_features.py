"""Run trained weights over the data of a net, and write what some of its blobs hold into databases."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ..text.foreign_bytes import from_bytes, to_bytes
from ..text.spelling import nearest
from .arguments import BACKENDS, Parser, UsageError, add_engine, add_state, positive
from .dealing import Crew, in_workers
from .workers import add_workers

if TYPE_CHECKING:
    from ..pycaffe.net import Net


def add_arguments(parser: Parser) -> None:
    parser.add_argument("weights", metavar="WEIGHTS", help="a .caffemodel or .h5 file")
    parser.add_argument("net", metavar="NET", help="the net, with a data layer for the TEST phase")
    parser.add_argument("blobs", metavar="BLOB[,BLOB...]", type=_names, help="the blobs to keep, as fc7,prob")
    parser.add_argument("outs", metavar="OUT[,OUT...]", type=_names, help="a database for each, not existing yet")
    parser.add_argument("batches", metavar="NUM_BATCHES", type=positive, help="how many batches to run")
    parser.add_argument("backend", metavar="BACKEND", type=str.lower, choices=BACKENDS, help="lmdb or leveldb")
    parser.add_argument("mode", metavar="CPU|GPU", nargs="?", choices=("CPU", "GPU"), help="as Caffe's tool takes it")
    parser.add_argument("device", metavar="DEVICE_ID", nargs="?", default="0", help="the GPU; default 0")
    add_state(parser)
    add_engine(parser)
    add_workers(parser)


def run(arguments: argparse.Namespace) -> int:
    blobs, outs = arguments.blobs, arguments.outs
    if len(blobs) != len(outs):
        raise UsageError(f"give as many databases as blobs: there are {len(blobs)} blobs and {len(outs)} databases")
    if len(set(outs)) < len(outs):
        raise UsageError("give each blob a database of its own")
    if arguments.mode == "GPU":
        arguments.gpu = arguments.gpu or arguments.device
    return in_workers(arguments, _extract)


def _extract(arguments: argparse.Namespace, crew: Crew) -> None:
    from ..data.databases.writing import new_database, refuse_existing
    from ..logs.log import logger
    from ..proto.arrays import array_to_datum
    from ..pycaffe.net import TEST, Net
    from .progress import Progress

    blobs, outs = arguments.blobs, arguments.outs
    log = crew.start(arguments)
    for out in outs:
        refuse_existing(out)
    net = Net(*(arguments.net, TEST, arguments.level, arguments.stage, arguments.weights), compile=arguments.compile)
    try:
        for name in blobs:
            _check(net, name)
        crew.join(net)

        def work(batch: int) -> Iterator[list[list[bytes]]]:
            net.forward_pass(read=blobs)
            records = []
            for name in blobs:
                blob = net.blobs[name]
                rows = blob.data.reshape(blob.num, blob.channels, blob.height, blob.width)
                records.append([array_to_datum(row.astype("float32", copy=False)).SerializeToString() for row in rows])
            yield records

        counts = [0] * len(blobs)
        with ExitStack() as stack:
            made = outs if crew.is_first else []
            puts = [stack.enter_context(new_database(out, arguments.backend)) for out in made]
            logger.info("Extracting Features")
            batches = crew.in_turn(range(arguments.batches), work)
            for records in Progress(log, "batch")(batches, arguments.batches) if crew.is_first else batches:
                for i, (put, values) in enumerate(zip(puts, records, strict=True)):
                    for value in values:
                        put(b"%010d" % counts[i], value)
                        counts[i] += 1
        if not crew.is_first:
            return
        for name, count in zip(blobs, counts, strict=True):
            logger.info("Extracted features of %d query images for feature blob %s", count, name)
        logger.info("Successfully extracted the features!")
    finally:
        net.close()


def _check(net: Net, name: str) -> None:
    from ..errors import NetError

    if name not in net.blobs:
        near = nearest(name, net.blobs)
        hint = f"Did you mean {near}?" if near else f"It has {', '.join(net.blobs)}"
        raise NetError(f"the net has no blob {name!r}", hint=hint)
    if len(net.blobs[name].shape) > 4:
        raise NetError(
            f"the blob {name!r} has {len(net.blobs[name].shape)} axes, a database takes at most (N, C, H, W)",
            hint="Add a Reshape or Flatten layer to the net, and keep what that one gives",
        )


def _names(text: str) -> list[str]:
    return from_bytes(to_bytes(text)).split(",")  # the form in which the net has names in other encodings
