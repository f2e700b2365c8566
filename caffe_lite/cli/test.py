"""Score trained weights: runs the TEST net over its data and logs each batch's outputs and their means."""

from __future__ import annotations

import argparse

from .arguments import Parser, add_engine, add_state, choose_engine, positive


def add_arguments(parser: Parser) -> None:
    parser.add_argument("--model", metavar="NET", required=True, help="the net, with data layers for the TEST phase")
    parser.add_argument(
        "--weights", metavar="FILES", required=True, help=".caffemodel or .h5 files, with commas between"
    )
    parser.add_argument("--iterations", metavar="N", type=positive, default=50, help="batches to run; default 50")
    add_state(parser)
    add_engine(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..log import logger, start_logging
    from ..net import TEST, Net

    start_logging()
    choose_engine(arguments)
    net = Net(*(arguments.model, TEST, arguments.weights, arguments.level, arguments.stage), compile=arguments.compile)
    try:
        logger.info("Running for %d iterations.", arguments.iterations)
        loss = 0.0
        totals: dict[str, list[float]] = {name: [] for name, _, _ in net.output_blobs}
        for batch in range(arguments.iterations):
            loss += net.ops.number(net.forward_pass())
            for name, blob, _ in net.output_blobs:
                scores = net.ops.host_view(blob.data).ravel().tolist()
                for score in scores:
                    logger.info("Batch %d, %s = %g", batch, name, score)
                totals[name] = [a + b for a, b in zip(totals[name] or [0.0] * len(scores), scores, strict=True)]
        logger.info("Loss: %g", loss / arguments.iterations)
        for name, _, weight in net.output_blobs:
            for total in totals[name]:
                mean = total / arguments.iterations
                share = f" (* {weight:g} = {weight * mean:g} loss)" if weight else ""
                logger.info("%s = %g%s", name, mean, share)
    finally:
        net.close()
    return 0
