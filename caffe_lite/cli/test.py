"""Score trained weights: runs the TEST net over its data and logs each batch's outputs and their means.

Of a net with DetectionEvaluate it logs the average precision of each class, and the mean of these.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .arguments import Parser, add_engine, add_state, positive
from .dealing import Crew, in_workers
from .workers import add_workers

if TYPE_CHECKING:
    import numpy as np


def add_arguments(parser: Parser) -> None:
    parser.add_argument("--model", metavar="NET", required=True, help="the net, with data layers for the TEST phase")
    parser.add_argument(
        "--weights", metavar="FILES", required=True, help=".caffemodel or .h5 files, with commas between"
    )
    parser.add_argument("--iterations", metavar="N", type=positive, default=50, help="batches to run; default 50")
    what = "how precisions are averaged: 11point, 101point, MaxIntegral or, by default, Integral"
    parser.add_argument("--ap-version", metavar="VERSION", type=_ap_version, default="Integral", help=what)
    add_state(parser)
    add_engine(parser)
    add_workers(parser)


def run(arguments: argparse.Namespace) -> int:
    return in_workers(arguments, _test)


def _test(arguments: argparse.Namespace, crew: Crew) -> None:
    from ..logs.log import logger
    from ..net.scores import Scores
    from ..pycaffe.net import TEST, Net
    from ..solvers.detection import DetectionScores

    crew.start(arguments)
    net = Net(*(arguments.model, TEST, arguments.level, arguments.stage, arguments.weights), compile=arguments.compile)
    try:
        crew.join(net)
        logger.info("Running for %d iterations.", arguments.iterations)
        loss = 0.0
        graph = net._caffe_graph
        scores: Scores | DetectionScores = Scores(graph)
        judges: list[Any] = [node.layer for node in graph.nodes if node.layer.type == "DetectionEvaluate"]
        if judges:
            scores = DetectionScores(graph, arguments.ap_version, show_per_class=True)

        def work(batch: int) -> Iterator[tuple[float, dict[str, np.ndarray], list[int]]]:
            yield net.ops.number(net.forward_pass()), scores.outputs(), [judge.batch_images for judge in judges]

        sizes: list[int] = []
        for batch, (each, outputs, images) in enumerate(crew.in_turn(range(arguments.iterations), work)):
            loss += each
            sizes = sizes or images
            if images != sizes and not crew.is_alone:
                judges[0].error(
                    f"in batch {batch} there are boxes of {max(images)} images, in those before of {max(sizes)}, so "
                    "that it is unknown which images of name_size_file other workers have",
                    "run this net without --workers",
                )
            for name, values in scores.add(outputs).items():
                for value in values:
                    logger.info("Batch %d, %s = %g", batch, name, value)
        if not crew.is_first:
            return
        logger.info("Loss: %g", loss / arguments.iterations)
        for name, means in scores.means().items():
            weight = net.blob_loss_weights[name]
            for mean in means:
                share = f" (* {weight:g} = {weight * mean:g} loss)" if weight else ""
                logger.info("%s = %g%s", name, mean, share)
    finally:
        net.close()


def _ap_version(text: str) -> str:
    from ..solvers.detection import AP_VERSIONS

    if text not in AP_VERSIONS:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(AP_VERSIONS)}")
    return text
