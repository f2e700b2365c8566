"""Damaged files of every kind: a correct result or a CaffeError, quickly and with little memory, and nothing else.

A child process with limited memory reads the files, so that a crash is noticed as well:
``python tests/test_mutations.py KIND FOLDER COUNT``.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import re
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import pytest

from caffe_lite.errors import CaffeError

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden" / "solvers"
GIGABYTE = 2**30
SECONDS = 2.0

NET = """name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 3, 6, 6] } } }
layer {
  name: "conv" type: "Convolution" bottom: "data" top: "conv" # a comment
  param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 2 kernel_size: 3 pad: 1 stride: 2 weight_filler { type: "xavier" } }
}
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" relu_param { negative_slope: 0.1 } }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip" inner_product_param { num_output: 3 } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "ip" top: "loss" loss_weight: 1e-1 }
"""
V1 = """input: "data" input_dim: 1 input_dim: 3 input_dim: 6 input_dim: 6
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" blobs_lr: 1 blobs_lr: 2 param: "w"
  convolution_param { num_output: 2 kernel_size: 3 } }
layers { name: "ip" type: INNER_PRODUCT bottom: "conv" top: "ip" inner_product_param { num_output: 3 } }
"""
V0 = """input: "data" input_dim: 1 input_dim: 3 input_dim: 6 input_dim: 6
layers { layer { name: "pad" type: "padding" pad: 1 } bottom: "data" top: "pad" }
layers { layer { name: "conv" type: "conv" num_output: 2 kernelsize: 3 blobs_lr: 1 } bottom: "pad" top: "conv" }
"""
SOLVER = f"""net_param {{ {NET} }}
type: "Adam" base_lr: 0.01 lr_policy: "multistep" gamma: 0.5 stepvalue: [3, 6] momentum: 0.9 max_iter: 10
snapshot_prefix: "s" random_seed: 1 solver_mode: CPU
"""


# -- the kinds of files, and their readers -----------------------------------------------------------------------------


class Kind:
    """A kind of file: intact examples, and a reader whose result for truncated files is known.

    ``read`` returns the values read from the file by name. Each must be the value from the whole file or the one from
    before. This does not hold for text: a truncated number is another number.
    """

    text = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "file"

    def examples(self) -> list[bytes]:
        raise NotImplementedError

    def read(self) -> dict[str, bytes]:
        raise NotImplementedError

    def known(self, example: bytes) -> list[dict[str, bytes]]:
        """Return the allowed values after reading a truncated file, for each name."""
        self.path.write_bytes(example)
        return [self.read()]


class Prototxt(Kind):
    """Nets of all formats, which are then built."""

    text = True

    def examples(self) -> list[bytes]:
        return [NET.encode(), V1.encode(), V0.encode()]

    def read(self) -> dict[str, bytes]:
        from caffe_lite import TRAIN, Net
        from caffe_lite.proto.prototxt import read_net

        Net(read_net(self.path), TRAIN, engine="numpy", seed=0)
        return {}


class SolverPrototxt(Kind):
    text = True

    def examples(self) -> list[bytes]:
        return [SOLVER.encode(), b"solver_type: NESTEROV " + SOLVER.replace('type: "Adam"', "").encode()]

    def read(self) -> dict[str, bytes]:
        from caffe_lite.proto.prototxt import read_solver

        read_solver(self.path)
        return {}


class Weights(Kind):
    def examples(self) -> list[bytes]:
        from caffe_lite.net.weights import write_message

        write_message(self.path, self.net.to_proto(write_diff=True))
        binary = self.path.read_bytes()
        raw = self.net.to_proto()
        for layer in raw.layer:
            for blob in layer.blobs:
                half = np.array(blob.data, "<f2")
                blob.ClearField("data")
                blob.raw_data, blob.raw_data_type = half.tobytes(), blob.FLOAT16
        return [binary, raw.SerializeToString(), (GOLDEN / "sgd/s_iter_6.caffemodel").read_bytes()]

    @functools.cached_property
    def net(self):
        from caffe_lite import TEST, Net
        from caffe_lite.proto.caffe_pb2 import NetParameter
        from caffe_lite.proto.parser import parse_text

        return Net(parse_text(NET, NetParameter).message, TEST, engine="numpy", seed=0)

    def read(self) -> dict[str, bytes]:
        for param in self.net.learnable_params:
            param.blob.data[...] = 0
        report = self.net.copy_from(self.path)
        blobs = {f"{name}/{i}": blob for name in report.loaded for i, blob in enumerate(self.net.params[name])}
        return {name: blob.data.tobytes() for name, blob in blobs.items()}


class HDF5Weights(Weights):
    def examples(self) -> list[bytes]:
        self.net.save_hdf5(self.path)
        return [self.path.read_bytes(), (GOLDEN / "sgd/s_iter_6.caffemodel.h5").read_bytes()]


class BinaryNet(Weights):
    """Nets that upgrade-net reads and writes."""

    def examples(self) -> list[bytes]:
        from caffe_lite.proto.caffe_pb2 import NetParameter
        from caffe_lite.proto.parser import parse_text

        blobs = self.net.to_proto().layer[1].blobs
        v0, v1 = (parse_text(text, NetParameter).message for text in (V0, V1))
        v0.layers[1].layer.blobs.extend(blobs)
        v1.layers[0].blobs.extend(blobs)
        return [v0.SerializeToString(), v1.SerializeToString(), super().examples()[2]]

    def read(self) -> dict[str, bytes]:
        from caffe_lite.net.weights import read_caffemodel, write_message
        from caffe_lite.proto.parsed import Parsed
        from caffe_lite.proto.upgrade import upgrade_net

        net = read_caffemodel(self.path)
        upgrade_net(Parsed(net))
        write_message(self.folder / "upgraded", net)
        return {}


class State(Kind):
    hdf5 = False

    @functools.cached_property
    def solver(self):
        from caffe_lite.proto.caffe_pb2 import SolverParameter
        from caffe_lite.proto.parser import parse_text
        from caffe_lite.solvers import get_solver

        os.chdir(self.folder)
        param = parse_text(SOLVER, SolverParameter).message
        param.snapshot_format = SolverParameter.HDF5 if self.hdf5 else SolverParameter.BINARYPROTO
        return get_solver(param, engine="numpy")

    def examples(self) -> list[bytes]:
        self.solver.step(2)
        self.solver.snapshot()
        extension = ".solverstate.h5" if self.hdf5 else ".solverstate"
        original = "adam/s_iter_6" + extension
        return [Path(f"s_iter_2{extension}").read_bytes(), (GOLDEN / original).read_bytes()]

    def read(self) -> dict[str, bytes]:
        self.solver.restore(self.path)
        assert self.solver.iter >= 0
        return {f"history/{i}": array.tobytes() for i, array in enumerate(self.solver.history)}


class HDF5State(State):
    hdf5 = True


class SmallLMDB(Kind):
    def examples(self) -> list[bytes]:
        from tests.data.database_files import write_lmdb

        write_lmdb(self.folder / "db", [(b"%d" % i, bytes([i]) * 30) for i in range(9)])
        return [(self.folder / "db/data.mdb").read_bytes()]

    def read(self) -> dict[str, bytes]:
        from caffe_lite.data.databases.lmdb import LMDB

        database = LMDB(str(self.path))
        try:
            return {key.decode("latin-1"): value for key, value in database.records()}
        finally:
            database.close()


KINDS = {kind.__name__: kind for kind in (Prototxt, SolverPrototxt, Weights, HDF5Weights, BinaryNet, State, HDF5State)}
CUT_SHORT = {**KINDS, "SmallLMDB": SmallLMDB}


# -- damage ------------------------------------------------------------------------------------------------------------


def mutated(example: bytes, rng: random.Random) -> bytes:
    """Change, remove, repeat or move the bytes at one or a few places."""
    data = bytearray(example)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 10])):
        size = min(rng.choice([1, 1, 1, 2, 4, 8, 8, 40]), len(data))
        at = rng.randrange(len(data) - size + 1)
        old, other = data[at : at + size], rng.randrange(len(data) - size + 1)
        data[at : at + size] = rng.choice(
            [
                bytes(size),
                b"\xff" * size,
                rng.randbytes(size),
                data[other : other + size],
                bytes([old[0] ^ 1 << rng.randrange(8)]) + old[1:],
                bytes([old[0] ^ 1 << rng.randrange(8)]) + old[1:],
                b"",
                old + old,
                old * 50,
            ]
        )
    return bytes(data)


NUMBERS = ["0", "-1", "1", "7", "2147483647", "2147483648", "9223372036854775808", "4000000000", "0.5", "1e400", "nan"]
NUMBERS += ["-inf", "1e-400", "0x", "08", "9" * 5000]
WORDS = ["true", "MAX", '""', "'", '"' + "x" * 3000 + '"', r'"\xff"', "：", "\0", "", "#"]
MARKS = ["[", "{", "}", "]", "[]", "<", ":"]


def mutated_text(example: bytes, rng: random.Random) -> bytes:
    """Mutate the bytes, or replace words by others."""
    if rng.random() < 0.4:
        return mutated(example, rng)
    words = re.findall(r"\s+|[\w.-]+|\"[^\"]*\"|.", example.decode())
    numbers = [at for at, word in enumerate(words) if word[0].isdecimal()]
    others = [at for at, word in enumerate(words) if not word.isspace()]
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        if rng.random() < 0.5:
            words[rng.choice(numbers)] = rng.choice(NUMBERS)
        else:
            at = rng.choice(others)
            words[at] = rng.choice([*(rng.choice(some) for some in (WORDS, MARKS, words)), "", words[at] * 2])
    return "".join(words).encode()


def noise(example: bytes, rng: random.Random) -> bytes:
    """Return random bytes, or the head of a real file followed by random bytes."""
    head = example[: rng.choice([0, 0, 4, 8, 100])]
    return head + rng.randbytes(rng.choice([0, 1, 10, 1000, 20_000])) * rng.choice([1, 1, 50])


def deep(example: bytes, rng: random.Random) -> bytes:
    return example[: rng.randrange(len(example))] + rng.choice([b"layer {", b"{", b"[", b"\x0a\xff", b"<"]) * 20_000


def run(name: str, folder: Path, count: int) -> None:
    """Read so many damaged files; the first that ends badly is reported and left in the folder."""
    kind = CUT_SHORT[name](folder)
    rng = random.Random(name)
    examples = kind.examples()
    good, refused = 0, 0
    limit_memory()
    for example in examples:
        kind.path.write_bytes(example)
        with contextlib.suppress(CaffeError):  # some are weights of another net
            kind.read()
    for number in range(count):
        example = examples[number % len(examples)]
        change = noise if number % 20 == 7 else deep if number % 100 == 9 else mutated_text if kind.text else mutated
        if attempt(kind, change(example, rng), f"mutation {number}") is None:
            refused += 1
        else:
            good += 1
    print(good, refused)


def cut(name: str, folder: Path, step: int) -> None:
    """Read the first example of a kind, truncated at every place or at every so many places."""
    kind = CUT_SHORT[name](folder)
    example = kind.examples()[0]
    kind.path.write_bytes(example)
    whole = kind.read()
    limit_memory()
    refused = 0
    places = range(0, len(example), step)
    for place in places:
        result = attempt(kind, example[:place], f"cut at {place}")
        if result is None:
            refused += 1
        elif not kind.text and any(whole.get(name) != value for name, value in result.items()):
            sys.exit(f"cut at {place} gives other values")
    print(len(places) - refused, refused)


def attempt(kind: Kind, content: bytes, what: str) -> dict[str, bytes] | None:
    """Return the result, or None for a CaffeError; any other error ends the process."""
    kind.path.write_bytes(content)
    start = time.process_time()
    result = None
    try:
        result = kind.read()
    except CaffeError as error:
        str(error)
    except BaseException:  # this must never happen
        traceback.print_exc()
        sys.exit(f"{what} raised what is no CaffeError; the file is {kept(kind)}")
    if time.process_time() - start > SECONDS:
        sys.exit(f"{what} took {time.process_time() - start:.1f} s; the file is {kept(kind)}")
    return result


def kept(kind: Kind) -> str:
    return shutil.copy(kind.path, kind.folder / "bad")


def limit_memory() -> None:
    """Limit memory to one gigabyte more than is used now, if the system has such limits."""
    with contextlib.suppress(ImportError, FileNotFoundError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        size = pages * resource.getpagesize() + GIGABYTE
        resource.setrlimit(resource.RLIMIT_AS, (size, size))


def sparing(kind: str) -> int:
    """Return the factor by which to read fewer files, larger if each needs its own process."""
    if not kind.startswith("HDF5"):
        return 1
    from caffe_lite.files.hdf5 import _NEVER_CRASHES

    h5py = pytest.importorskip("h5py")
    return 40 if h5py.version.hdf5_version_tuple < _NEVER_CRASHES else 1


# -- tests -------------------------------------------------------------------------------------------------------------


def child(*arguments: object, **settings: str) -> tuple[int, int]:
    """Return the number of files that were read, and the number refused."""
    settings |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment = {**os.environ, **settings}
    done = subprocess.run(
        [sys.executable, __file__, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=280
    )
    if "MissingExtra" in done.stderr or "Skipped" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, f"status {done.returncode}: {done.stdout[-500:]}{done.stderr[-3000:]}"
    good, refused = map(int, done.stdout.split())
    return good, refused


@pytest.mark.parametrize("kind", KINDS)
def test_mutations(kind: str, tmp_path: Path) -> None:
    good, refused = child("mutate", kind, tmp_path, 150)
    assert good + refused == 150 and refused > 10


@pytest.mark.parametrize("kind", ["BinaryNet", "State"])
def test_mutations_read_by_protobuf_without_its_c_part(kind: str, tmp_path: Path) -> None:
    good, refused = child("mutate", kind, tmp_path, 150, PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION="python")
    assert good + refused == 150 and refused > 10


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_five_thousand_mutations(kind: str, tmp_path: Path) -> None:
    count = (5_000 // len(KINDS) + 1) // sparing(kind)
    good, refused = child("mutate", kind, tmp_path, count)
    assert good + refused == count and good > count / 50 and refused > count / 10


@pytest.mark.parametrize("kind", CUT_SHORT)
def test_files_cut_short(kind: str, tmp_path: Path) -> None:
    good, refused = child("cut", kind, tmp_path, 37 * sparing(kind))
    assert refused > good


@pytest.mark.slow
@pytest.mark.parametrize("kind", CUT_SHORT)
def test_files_cut_short_at_every_place(kind: str, tmp_path: Path) -> None:
    good, refused = child("cut", kind, tmp_path, sparing(kind))
    assert refused > good


if __name__ == "__main__":
    {"mutate": run, "cut": cut}[sys.argv[1]](sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
