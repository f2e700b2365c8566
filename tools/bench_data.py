"""Measure the cost of reading data: time LeNet's training on databases of images and on DummyData.

The sides run in turn, each in its own process, for several rounds, so that a slow moment of the machine affects them
all. The databases are made from the sample in configs/lenet: unchanged, and with each image as a PNG or JPEG file. The
processor time of all threads is the number that a busy machine disturbs least.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

LENET = Path(__file__).resolve().parent.parent / "configs" / "lenet"
SIDES = ("dummy", "raw", "png", "jpg")
# The largest acceptable ratio to DummyData.
BAR = 1.1
# Iterations before timing starts: one round through the sample, in which its images are decoded.
WARM_UP = 100


class Times(NamedTuple):
    """Average seconds of an iteration, by the clock and of the processor; batches are read several in a row."""

    clock: float
    processor: float


def main() -> None:
    args = arguments()
    if args.process:
        print(json.dumps(measure(args.process, args.folder, args)))
        return
    times: dict[str, list[Times]] = {side: [] for side in args.sides}
    with TemporaryDirectory() as folder:
        make_databases(Path(folder), args.sides)
        for _ in range(args.rounds):
            for side in args.sides:
                times[side].append(in_a_process(side, folder, args))
    print(f"LeNet, batches of {args.batch_size}, {args.engine} engine, {args.threads} threads; milliseconds\n")
    print("| data  | median |  least |   most | ratio | of leasts | bar  | processor |")
    print("| :---- | -----: | -----: | -----: | ----: | --------: | ---: | --------: |")
    clocks = {side: [one.clock for one in rounds] for side, rounds in times.items()}
    dummy = clocks["dummy"]
    for side, clock in clocks.items():
        columns = " | ".join(f"{1e3 * pick(clock):6.2f}" for pick in (median, min, max))
        ratios = f"{median(clock) / median(dummy):5.2f} | {min(clock) / min(dummy):9.2f}"
        processor = 1e3 * median(one.processor for one in times[side])
        print(f"| {side:5} | {columns} | {ratios} | {'' if side == 'dummy' else BAR:4} | {processor:9.2f} |")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="torch", help="what computes (%(default)s)")
    parser.add_argument("--sides", default=",".join(SIDES), help="which, joined by commas (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="processes per side (%(default)s)")
    parser.add_argument("--iterations", type=int, default=400, help="timed in each process (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=64, help="images in a batch (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="of the engine (%(default)s)")
    parser.add_argument("--process", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.sides = args.sides.split(",")
    if unknown := [side for side in args.sides if side not in SIDES]:
        parser.error(f"no {unknown[0]!r} among the sides: {', '.join(SIDES)}")
    args.sides = ["dummy", *(side for side in args.sides if side != "dummy")]
    return args


def in_a_process(side: str, folder: str, args: argparse.Namespace) -> Times:
    """Return the measurements of a fresh process."""
    options = [f"--{name}={getattr(args, name.replace('-', '_'))}" for name in ("engine", "iterations", "batch-size")]
    settings = {name: str(args.threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    command = [sys.executable, __file__, "--process", side, "--folder", folder, *options]
    done = subprocess.run(command, env=os.environ | settings, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"bench_data.py: {side} failed with exit status {done.returncode}")
    return Times(*json.loads(done.stdout))


def make_databases(folder: Path, sides: list[str]) -> None:
    """Create an LMDB of the sample for each kind of file."""
    import cv2

    from caffe_lite.data.databases.lmdb import LMDB
    from caffe_lite.data.databases.writing import new_database
    from caffe_lite.io import datum_to_array
    from caffe_lite.proto.caffe_pb2 import Datum

    sample = LMDB(str(LENET / "fashion_mnist_train_lmdb"))
    for side in sides:
        if side == "dummy":
            continue
        with new_database(str(folder / side)) as put:
            for key, value in sample.records():
                datum = Datum.FromString(value)
                if side != "raw":
                    content = cv2.imencode(f".{side}", datum_to_array(datum)[0])[1].tobytes()
                    datum = Datum(encoded=True, data=content, label=datum.label)
                put(key, datum.SerializeToString())
    sample.close()


def measure(side: str, folder: Path, args: argparse.Namespace) -> Times:
    """Return the seconds of an iteration in this process."""
    import caffe_lite as caffe
    from caffe_lite.proto.caffe_pb2 import DataParameter, SolverParameter
    from caffe_lite.proto.prototxt import read_net

    param = SolverParameter(base_lr=1e-4, lr_policy="fixed", momentum=0.9, weight_decay=5e-4, random_seed=1)
    param.net_param.CopyFrom(read_net(LENET / "net.prototxt").message)
    data = param.net_param.layer[0]
    if side == "dummy":
        data.type = "DummyData"
        data.ClearField("transform_param")
        data.dummy_data_param.shape.add(dim=[args.batch_size, 1, 28, 28])
        data.dummy_data_param.shape.add(dim=[args.batch_size])
        for value in (0.5, 3):
            data.dummy_data_param.data_filler.add(type="constant", value=value)
    else:
        data.data_param.source, data.data_param.backend = str(folder / side), DataParameter.LMDB
        data.data_param.batch_size = args.batch_size
    solver = caffe.get_solver(param, engine=args.engine)
    solver.step(WARM_UP)
    begin, used = time.perf_counter(), time.process_time()
    solver.step(args.iterations)
    clock, used = time.perf_counter() - begin, time.process_time() - used
    solver.net.close()
    return Times(clock / args.iterations, used / args.iterations)


if __name__ == "__main__":
    main()
