"""Predict the time of a training iteration with N workers, from a net's costs and the connections between workers.

Nothing is run: the work of each layer and the size of its gradient come from the net's outline. Gradients are averaged
in buckets, from the top of the net down, while the backward pass goes on below. docs/scaling.md has the formulas, and
compares the model with measurements.

    python tools/scaling_model.py configs/resnet50/net.prototxt --tflops 30
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

from caffe_lite.errors import ArgumentError, CaffeError
from caffe_lite.inspection.costs import multiply_adds
from caffe_lite.inspection.outline import Outline, shape_of
from caffe_lite.net.filtering import placed_layers, state_of
from caffe_lite.proto.caffe_pb2 import TRAIN, NetParameter
from caffe_lite.proto.parsed import Parsed
from caffe_lite.proto.prototxt import read_net

WORKERS = "1,8,16,32,64,128,256,512,1024"
# An update by SGD reads a parameter, its gradient and its history, and writes the parameter and the history.
UPDATE_BYTES = 20
# A gradient, divided by the number of workers, is written into its bucket.
BUCKET_BYTES = 8
# A bucket takes half of what is left, but no less than this, so that the last one, which nothing hides, is small.
SMALLEST_BUCKET = 2**20
# Behind the gradients, the last bucket carries the loss and whether a snapshot or a stop is asked for.
LAST_BYTES = 12
ALGORITHMS = ("best", "ring", "tree")


class Step(NamedTuple):
    """A layer's part of an iteration: operations forward and backward, and the bytes of each gradient it completes.

    ``passes`` counts its computations: the top, the gradient of the bottoms, that of the weights.
    """

    name: str
    forward: float
    backward: float
    gradients: tuple[int, ...]
    passes: int


class Work(NamedTuple):
    """A net's iteration over one batch: its layers in the order of the forward pass."""

    batch: int
    steps: list[Step]

    @property
    def operations(self) -> float:
        return sum(step.forward + step.backward for step in self.steps)

    @property
    def gradient(self) -> int:
        return sum(sum(step.gradients) for step in self.steps)


class Bucket(NamedTuple):
    """Gradients that are averaged at once: their bytes, and how much of the backward pass is over when all exist."""

    size: int
    ready: float


class Links(NamedTuple):
    """The connections: bytes per second and seconds of latency, inside a machine and from a machine to the others."""

    per_machine: int
    inside: float
    inside_latency: float
    network: float
    network_latency: float
    algorithm: str = "best"


class Alone(NamedTuple):
    """The seconds of one worker's iteration: what hides no exchange, the last backward pass, which does, the update.

    ``handling`` is added where there are buckets.
    """

    before: float
    backward: float
    update: float
    handling: float


class Prediction(NamedTuple):
    """An iteration of N workers, in seconds: what they compute, exchange, do not hide of that, and all together.

    ``shown``, what is not hidden, includes the handling of buckets.
    """

    workers: int
    compute: float
    exchange: float
    shown: float
    reading: float
    total: float


# -- the net -----------------------------------------------------------------------------------------------------------


def work_of(parsed: Parsed[NetParameter], shape: Sequence[int] | None = None) -> Work:
    """Count the work of a net's layers in TRAIN; with a shape, on batches of that shape instead of its data."""
    if shape is not None:
        _feed(parsed, shape)
    net = Outline(placed_layers(parsed), state_of(parsed.message, TRAIN), open_sources=shape is None)
    # The gradient of a shared parameter is complete when its owner, the first of its layers, has run backward.
    gradients: dict[int, list[int]] = {id(node): [] for node in net.nodes}
    for param in net.params:
        if param.lr_mult:
            gradients[id(param.owner)].append(4 * _known(param.blob.count))
    steps = []
    for node in net.nodes:
        operations = 2 * _known(multiply_adds(node))
        wanted = any(node.bottom_need_backward) + any(node.layer.param_propagate_down)
        steps.append(Step(node.name, operations, operations * wanted, tuple(gradients[id(node)]), 1 + wanted))
    images = next((shape_of(blob) for node in net.nodes for blob in node.top), None)
    return Work(_known(images[0]) if images else 1, steps)


def _feed(parsed: Parsed[NetParameter], shape: Sequence[int]) -> None:
    """Turn the layers that read data into Input layers, of this shape and of a label for each of its records."""
    for layer in parsed.message.layer:
        if not layer.bottom:
            layer.type = "Input"
            layer.ClearField("input_param")
            for top in range(len(layer.top)):
                layer.input_param.shape.add(dim=shape if top == 0 else shape[:1])


