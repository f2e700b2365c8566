"""Measure a net: how long each layer takes forward and backward, and the whole net."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from time import perf_counter

from .arguments import Parser, add_engine, add_state, choose_engine, phase_of, positive


def add_arguments(parser: Parser) -> None:
    parser.add_argument("--model", metavar="NET", required=True, help="the net")
    parser.add_argument("--iterations", metavar="N", type=positive, default=50, help="passes to measure; default 50")
    add_state(parser, phase=True)
    add_engine(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..log import logger, start_logging
    from ..net import Net

    start_logging()
    choose_engine(arguments)
    net = Net(arguments.model, phase_of(arguments), level=arguments.level, stages=arguments.stage)
    try:
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


def _milliseconds(run_nodes: Callable[[int, int], object], start: int, end: int) -> float:
    begin = perf_counter()
    run_nodes(start, end)
    return (perf_counter() - begin) * 1e3
