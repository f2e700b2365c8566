"""Run random nets on every engine and report where they differ: tops, and the gradients of parameters and inputs.

The engines' float32 results are compared with NumPy's float64. To find out how far float32's rounding errors can move
the results of a net, including its kinks and jumps, the float64 net is perturbed by errors of that size. Any larger
deviation is a difference. Nets run in child processes, so that a crash or a net that does not end is a finding, too. A
finding shows the seed and the net.

    python tools/differential.py --nets 10000 --seed 0
    python tools/differential.py --nets 200 --compiled
    python tools/differential.py --net 4711         one net, in this process, with a traceback
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

if __name__ == "__main__":  # use the checkout that contains this file, wherever it is started
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from random_nets import RandomNet, random_net

from caffe_lite import TEST, Net
from caffe_lite.errors import CaffeError
from caffe_lite.net.wiring import Node
from caffe_lite.ops.array import Array

Record = dict[str, np.ndarray]

# The last bit of a result, relative to the largest value of its array: sums of some hundred terms lose a few bits.
ROUNDING = {"float32": 2.0**-22, "float64": 2.0**-51}
# Winograd's filtering loses more, and so do sequential sums over all pixels, which oneDNN computes for a bias.
COARSE = dict.fromkeys(("Convolution", "Deconvolution"), 2.0**-15)
# These layers only move values: they round nothing, and equal values stay equal.
EXACT = {
    *("Input", "Parameter", "Split", "Concat", "Slice", "Crop", "Tile", "Flatten", "Reshape", "Im2col", "Silence"),
    *("BatchReindex", "Filter", "ReLU", "AbsVal", "Threshold", "ArgMax", "Accuracy"),
}
# A logistic function is a fraction of 1, and has the rounding errors of 1 even where it is small.
OF_ONE = {"Sigmoid", "Swish", "LSTM", "LSTMUnit"}
# Beyond these limits a float32 loses bits or overflows, and comparing makes no sense.
LARGEST, SMALLEST = 1e12, 1e-12
# The number of times that the float64 net is perturbed before its spread is accepted as small.
SHAKES = 40


class Result(NamedTuple):
    """The result of a net: "agree", "unsuitable" or a kind of finding, and a message."""

    kind: str
    what: str = ""


# -- one net ---------------------------------------------------------------------------------------------------------


def compare(random: RandomNet, compiled: bool = False) -> Result:
    """Run a net on every engine."""
    try:
        exact = Reference(random)
    except CaffeError as error:
        return Result("refused", _on_torch(random, error))
    if not exact.suitable:
        return Result("unsuitable")
    ways: list[tuple[str, str, bool]] = [("numpy", "float32", False), ("torch", "float32", False)]
    ways += [("torch", "float32", True)] if compiled else [("torch", "float64", False)]
    for engine, dtype, compile in ways:
        name = f"{engine} {dtype}{' compiled' if compile else ''}"
        try:
            got = record(random, random.make(engine, dtype, compile))
        except CaffeError as error:
            return Result("refused by one", f"{name}: {error}")
        except Exception:
            return Result("error", f"{name}: {traceback.format_exc()}")
        if apart := exact.apart(got, dtype):
            return Result("differs", f"{name}: {apart}")
    return Result("agree")


def _on_torch(random: RandomNet, error: CaffeError) -> str:
    """Return the error if torch refuses the net with the same one."""
    try:
        record(random, random.make("torch"))
    except CaffeError as other:
        if str(other) == str(error):
            return str(error)
        raise AssertionError(f"numpy refuses it: {error}\ntorch: {other}") from None
    raise AssertionError(f"only numpy refuses it: {error}")


def record(random: RandomNet, net: Net, shake: Shake | None = None) -> Record:
    """Return everything that a user can read after running passes, by name.

    A TEST net runs forward more than once: engines fold weights that stay the same.
    """
    compiled = net.compile
    values: Record = {}
    for _ in range(3 if random.phase == TEST else 1):
        random.fill(net)
        if shake:
            shake.sources(random, net)
            shake.forward(net)
        elif not (compiled and random.phase != TEST):
            net.forward()
    learned = {name for node in net.nodes if node.layer.type == "Parameter" for name in node.top_names}
    for name in {*net.outputs} - learned:  # the diff of a Parameter's top is that of the parameter
        if not net.blob_loss_weights[name]:
            net.blobs[name].diff[...] = _top_gradient(random, name, net.blobs[name].shape)
    net.clear_param_diffs()
    if shake:
        shake.backward(net)
    elif not compiled:
        net.backward()
    elif random.phase != TEST:
        net.forward_backward_pass()
    for name in net.outputs if compiled else net.blobs:
        values[f"data of {name}"] = net.blobs[name].data
        if not compiled and name not in random.exact:
            values[f"diff of {name}"] = net.blobs[name].diff
    for layer, blobs in net.params.items():
        for i, blob in enumerate(blobs):
            values[f"param {i} of {layer}"] = blob.data
            if not (compiled and random.phase == TEST):
                values[f"diff of param {i} of {layer}"] = blob.diff
    return {name: np.array(array, np.float64) for name, array in values.items()}


def _top_gradient(random: RandomNet, name: str, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng([random.seed, *name.encode()])
    return rng.standard_normal(shape).astype(np.float32)


class Reference:
    """A net in float64, and how far its results move when it is perturbed."""

    def __init__(self, random: RandomNet) -> None:
        self.random = random
        self.values = record(random, random.make("numpy", "float64"))
        self.spreads: dict[str, tuple[int, dict[str, float]]] = {}

    @property
    def suitable(self) -> bool:
        """True if float32 can hold the values that the net computes."""
        for values in self.values.values():
            largest = np.abs(values).max(initial=0)
            if not largest < LARGEST or 0 < largest < SMALLEST:
                return False
        return True

    def apart(self, got: Record, dtype: str) -> str:
        """Describe where a record differs by more than rounding explains; return "" if it differs nowhere."""
        shakes = 0
        while True:
            spread = self.spread(dtype, shakes)
            apart = [*self._apart(got, dtype, spread)]
            if not apart or shakes == SHAKES:
                return "; ".join(apart)
            shakes = min(SHAKES, 2 * shakes + 4)

    def _apart(self, got: Record, dtype: str, spread: dict[str, float]) -> Iterator[str]:
        for name, mine in got.items():
            exact = self.values[name]
            if mine.shape != exact.shape:
                yield f"{name} has the shape {mine.shape}, not {exact.shape}"
            elif mine.size:
                off, largest = float(np.abs(mine - exact).max()), float(np.abs(exact).max())
                allowed = 4 * ROUNDING[dtype] * largest + 4 * spread.get(name, 0.0)
                if not off <= max(allowed, float(np.finfo(np.float32).tiny)):
                    at = tuple(int(i) for i in np.unravel_index(np.abs(mine - exact).argmax(), exact.shape))
                    yield f"{name} {list(at)} is {mine[at]:.9g}, not {exact[at]:.9g} (of {largest:.3g})"

    def spread(self, dtype: str, shakes: int) -> dict[str, float]:
        """Return how far each array has moved so far."""
        seen, spread = self.spreads.get(dtype, (0, {}))
        for number in range(seen, shakes):
            # Some larger, some smaller than the usual rounding errors: a jump may need either.
            shake = Shake(dtype, np.random.default_rng([self.random.seed, number]), 4.0 if number % 2 else 1.0)
            shaken = record(self.random, self.random.make("numpy", "float64"), shake)
            for name, values in shaken.items():
                exact = self.values[name]
                moved = np.abs(values - exact).max(initial=0) if values.shape == exact.shape else np.inf
                spread[name] = max(spread.get(name, 0.0), float(np.nan_to_num(moved, nan=np.inf)))
        self.spreads[dtype] = max(seen, shakes), spread
        return spread


class Shake:
    """Adds random numbers, as large as the rounding errors of a dtype, to the results of layers."""

    def __init__(self, dtype: str, rng: np.random.Generator, strength: float) -> None:
        self.dtype = dtype
        self.rng = rng
        self.strength = strength

    def moved(self, array: Array, type: str = "") -> np.ndarray:
        values = np.asarray(array)
        unit = ROUNDING[self.dtype]
        if self.dtype == "float32":
            unit = COARSE.get(type, unit)
        size = self.strength * unit * np.abs(values).max(initial=type in OF_ONE)
        # Move each value separately, and all together: a mean's rounding error moves everything centred with it.
        return values + np.asarray(self.rng.uniform(-size, size, values.shape)) + self.rng.uniform(-size, size)

    def sources(self, random: RandomNet, net: Net) -> None:
        for name in net.inputs:
            if name not in random.exact:
                net.blobs[name].data[...] = self.moved(net.blobs[name].data)

    def forward(self, net: Net) -> None:
        def run(node: Node) -> None:
            node.reshape()
            node.forward()
            if node.layer.type not in EXACT:
                self._kept(node)
                for top in node.top[: 1 if node.layer.type == "Pooling" else None]:
                    top.data = self.moved(top.data, node.layer.type)

        self._each(net, net.nodes, run)

    def _kept(self, node: Node) -> None:
        """Round the values that the layer keeps for its backward pass to the same number of bits."""
        for name, kept in vars(node.layer.saved).items():
            setattr(node.layer.saved, name, self._rounded(kept, node.layer.type))

    def _rounded(self, kept: Any, type_: str) -> Any:
        if isinstance(kept, (np.ndarray, np.floating)) and kept.dtype == np.float64:
            unit = self.strength * ROUNDING[self.dtype] * np.maximum(np.abs(kept), type_ in OF_ONE)
            return kept + unit * (self.rng.uniform(-1, 1, kept.shape) + self.rng.uniform(-1, 1))
        if type(kept) in (list, tuple):
            return type(kept)(self._rounded(part, type_) for part in kept)
        return kept

    def backward(self, net: Net) -> None:
        for node in net.nodes:
            for name, top, weight in zip(node.top_names, node.top, node.loss_weights, strict=True):
                if weight or name in net.outputs:
                    top.diff = self.moved(top.diff)

        def run(node: Node) -> None:
            node.backward()
            if node.need_backward and node.layer.type not in EXACT - {"Tile", "Split", "Im2col", "BatchReindex"}:
                for bottom, needed in zip(node.bottom, node.bottom_need_backward, strict=True):
                    if needed:
                        bottom.diff = self.moved(bottom.diff, node.layer.type)
                for blob in node.layer.blobs:
                    if blob.has_diff:
                        blob.diff = self.moved(blob.diff, node.layer.type)

        self._each(net, net.nodes[::-1], run)

    def _each(self, net: Net, nodes: Sequence[Node], run: Callable[[Node], None]) -> None:
        with net.ops.quiet():
            for node in nodes:
                run(node)


# -- many nets, in child processes -----------------------------------------------------------------------------------


class Finding(NamedTuple):
    seed: int
    kind: str
    what: str
    net: str


class Runner:
    """Runs nets in child processes, some hundred in each, and collects their results."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.todo: queue.SimpleQueue[list[int]] = queue.SimpleQueue()
        self.counts: Counter[str] = Counter()
        self.findings: list[Finding] = []
        self.lock = threading.Lock()

    def run(self, seeds: Sequence[int]) -> None:
        for start in range(0, len(seeds), self.args.batch):
            self.todo.put(list(seeds[start : start + self.args.batch]))
        workers = [threading.Thread(target=self._work) for _ in range(self.args.jobs)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    def _work(self) -> None:
        while True:
            try:
                seeds = self.todo.get_nowait()
            except queue.Empty:
                return
            while seeds:
                seeds = self._batch(seeds)

    def _batch(self, seeds: list[int]) -> list[int]:
        """Run these nets in one process; if one of them ends it, return those after it."""
        started: dict[str, Any] = {}
        with Child(seeds, self.args) as child:
            for line in child:
                if "result" in line:
                    self._note(line["seed"], Result(*line["result"]), started["net"])
                    started = {}
                else:
                    started = line
        if child.how_it_ended is None:
            return []
        if not started:  # it died between two nets, or before the first
            self._note(seeds[0], Result("crash", f"{child.how_it_ended}, in no net\n{child.said}"), "")
            return []
        seed = started["seed"]
        again = child.how_it_ended
        if len(seeds) > 1:
            with Child([seed], self.args) as alone:
                lines = list(alone)
            again = f"{again}; alone: {alone.how_it_ended or lines[-1].get('result')}"
        what = f"{again}, in a process that began with net {seeds[0]}\n{child.said}"
        self._note(seed, Result("no end" if child.timed_out else "crash", what), started.get("net", ""))
        return seeds[seeds.index(seed) + 1 :]

    def _note(self, seed: int, result: Result, net: str) -> None:
        with self.lock:
            self.counts[result.kind] += 1
            if result.kind not in ("agree", "unsuitable", "refused"):
                self.findings.append(Finding(seed, *result, net))
                print(f"-- net {seed}: {result.kind}\n{result.what}\n{net}", flush=True)
            done = self.counts.total()
            if done % 500 == 0:
                print(f"{done} nets: {_counted(self.counts)}", flush=True)


class Child:
    """A process that runs nets; it reports the start and the result of each as a line of JSON."""

    def __init__(self, seeds: Sequence[int], args: argparse.Namespace) -> None:
        self.timeout = args.timeout
        command = [sys.executable, __file__, "--child", *(f"--{name}" for name in FLAGS if getattr(args, name))]
        # Threads that wait by spinning would take the cores of those that compute.
        environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads), "OMP_WAIT_POLICY": "passive"}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=environment,
        )
        assert self.process.stdin
        self.process.stdin.write(json.dumps(list(seeds)))
        self.process.stdin.close()
        self.lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.timed_out = False
        self.how_it_ended: str | None = None
        self.said = ""

    def __enter__(self) -> Child:
        return self

    def __iter__(self) -> Iterator[dict[str, Any]]:
        reader = threading.Thread(target=self._read)
        errors = threading.Thread(target=self._read_errors)
        reader.start()
        errors.start()
        while True:
            try:
                line = self.lines.get(timeout=self.timeout)
            except queue.Empty:
                self.timed_out = True
                self.process.kill()
                break
            if not line:
                break
            yield json.loads(line)
        status = self.process.wait()
        reader.join()
        errors.join()
        if self.timed_out:
            self.how_it_ended = f"nothing for {self.timeout} s"
        elif status:
            self.how_it_ended = f"killed by signal {-status}" if status < 0 else f"exit status {status}"

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def _read_errors(self) -> None:
        assert self.process.stderr
        self.said = self.process.stderr.read()[-2000:]

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe
            pipe.close()


