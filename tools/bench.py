"""Time a training iteration of caffe_lite and of PyTorch eager, side by side: forward, backward, SGD with momentum.

Each side runs in a process of its own, in turn, for several rounds, so that a slow moment of the machine meets both.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
SHAPES = {"lenet": (64, 1, 28, 28), "cifar10_quick": (100, 3, 32, 32)}
CLASSES = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", default=",".join(SHAPES), help="which, joined by commas (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="processes per side and net (%(default)s)")
    parser.add_argument("--iterations", type=int, default=60, help="timed iterations per process (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="for both sides (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print all times as JSON")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    nets = args.nets.split(",")
    if unknown := [net for net in nets if net not in SHAPES]:
        parser.error(f"unknown net {unknown[0]!r}; nets: {', '.join(SHAPES)}")
    if args.side:
        iterate = SIDES[args.side](nets[0], args.threads)
        print(json.dumps(measure(iterate, args.iterations)))
        return
    try:
        versions = {package: metadata.version(package) for package in ("numpy", "torch")}
    except metadata.PackageNotFoundError:
        sys.exit("bench.py compares with PyTorch, which is not installed: pip install 'caffe-lite[torch]'")
    versions |= {"python": platform.python_version(), "threads": str(args.threads)}
    results: dict[str, dict[str, list[float]]] = {net: {side: [] for side in SIDES} for net in nets}
    if not args.json:
        print(", ".join(f"{name} {version}" for name, version in versions.items()))
        print(f"{'milliseconds per iteration':<28}{'median':>8}{'least':>8}{'most':>8}")
    for net in nets:
        for _ in range(args.rounds):
            for side in SIDES:
                results[net][side].append(run(side, net, args))
        if not args.json:
            report(net, results[net])
    if args.json:
        print(json.dumps({"versions": versions, "seconds": results}, indent=2))


def run(side: str, net: str, args: argparse.Namespace) -> float:
    """The median iteration of a fresh process."""
    options = ["--side", side, "--nets", net, "--iterations", str(args.iterations), "--threads", str(args.threads)]
    threads = {name: str(args.threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    command = [sys.executable, __file__, *options]
    done = subprocess.run(command, env=os.environ | threads, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def measure(iterate: Callable[[], object], iterations: int) -> float:
    seconds = []
    for _ in range(10 + iterations):
        start = time.perf_counter()
        iterate()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[10:])


def report(net: str, results: dict[str, list[float]]) -> None:
    """A row per side, and the ratios of the columns: the one of the least times is disturbed least."""
    rows = []
    for side, seconds in results.items():
        times = [1000 * s for s in seconds]
        rows.append((statistics.median(times), min(times), max(times)))
        print(f"{net + ', ' + side:<28}" + "".join(f"{value:>8.2f}" for value in rows[-1]))
    print(f"{'ratio':<28}" + "".join(f"{ours / theirs:>8.2f}" for ours, theirs in zip(*rows, strict=True)))


def batch(net: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    shape = SHAPES[net]
    return rng.random(shape, dtype=np.float32), rng.integers(0, CLASSES, shape[0])


def caffe_lite_side(net: str, threads: int) -> Callable[[], object]:
    """The net and solver of configs/, with the same batch in every iteration."""
    from caffe_lite.proto import caffe_pb2
    from caffe_lite.proto.prototxt import read_net, read_solver
    from caffe_lite.solvers import get_solver

    solver_param = read_solver(str(CONFIGS / net / "solver.prototxt")).message
    for field in ("net", "test_iter", "test_interval", "display", "snapshot"):
        solver_param.ClearField(field)
    network = read_net(str(CONFIGS / net / "net.prototxt")).message
    data = caffe_pb2.LayerParameter(name="images", type="DummyData", top=["data", "label"])
    for shape in (SHAPES[net], SHAPES[net][:1]):
        data.dummy_data_param.shape.add(dim=shape)
    solver_param.net_param.name = network.name
    solver_param.net_param.layer.extend([data, *(layer for layer in network.layer if layer.type != "Data")])
    solver = get_solver(solver_param)
    images, labels = batch(net)
    solver.net.blobs["data"].data[...] = images
    solver.net.blobs["label"].data[...] = labels
    return lambda: solver.step(1)


def torch_side(net: str, threads: int) -> Callable[[], object]:
    """The same net in torch.nn, as PyTorch's tutorials train it."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    models = {
        "lenet": lambda: nn.Sequential(
            *(nn.Conv2d(1, 20, 5), nn.MaxPool2d(2, 2)),
            *(nn.Conv2d(20, 50, 5), nn.MaxPool2d(2, 2)),
            *(nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, CLASSES)),
        ),
        "cifar10_quick": lambda: nn.Sequential(
            *(nn.Conv2d(3, 32, 5, padding=2), nn.MaxPool2d(3, 2, ceil_mode=True), nn.ReLU()),
            *(nn.Conv2d(32, 32, 5, padding=2), nn.ReLU(), nn.AvgPool2d(3, 2, ceil_mode=True)),
            *(nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.AvgPool2d(3, 2, ceil_mode=True)),
            *(nn.Flatten(), nn.Linear(1024, 64), nn.Linear(64, CLASSES)),
        ),
    }
    model = models[net]()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9, weight_decay=0.0005)
    images, labels = map(torch.from_numpy, batch(net))

    def iterate() -> None:
        optimizer.zero_grad()
        criterion(model(images), labels).backward()
        optimizer.step()

    return iterate


SIDES = {"caffe_lite": caffe_lite_side, "torch": torch_side}

if __name__ == "__main__":
    main()
