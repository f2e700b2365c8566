"""Time caffe_lite's engines and PyTorch eager on the same nets: iterations of training, and forward passes in TEST.

In TEST also the onnxruntime engine, and onnxruntime by itself on the file that the net is exported to.

The sides run in turn, each in its own process, for several rounds, so that a slow moment of the machine affects all of
them. The tables are Markdown; docs/performance.md explains how to read them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from caffe_lite import Net
    from caffe_lite.proto.caffe_pb2 import NetParameter

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


class Case(NamedTuple):
    """A net of configs/ or of detectors.py to time: the shape of its batch, iterations per process, bars of our sides.

    A bar is the largest acceptable ratio of our median to PyTorch's, on a CPU.
    """

    net: str
    shape: tuple[int, int, int, int]
    classes: int
    train: bool
    iterations: int
    bars: Mapping[str, float]

    @property
    def title(self) -> str:
        return f"{self.net} b{self.shape[0]} {'train' if self.train else 'TEST'}"


CASES = {
    "lenet": Case("lenet", (64, 1, 28, 28), 10, True, 60, {"torch": 0.75, "compile": 0.60}),
    "cifar10_quick": Case("cifar10_quick", (100, 3, 32, 32), 10, True, 30, {"torch": 0.45, "compile": 0.40}),
    "caffenet": Case("caffenet", (16, 3, 227, 227), 1000, True, 5, {"torch": 0.75, "compile": 0.75}),
    "googlenet": Case("googlenet", (8, 3, 224, 224), 1000, True, 5, {"torch": 0.75, "compile": 0.70}),
    "resnet50": Case("resnet50", (8, 3, 224, 224), 1000, True, 4, {"torch": 0.85, "compile": 0.70}),
    "mobilenet_ssd": Case("mobilenet_ssd", (8, 3, 300, 300), 21, True, 4, {"torch": 0.80}),
    "resnet50-test": Case(
        "resnet50", (1, 3, 224, 224), 1000, False, 20, {"torch": 0.75, "compile": 0.65, "onnxruntime": 0.60}
    ),
    "squeezenet-test": Case(
        "squeezenet", (10, 3, 227, 227), 1000, False, 15, {"torch": 0.70, "compile": 0.65, "onnxruntime": 0.60}
    ),
}
TITLE = max(len(case.title) for case in CASES.values())
# These sides run nets for TEST only, on a CPU. The bar of the first is its ratio to the second.
FOR_TEST = ("onnxruntime", "exported")
BAR_OF_EXPORTED = 1.03
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.001, 0.9, 0.0005


def main() -> None:
    args = arguments()
    if args.process:
        print(json.dumps(PROCESSES[args.process](args)))
        return
    try:
        versions = {package: metadata.version(package) for package in ("numpy", "torch")}
    except metadata.PackageNotFoundError:
        sys.exit("bench.py compares with PyTorch, which is not installed: pip install 'caffe-lite[torch]'")
    versions |= {"python": platform.python_version(), "threads": str(args.threads)}
    tables = args.json != "-"
    seconds: dict[str, dict[str, list[list[float]]]] = {}
    if tables:
        print(", ".join(f"{name} {version}" for name, version in versions.items()) + "\n")
        print_header(("net", TITLE), ("side", SIDE), *((column, 9) for column in TIMES))
    for name in args.nets:
        sides = [side for side in args.sides if not (CASES[name].train and side in FOR_TEST)]
        seconds[name] = {side: [] for side in sides}
        for _ in range(args.rounds):
            for side in sides:
                seconds[name][side].append(in_a_process(side, args, name))
        if tables:
            print_times(CASES[name], seconds[name], bars=not args.gpu)
    results: dict[str, Any] = {"versions": versions, "seconds": seconds}
    if args.roofline:
        results["peaks"] = in_a_process("peaks", args)
        results["operations"] = {name: operations(CASES[name]) for name in args.nets}
        if tables:
            print_roofline(results)
    if args.json:
        text = json.dumps(results, indent=2) + "\n"
        print(text, end="") if tables is False else Path(args.json).write_text(text, encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", default=",".join(CASES), help="which, joined by commas (%(default)s)")
    parser.add_argument("--sides", help=f"which of {','.join(SIDES)}; without it all that run here, but not compile")
    parser.add_argument("--rounds", type=int, default=5, help="processes per side and net (%(default)s)")
    parser.add_argument("--iterations", type=int, help="timed in each process; without it fewer for heavier nets")
    parser.add_argument("--threads", type=int, default=2, help="of every side (%(default)s)")
    parser.add_argument("--roofline", action="store_true", help="show how near to the machine's peak each side comes")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE", help="all times to FILE, or instead of tables")
    parser.add_argument("--gpu", action="store_true", help="run on the first CUDA device")
    parser.add_argument("--tf32", action="store_true", help="let the GPU round factors to TensorFloat-32")
    parser.add_argument("--process", choices=PROCESSES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    on_gpu = [side for side in SIDES if side not in ("numpy", *FOR_TEST)]
    missing = () if find_spec("onnx") and find_spec("onnxruntime") else FOR_TEST
    default = [side for side in (on_gpu if args.gpu else SIDES) if side not in ("compile", *missing)]
    for option, known in (("nets", list(CASES)), ("sides", on_gpu if args.gpu else list(SIDES))):
        chosen = (getattr(args, option) or ",".join(default)).split(",")
        if unknown := [name for name in chosen if name not in known]:
            parser.error(f"no {unknown[0]!r} among the {option}: {', '.join(known)}")
        setattr(args, option, chosen)
    if not args.process and args.gpu and not gpu_is_there():
        parser.error("PyTorch finds no GPU here")
    return args


def in_a_process(process: str, args: argparse.Namespace, net: str = "lenet") -> Any:
    """Return the measurements of a fresh process."""
    options = ["--process", process, "--nets", net, "--threads", str(args.threads)]
    options += ["--iterations", str(args.iterations or CASES[net].iterations)]
    options += [f"--{name}" for name in ("gpu", "tf32") if getattr(args, name)]
    settings = {name: str(args.threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    settings["CAFFE_LITE_COMPILE"] = "0"  # only the side "compile" compiles
    command = [sys.executable, __file__, *options]
    done = subprocess.run(command, env=os.environ | settings, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"bench.py: {process} failed on {net} with exit status {done.returncode}")
    return json.loads(done.stdout)


# -- the sides -------------------------------------------------------------------------------------------------------


def batch(case: Case) -> dict[str, np.ndarray]:
    """Return the inputs of one batch: images, and the labels and targets that training needs."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal(case.shape, dtype=np.float32)
    if case.net == "mobilenet_ssd":
        from detectors import targets

        return {"data": images, **targets(rng, case.shape[0])}
    return {"data": images, "label": rng.integers(0, case.classes, case.shape[0])}


