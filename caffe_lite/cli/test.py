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
    from ..logs.log import logger, start_logging
    from ..net.scores import Scores
    from ..pycaffe.net import TEST, Net

    start_logging()
    choose_engine(arguments)
    net = Net(*(arguments.model, TEST, arguments.level, arguments.stage, arguments.weights), compile=arguments.compile)
    try:
        logger.info("Running for %d iterations.", arguments.iterations)
        loss = 0.0
        scores = Scores(net._caffe_graph)
        for batch in range(arguments.iterations):
            loss += net.ops.number(net.forward_pass())
            for name, values in scores.add().items():
                for value in values:
                    logger.info("Batch %d, %s = %g", batch, name, value)
        logger.info("Loss: %g", loss / arguments.iterations)
        for name, means in scores.means().items():
            weight = net.blob_loss_weights[name]
            for mean in means:
                share = f" (* {weight:g} = {weight * mean:g} loss)" if weight else ""
                logger.info("%s = %g%s", name, mean, share)
    finally:
        net.close()
    return 0
