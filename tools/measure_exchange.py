"""Measure what tools/scaling_model.py needs of the connections between workers: bandwidth and latency of an all-reduce.

Run it as the training will run, with as many processes on as many machines:

    torchrun --nproc-per-node 2 tools/measure_exchange.py

The table has the best time of each size. The fit below it is a ring's: 2 (N - 1) / N x size / bandwidth, plus
2 (N - 1) x latency.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", default="0.004,0.04,0.4,1,4,25", help="sizes, joined by commas (%(default)s)")
    parser.add_argument("--repeat", type=int, default=20, help="times for each size, of which the best counts")
    parser.add_argument("--gpu", action="store_true", help="between GPUs, by NCCL; each process has that of LOCAL_RANK")
    args = parser.parse_args()
    try:
        import torch
        import torch.distributed as distributed
    except ImportError:
        parser.error("torch is not installed: pip install 'caffe-lite[torch]'")
    if "RANK" not in os.environ:
        parser.error("run it by torchrun, which starts the processes that exchange")
    device = torch.device("cpu")
    if args.gpu:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    torch.set_num_threads(1)
    distributed.init_process_group("nccl" if args.gpu else "gloo")
    workers = distributed.get_world_size()
    sizes = [round(float(size) * 1e6) for size in args.megabytes.split(",")]
    seconds = [best_time(torch.zeros(max(1, size // 4), device=device), args.repeat) for size in sizes]
    if distributed.get_rank() == 0:
        print(f"{workers} workers\n\n| MB | ms | GB/s |\n| ---: | ---: | ---: |")
        for size, best in zip(sizes, seconds, strict=True):
            print(f"| {size / 1e6:g} | {1e3 * best:.3f} | {2 * (workers - 1) / workers * size / best / 1e9:.2f} |")
        bandwidth, latency = fit(workers, sizes, seconds)
        print(f"\nfit: {bandwidth / 1e9:.2f} GB/s, latency {1e6 * latency:.0f} us")
    distributed.destroy_process_group()


def best_time(values: Any, repeat: int) -> float:
    """Return the seconds of the fastest all-reduce; all workers begin together, and the slowest counts."""
    import torch
    import torch.distributed as distributed

    wait = torch.cuda.synchronize if values.is_cuda else lambda: None
    best = torch.full((repeat,), np.inf, dtype=torch.float64, device=values.device)
    for index in range(repeat):
        distributed.barrier()
        wait()
        start = time.perf_counter()
        distributed.all_reduce(values)
        wait()
        best[index] = time.perf_counter() - start
    distributed.all_reduce(best, distributed.ReduceOp.MAX)
    return float(best.min())


def fit(workers: int, sizes: Sequence[float], seconds: Sequence[float]) -> tuple[float, float]:
    """Return bandwidth and latency of the ring that has these times, with the least relative errors."""
    steps = 2 * (workers - 1)
    columns = np.array([[steps / workers * size, steps] for size in sizes])
    slope, latency = np.linalg.lstsq(columns / np.array(seconds)[:, None], np.ones(len(sizes)), rcond=None)[0]
    return 1 / slope, latency


if __name__ == "__main__":
    main()
