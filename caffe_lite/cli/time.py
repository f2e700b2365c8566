"""Measure a net: how long each layer takes forward and backward, and the whole net; compiled, the whole net only."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING

from ..logs.log import logger, start_logging
from ..proto.caffe_pb2 import TRAIN
from .arguments import Parser, add_engine, add_state, choose_engine, phase_of, positive

if TYPE_CHECKING:
    from ..pycaffe.net import Net


def add_arguments(parser: Parser) -> None:
    parser.add_argument("--model", metavar="NET", required=True, help="the net")
    parser.add_argument("--iterations", metavar="N", type=positive, default=50, help="passes to measure; default 50")
    add_state(parser, phase=True)
    add_engine(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..pycaffe.net import Net

    start_logging()
    choose_engine(arguments)
    options = {"level": arguments.level, "stages": arguments.stage, "compile": arguments.compile}
    net = Net(arguments.model, phase_of(arguments), **options)
    try:
        if net.compile:
            _time_compiled(net, arguments.iterations)
            return 0
        logger.info("Performing Forward")
        logger.info("Initial loss: %g", net.ops.number(net.forward_pass()))
        logger.info("Performing Backward")
        net.backward_pass()
        logger.info("*** Benchmark begins ***")
        logger.info("Testing for %d iterations.", arguments.iterations)
        forward, backward = [0.0] * len(net.nodes), [0.0] * len(net.nodes)
        for iteration in range(arguments.iterations):
            begin = perf_counter()
            net.clear_param_diffs()
            for i in range(len(net.nodes)):
                forward[i] += _milliseconds(net.forward_pass, i, i)
            for i in reversed(range(len(net.nodes))):
                backward[i] += _milliseconds(net.backward_pass, i, i)
            elapsed = (perf_counter() - begin) * 1e3
            logger.info("Iteration: %d forward-backward time: %g ms.", iteration + 1, elapsed)
        logger.info("Average time per layer: ")
        for node, *times in zip(net.nodes, forward, backward, strict=True):
            for direction, total in zip(("forward", "backward"), times, strict=True):
                logger.info("%10s\t%s: %g ms.", node.name, direction, total / arguments.iterations)
        logger.info("Average Forward pass: %g ms.", sum(forward) / arguments.iterations)
        logger.info("Average Backward pass: %g ms.", sum(backward) / arguments.iterations)
        logger.info("Average Forward-Backward: %g ms.", (sum(forward) + sum(backward)) / arguments.iterations)
        logger.info("Total Time: %g ms.", sum(forward) + sum(backward))
        logger.info("*** Benchmark ends ***")
    finally:
        net.close()
    return 0


def _time_compiled(net: Net, iterations: int) -> None:
    """Measure the compiled pass: forward and backward in TRAIN, forward in TEST."""
    run, passes = (
        (net.forward_backward_pass, "Forward-Backward") if net.phase == TRAIN else (net.forward_pass, "Forward")
    )

    def iterate() -> float:
        net.clear_param_diffs()
        return net.ops.number(run())

    logger.info("Initial loss: %g", iterate())
    logger.info("*** Benchmark begins ***")
    logger.info("Testing for %d iterations.", iterations)
    total = sum(_milliseconds(iterate) for _ in range(iterations))
    logger.info("Average %s: %g ms.", passes, total / iterations)
    logger.info("Total Time: %g ms.", total)
    logger.info("*** Benchmark ends ***")


def _milliseconds(run: Callable[..., object], *nodes: int) -> float:
    begin = perf_counter()
    run(*nodes)
    return (perf_counter() - begin) * 1e3