def _known(count: object) -> int:
    if not isinstance(count, int):
        raise ArgumentError("a shape depends on data that is not here", hint="give the data's: --input 64,3,224,224")
    return count


def buckets(work: Work, size: float) -> list[Bucket]:
    """Fill buckets with the gradients, in the order in which the backward pass completes them.

    One is full when it holds half of what is left, or this many bytes. The rest goes into the last one, at the end.
    """
    whole = sum(step.backward for step in work.steps) or 1.0
    filled: list[Bucket] = []
    held, left, done = 0, work.gradient, 0.0
    for step in reversed(work.steps):
        done += step.backward
        for gradient in step.gradients:
            held += gradient
            if left > held >= min(size, max(SMALLEST_BUCKET, left / 2)):
                filled.append(Bucket(held, done / whole))
                held, left = 0, left - held
    return [*filled, Bucket(held + LAST_BYTES, 1.0)]


# -- the time ----------------------------------------------------------------------------------------------------------


def all_reduce(size: float, workers: int, links: Links) -> float:
    """Return the seconds in which all workers get the sum of an array of this many bytes."""
    if workers == 1:
        return 0.0
    machines = math.ceil(workers / links.per_machine)
    local = math.ceil(workers / machines)
    bandwidth = links.inside if machines == 1 else links.network if local == 1 else min(links.inside, links.network)
    ring = 2 * (workers - 1) / workers * size / bandwidth
    ring += 2 * ((workers - machines) * links.inside_latency + (machines - 1) * links.network_latency)
    tree = 2 * size / bandwidth
    tree += 2 * (_levels(local) * links.inside_latency + _levels(machines) * links.network_latency)
    return {"ring": ring, "tree": tree, "best": min(ring, tree)}[links.algorithm]


def _levels(count: int) -> int:
    return (count - 1).bit_length()


def alone(
    work: Work,
    rate: float,
    memory: float,
    *,
    launch: float = 0.0,
    iteration: float | None = None,
    iter_size: int = 1,
    parts: int = 1,
) -> Alone:
    """Divide one worker's iteration into its parts, by their operations.

    Args:
        work: the net's.
        rate: operations per second.
        memory: bytes per second, for the update and the handling of buckets.
        launch: seconds to start one computation of a layer, which a GPU does not notice while it is busy.
        iteration: seconds of a measured iteration over one batch, instead of rate and launch.
        iter_size: the number of batches before an update.
        parts: the number of workers that share a batch.
    """
    update = UPDATE_BYTES / 4 * work.gradient / memory
    if iteration is None:
        passes = max(work.operations / parts / rate, launch * sum(step.passes for step in work.steps))
    else:
        passes = max(0.0, iteration - update) / parts
    backward = passes * sum(step.backward for step in work.steps) / (work.operations or 1)
    return Alone(passes * iter_size - backward, backward, update, BUCKET_BYTES / 4 * work.gradient / memory)


def predict(
    workers: int,
    one: Alone,
    filled: Sequence[Bucket],
    links: Links,
    *,
    overlap: float = 1.0,
    spread: float = 0.0,
    reading: float = 0.0,
) -> Prediction:
    """Predict an iteration of so many workers.

    Args:
        one: an iteration of one of them by itself.
        filled: the gradients' buckets.
        overlap: the share of the exchange during which a worker computes as fast as without it.
        spread: the standard deviation of a worker's computing time, as a part of it: all wait for the slowest.
        reading: seconds in which the batches of all workers are read, in the background.
    """
    slowest = 1 + spread * _largest_of(workers)
    before, backward = one.before * slowest, one.backward * slowest
    times = [all_reduce(bucket.size, workers, links) for bucket in filled]
    end = 0.0
    for bucket, time in zip(filled, times, strict=True):
        end = max(end, bucket.ready * backward) + time
    exchange = sum(times)
    shown = overlap * max(0.0, end - backward) + (1 - overlap) * exchange + (one.handling if workers > 1 else 0.0)
    compute = before + backward + one.update
    return Prediction(workers, compute, exchange, shown, reading, max(compute + shown, reading))


def _largest_of(count: int) -> float:
    """Return about how many standard deviations the largest of so many normal numbers lies above their mean."""
    return NormalDist().inv_cdf((count - 0.375) / (count + 0.25))


# -- the command -------------------------------------------------------------------------------------------------------