def network(case: Case) -> NetParameter:
    """Return the net in the case's state, with an input of one batch instead of its data layers."""
    from caffe_lite.proto.caffe_pb2 import TEST, TRAIN, LayerParameter
    from caffe_lite.proto.prototxt import read_net

    if case.net == "mobilenet_ssd":
        from detectors import mobilenet_ssd

        return mobilenet_ssd(case.shape)
    param = read_net(CONFIGS / case.net / "net.prototxt").message
    layers = [layer for layer in param.layer if layer.type not in ("Data", "Input")]
    images = LayerParameter(name="images", type="Input", top=["data", "label"] if case.train else ["data"])
    for shape in (case.shape, case.shape[:1])[: len(images.top)]:
        images.input_param.shape.add(dim=shape)
    del param.layer[:]
    param.layer.extend([images, *layers])
    param.state.phase = TRAIN if case.train else TEST
    param.state.stage.extend([] if case.train else ["deploy"])
    return param


def ready(net: Net) -> Net:
    """Set running statistics to mean 0 and variance 1, the initial values in PyTorch; ours are all 0."""
    for node in net.nodes:
        if node.layer.type == "BatchNorm":
            for blob in list(net.params[node.name])[1:]:
                blob.data[...] = 1
    return net


def caffe_lite_side(args: argparse.Namespace, engine: str, **options: Any) -> list[float]:
    """Time our net with our solver; in TEST, as a script for pycaffe would call it."""
    import caffe_lite
    from caffe_lite.proto.caffe_pb2 import SolverParameter

    case = CASES[args.nets[0]]
    if engine == "torch":
        prepare_torch(args)
    if args.gpu:
        caffe_lite.set_mode_gpu()
    inputs = batch(case)
    if not case.train:
        net = ready(caffe_lite.Net(network(case), caffe_lite.TEST, engine=engine, **options))
        net.blobs["data"].data[...] = inputs["data"]
        return timed(net.forward, args)
    param = SolverParameter(type="SGD", base_lr=LEARNING_RATE, lr_policy="fixed", random_seed=0)
    param.momentum, param.weight_decay = MOMENTUM, WEIGHT_DECAY
    param.net_param.CopyFrom(network(case))
    solver = caffe_lite.get_solver(param, engine=engine, **options)
    for name, values in inputs.items():
        solver.net.blobs[name].data[...] = values
    return timed(lambda: solver.step(1), args)


