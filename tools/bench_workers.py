"""Time training in several processes of one thread each: with their exchange of gradients, and without it.

Every process has two solvers for the same net, one that trains with the others and one that trains alone, and runs
some iterations of each in turn, so that a slow moment of the machine affects both. The efficiency is what all
processes train in a second with the exchange, divided by what the same processes train without it. On Linux, the bytes
are counted that go through the loopback interface.

    python tools/bench_workers.py resnet50:4 cifar10_quick:100
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from pathlib import Path
from statistics import median
from typing import Any

from bench import CASES, Case, batch, network

COUNTERS = Path("/proc/net/dev")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="*", default=["resnet50:4", "cifar10_quick:100"], help="NET:BATCH, of bench.py")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=3.0, help="of training in each half of a round")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # for the processes to come
    print("| net, batch | alone, ms | together, ms | efficiency | rounds | MB of gradients | MB sent |")
    print("| --- | ---: | ---: | ---: | --- | ---: | ---: |")
    for words in args.nets:
        name, _, size = words.partition(":")
        case = CASES[name]
        case = case._replace(shape=(int(size or case.shape[0]), *case.shape[1:]))
        print_row(case, *in_processes(case, args))


def print_row(case: Case, times: list[list[list[float]]], gradients: int, sent: list[float]) -> None:
    """Print the medians over the rounds; ``times`` has seconds per iteration of each process, alone and together."""
    alone, together = ([sum(1 / rank[half][at] for rank in times) for at in range(len(times[0][0]))] for half in (0, 1))
    shares = sorted(after / before for before, after in zip(alone, together, strict=True))
    count = len(times)
    print(
        f"| {case.net}, {case.shape[0]} | {1e3 * count / median(alone):.4g} | {1e3 * count / median(together):.4g} "
        f"| {median(shares):.3f} | {shares[0]:.3f} to {shares[-1]:.3f} "
        f"| {gradients / 1e6:.4g} | {f'{median(sent) / 1e6:.4g}' if sent else '?'} |"
    )


def in_processes(case: Case, args: argparse.Namespace) -> tuple[list[list[list[float]]], int, list[float]]:
    """Return what ``print_row`` takes, from as many processes as there are workers."""
    import caffe_lite

    uid = caffe_lite.NCCL.new_uid()
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    processes = [
        context.Process(target=train, args=(rank, args.workers, uid, case, args.rounds, args.seconds, results))
        for rank in range(args.workers)
    ]
    for process in processes:
        process.start()
    found = dict(results.get() for _ in processes)
    for process in processes:
        process.join()
    times = [found[rank][0] for rank in sorted(found)]
    return times, found[0][1], found[0][2]


def train(rank: int, count: int, uid: bytes, case: Case, rounds: int, seconds: float, results: Any) -> None:
    """Be one of the workers; leave its times, the bytes of its gradients, and those that it sent in each iteration."""
    import caffe_lite
    from caffe_lite.proto.caffe_pb2 import SolverParameter

    caffe_lite.set_solver_count(count)
    caffe_lite.set_solver_rank(rank)
    param = SolverParameter(base_lr=1e-4, lr_policy="fixed", momentum=0.9, weight_decay=5e-4, random_seed=1)
    param.net_param.CopyFrom(network(case))
    alone, together = (caffe_lite.get_solver(param, engine="torch") for _ in range(2))
    for solver in (alone, together):
        for name, values in batch(case).items():
            solver.net.blobs[name].data[...] = values
    nccl = caffe_lite.NCCL(together, uid)
    nccl.bcast()
    together.add_callback(nccl)
    for solver in (alone, together):
        solver.step(3)
    (per_iteration,) = nccl.group.mean([timed(alone, 1)])
    iterations = max(2, round(seconds / per_iteration))
    times: list[list[float]] = [[], []]
    sent = []
    for _ in range(rounds):
        for half, solver in enumerate((alone, together)):
            nccl.group.mean([0.0])  # begin together
            before = bytes_sent()
            times[half].append(timed(solver, iterations))
            nccl.group.mean([0.0])
            if solver is together and COUNTERS.exists():
                sent.append((bytes_sent() - before) / iterations / count)
    gradients = sum(
        param.blob.count * param.blob.ops.itemsize for param in together.net.learnable_params if param.lr_mult
    )
    results.put((rank, (times, gradients, sent)))


def timed(solver: Any, iterations: int) -> float:
    """Train; return the seconds per iteration."""
    begin = time.perf_counter()
    solver.step(iterations)
    return (time.perf_counter() - begin) / iterations


def bytes_sent() -> int:
    """Return how many bytes have gone through the loopback interface."""
    if not COUNTERS.exists():
        return 0
    line = next(line for line in COUNTERS.read_text().splitlines() if line.strip().startswith("lo:"))
    return int(line.split(":")[1].split()[8])


if __name__ == "__main__":
    main()