def main() -> None:
    args = arguments()
    try:
        parsed = read_net(args.net)
        work = work_of(parsed, args.input)
    except CaffeError as error:
        sys.exit(f"scaling_model.py: {error}")
    if args.split_batch and work.batch < max(args.workers):
        sys.exit(f"scaling_model.py: a batch of {work.batch} cannot be divided among {max(args.workers)} workers")
    filled = buckets(work, 2**20 * args.bucket)
    iteration = None if args.iteration is None else 1e-3 * args.iteration
    links = Links(
        args.per_machine,
        1e9 * args.inside,
        1e-6 * args.inside_latency,
        1e9 * args.network,
        1e-6 * args.network_latency,
        args.algorithm,
    )
    print(
        f"{parsed.message.name or args.net}: batch {work.batch}, {work.operations / 1e9:.4g} GFLOP per batch, "
        f"gradients {work.gradient / 1e6:.4g} MB in {len(filled)} bucket{'s' * (len(filled) != 1)}\n"
    )
    print("| workers | compute ms | exchange ms | not hidden ms | iteration ms | images/s | efficiency |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    base = 0.0
    for workers in sorted({1, *args.workers}):
        batches = args.iter_size * (1 if args.split_batch else workers)
        images = work.batch * batches
        reading = max(images / workers / args.reading, images / args.storage)
        one = alone(
            work, 1e12 * args.tflops, 1e9 * args.memory,
            launch=1e-6 * args.launch, iteration=iteration, iter_size=args.iter_size,
            parts=workers if args.split_batch else 1,
        )  # fmt: skip
        found = predict(workers, one, filled, links, overlap=args.overlap, spread=args.spread, reading=reading)
        speed = images / found.total
        base = base or speed
        if workers in args.workers:
            times = (found.compute, found.exchange, found.shown, found.total)
            cells = [f"{1e3 * seconds:.4g}" for seconds in times]
            limit = " (reading)" if found.reading == found.total else ""
            print(f"| {workers} | {' | '.join(cells)}{limit} | {speed:.0f} | {speed / base / workers:.0%} |")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("net", type=Path, help="the net's prototxt")
    add("--input", type=whole_numbers, metavar="N,C,H,W", help="a worker's batch, instead of the net's data")
    add("--workers", type=whole_numbers, default=WORKERS, help="numbers of workers (%(default)s)")
    add("--split-batch", action="store_true", help="divide the batch among the workers; else each has one")
    add("--iter-size", type=whole_number, default=1, help="the solver's iter_size (%(default)s)")
    add("--tflops", type=positive_number, default=30, help="10^12 operations a second of a worker (%(default)s)")
    add("--launch", type=number_from_0, default=20, metavar="US", help="least time of a layer's pass (%(default)s)")
    add("--iteration", type=positive_number, metavar="MS", help="instead: one worker's measured time for a batch")
    add("--memory", type=positive_number, default=2000, help="GB/s of a worker's memory, for updates (%(default)s)")
    add("--per-machine", type=whole_number, default=8, help="workers on each machine (%(default)s)")
    add("--inside", type=positive_number, default=300, help="GB/s between workers of a machine (%(default)s)")
    add("--inside-latency", type=number_from_0, default=5, metavar="US", help="microseconds there (%(default)s)")
    add("--network", type=positive_number, default=45, help="GB/s from a machine to the others (%(default)s)")
    add("--network-latency", type=number_from_0, default=15, metavar="US", help="microseconds there (%(default)s)")
    add("--algorithm", choices=ALGORITHMS, default="best", help="of the all-reduce: Gloo's is ring (%(default)s)")
    add("--bucket", type=positive_number, default=10, help="MiB of gradients that are averaged at once (%(default)s)")
    add("--overlap", type=share, default=1, help="1: the exchange takes no time from the arithmetic; 0: all of it")
    add("--spread", type=share, default=0, help="standard deviation of computing, as a part of it (%(default)s)")
    add("--reading", type=positive_number, default=math.inf, help="images a second that one worker can read")
    add("--storage", type=positive_number, default=math.inf, help="images a second that all together can read")
    return parser.parse_args()


def whole_numbers(text: str) -> list[int]:
    return [whole_number(number) for number in text.split(",")]


def whole_number(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError(number)
    return number


def positive_number(text: str) -> float:
    if not (number := float(text)) > 0:
        raise ValueError(number)
    return number


def number_from_0(text: str) -> float:
    if not 0 <= (number := float(text)) < math.inf:
        raise ValueError(number)
    return number


def share(text: str) -> float:
    if not 0 <= (number := float(text)) <= 1:
        raise ValueError(number)
    return number


if __name__ == "__main__":
    main()