def pytorch_side(args: argparse.Namespace) -> list[float]:
    """Time the same net in torch.nn, run as in PyTorch's tutorials."""
    import torch
    from pytorch_nets import NETS, loss

    case = CASES[args.nets[0]]
    prepare_torch(args)
    device = "cuda" if args.gpu else "cpu"
    model = NETS[case.net]().to(device)
    images, *labels = (torch.from_numpy(array).to(device) for array in batch(case).values())
    if not case.train:
        model.eval()
        with torch.no_grad():
            return timed(lambda: torch.softmax(model(images), 1), args)
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)

    def iterate() -> None:
        optimizer.zero_grad()
        loss(model(images), *labels).backward()
        optimizer.step()

    return timed(iterate, args)


def exported_side(args: argparse.Namespace) -> list[float]:
    """Time onnxruntime by itself on the file that our net is exported to."""
    import onnxruntime

    import caffe_lite
    from caffe_lite.export import to_onnx

    case = CASES[args.nets[0]]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "net.onnx")
        to_onnx(ready(caffe_lite.Net(network(case), caffe_lite.TEST, engine="numpy")), path)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs = batch(case)["data"]
    return timed(lambda: session.run(None, {"data": inputs}), args)


def prepare_torch(args: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(args.threads)
    torch.backends.cuda.matmul.allow_tf32 = args.tf32
    torch.backends.cudnn.allow_tf32 = args.tf32


def gpu_is_there() -> bool:
    import torch

    return torch.cuda.is_available()


def timed(iterate: Callable[[], object], args: argparse.Namespace) -> list[float]:
    """Return the seconds of each iteration, after some warm-up iterations."""
    wait: Callable[[], object] = lambda: None  # noqa: E731
    if args.gpu:
        import torch

        wait = torch.cuda.synchronize
    for _ in range(2 + args.iterations // 5):
        iterate()
    seconds = []
    for _ in range(args.iterations):
        wait()
        start = time.perf_counter()
        iterate()
        wait()
        seconds.append(time.perf_counter() - start)
    return seconds


def peaks(args: argparse.Namespace) -> dict[str, float]:
    """Return the machine's best operations per second: in a large matrix product and in a large convolution."""
    import torch

    prepare_torch(args)
    device = "cuda" if args.gpu else "cpu"
    n, images, channels, size = 2048, 16, 256, 28
    a, b = torch.randn(2, n, n, device=device)
    x = torch.randn(images, channels, size, size, device=device).to(memory_format=torch.channels_last)
    w = torch.randn(channels, channels, 3, 3, device=device).to(memory_format=torch.channels_last)
    with torch.no_grad():
        product = min(timed(lambda: a @ b, args))
        convolution = min(timed(lambda: torch.nn.functional.conv2d(x, w, padding=1), args))
    return {
        "matrix product": 2 * n**3 / product,
        "3x3 convolution": 2 * images * size**2 * channels**2 * 9 / convolution,
    }


SIDES: dict[str, Callable[[argparse.Namespace], list[float]]] = {
    "numpy": partial(caffe_lite_side, engine="numpy"),
    "torch": partial(caffe_lite_side, engine="torch"),
    "compile": partial(caffe_lite_side, engine="torch", compile=True),
    "onnxruntime": partial(caffe_lite_side, engine="onnxruntime"),
    "exported": exported_side,
    "pytorch": pytorch_side,
}
SIDE = max(map(len, SIDES))
PROCESSES: dict[str, Callable[[argparse.Namespace], Any]] = {**SIDES, "peaks": peaks}


# -- the tables ------------------------------------------------------------------------------------------------------

TIMES = ("median ms", "least", "most", "ratio", "of leasts", "bar")


def print_header(*columns: tuple[str, int]) -> None:
    print_row(*(name.ljust(width) if i < 2 else name.rjust(width) for i, (name, width) in enumerate(columns)))
    print_row(*("-" * width if i < 2 else "-" * (width - 1) + ":" for i, (_, width) in enumerate(columns)))


def print_row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


def print_times(case: Case, processes: Mapping[str, list[list[float]]], bars: bool) -> None:
    """Print a row for each side, from the medians of its processes; the ratio of the leasts is disturbed least."""
    medians = {side: [1000 * median(seconds) for seconds in lists] for side, lists in processes.items()}
    theirs = medians.get("pytorch")
    for side, ours in medians.items():
        cells = [f"{value(ours):.2f}" for value in (median, min, max)]
        if theirs and side != "pytorch":
            cells += [f"{value(ours) / value(theirs):.2f}" for value in (median, min)]
            cells += [f"{case.bars[side]:.2f}"] if bars and side in case.bars else []
        print_cells(case, side, cells)
    if {"onnxruntime", "exported"} <= medians.keys():
        engine, alone = (medians[side] for side in FOR_TEST)
        ratios = [f"{value(engine) / value(alone):.3f}" for value in (median, min)]
        print_cells(case, "/ exported", ["", "", "", *ratios, f"{BAR_OF_EXPORTED:.2f}"])


def print_cells(case: Case, side: str, cells: list[str]) -> None:
    cells = [*cells, *[""] * (len(TIMES) - len(cells))]
    print_row(case.title.ljust(TITLE), side.ljust(SIDE), *(cell.rjust(9) for cell in cells))


def operations(case: Case) -> int:
    """Count the additions and multiplications in the matrix products of an iteration, without unneeded gradients."""
    from caffe_lite import Net
    from caffe_lite.inspection.costs import multiply_adds

    param = network(case)
    for layer in param.layer:
        # Only the shapes matter, and filling takes a long time.
        layer.convolution_param.ClearField("weight_filler")
        layer.inner_product_param.ClearField("weight_filler")
    total = 0
    for node in Net(param, param.state.phase, engine="numpy").nodes:
        passes = 1
        if node.need_backward:
            passes += any(node.bottom_need_backward) + any(node.layer.param_propagate_down)
        total += 2 * multiply_adds(node) * passes
    return total


def print_roofline(results: Mapping[str, Any]) -> None:
    peaks = results["peaks"]
    print(
        "\nGFLOP/s, and their part of the machine's peak. Measured: "
        + ", ".join(f"{name} {1e-9 * rate:.0f}" for name, rate in peaks.items())
        + "\n"
    )
    sides = [side for side in SIDES if any(side in processes for processes in results["seconds"].values())]
    print_header(("net", TITLE), ("GFLOP", 8), *((side, 11) for side in sides))
    for name, processes in results["seconds"].items():
        work = results["operations"][name]
        rates = {side: work / median(map(median, seconds)) for side, seconds in processes.items()}
        texts = {side: f"{1e-9 * rate:.0f} ({rate / max(peaks.values()):.0%})" for side, rate in rates.items()}
        cells = [texts.get(side, "").rjust(11) for side in sides]
        print_row(CASES[name].title.ljust(TITLE), f"{1e-9 * work:.2f}".rjust(8), *cells)


if __name__ == "__main__":
    main()