def child(args: argparse.Namespace) -> None:
    """Run the nets whose seeds are on standard input."""
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # keep the output of libraries apart from our lines
    for seed in json.load(sys.stdin):
        begin = {"seed": seed, "net": ""}
        try:
            random = made(seed, args)
            begin["net"] = f"phase {'TEST' if random.phase == TEST else 'TRAIN'}\n{random.text}"
            print(json.dumps(begin), file=lines, flush=True)
            result = compare(random, args.compiled)
        except Exception:
            if not begin["net"]:
                print(json.dumps(begin), file=lines, flush=True)
            result = Result("error", traceback.format_exc())
        print(json.dumps({"seed": seed, "result": result}), file=lines, flush=True)


def made(seed: int, args: argparse.Namespace) -> RandomNet:
    return random_net(seed, compilable=args.compiled, empty=args.empty)


# -- the command -----------------------------------------------------------------------------------------------------

FLAGS = ("compiled", "empty")


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", type=int, default=1000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the first net (default: %(default)s)")
    parser.add_argument("--compiled", action="store_true", help="compiled passes too: several seconds a net")
    parser.add_argument("--empty", action="store_true", help="axes of no element too")
    parser.add_argument("--threads", type=int, default=1, help="of each process (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=200, help="nets in a process (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=300, help="seconds for a net (default: %(default)s)")
    parser.add_argument("--net", type=int, metavar="SEED", help="show this net and run it here")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(given)


def main() -> int:
    args = arguments()
    if args.child:
        child(args)
        return 0
    if args.net is not None:
        random = made(args.net, args)
        print(f"phase {'TEST' if random.phase == TEST else 'TRAIN'}\n{random.text}")
        result = compare(random, args.compiled)
        print(*result)
        return result.kind not in ("agree", "unsuitable", "refused")
    begin = time.perf_counter()
    runner = Runner(args)
    runner.run(range(args.seed, args.seed + args.nets))
    print(f"{args.nets} nets from {args.seed} on, {time.perf_counter() - begin:.0f} s: {_counted(runner.counts)}")
    for finding in runner.findings:
        print(f"  net {finding.seed}: {finding.kind}: {(finding.what.strip() or '?').splitlines()[-1][:200]}")
    return bool(runner.findings)


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.most_common())


if __name__ == "__main__":
    sys.exit(main())
