"""tools/scaling_model.py: limits, buckets, the table; tools/measure_exchange.py: its fit, and two processes."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from caffe_lite.proto.prototxt import read_net

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / "tools"
INSTANT = 8, math.inf, 0.0, math.inf, 0.0
MIB = 2**20


@pytest.fixture
def model(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    import scaling_model

    return scaling_model


@pytest.fixture
def three(model):
    """Three layers: 2 MiB of gradients that are complete after half of the backward pass, 4 and 1 later."""
    steps = [("bottom", 1, 1, (MIB,)), ("middle", 1, 1, (3 * MIB, MIB)), ("top", 2, 2, (2 * MIB,)), ("loss", 0, 0, ())]
    return model.Work(10, [model.Step(*step, 3) for step in steps])


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TOOLS / "scaling_model.py"), *words],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"}, capture_output=True, text=True,
    )  # fmt: skip


def table(*words: str) -> list[list[str]]:
    done = run(*words)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()[2:]]
    assert all(len(row) == 7 for row in rows)
    return rows[2:]


def test_the_work_of_lenet(model):
    work = model.work_of(read_net(ROOT / "configs/lenet/net.prototxt"))
    assert work.batch == 64
    assert work.gradient == 4 * 431_080
    assert [step.gradients for step in work.steps if step.gradients] == [
        (4 * weights, 4 * biases) for weights, biases in ((500, 20), (25_000, 50), (400_000, 500), (5_000, 10))
    ]
    # Per image, 20 maps of 24 x 24 with 25 weights each, and so on; the gradient of the image is not needed.
    first, others = 20 * 24**2 * 25, 50 * 8**2 * 500 + 800 * 500 + 500 * 10
    assert work.operations == 2 * 64 * (2 * first + 3 * others)


def test_shared_gradients_are_complete_when_their_owner_is(model):
    work = model.work_of(read_net(ROOT / "configs/mnist_siamese/net.prototxt"))
    assert work.gradient == 4 * 431_102
    named = {step.name: step.gradients for step in work.steps}
    assert len(named["conv1"]) == 2 and named["conv1_p"] == ()


def test_buckets_fill_from_the_top(model, three):
    found = model.buckets(three, 3 * MIB)
    assert found == [(5 * MIB, 0.75), (MIB, 0.75), (MIB + model.LAST_BYTES, 1.0)]
    assert sum(bucket.size for bucket in found) == three.gradient + model.LAST_BYTES
    assert model.buckets(model.Work(1, []), 3 * MIB) == [(model.LAST_BYTES, 1.0)]


def test_they_are_those_that_training_sends(model):
    pytest.importorskip("torch")
    from bench import CASES, network

    from caffe_lite import Net
    from caffe_lite.proto.parsed import Parsed
    from caffe_lite.workers.reducer import Reducer

    param = network(CASES["googlenet"])
    for layer in param.layer:  # only the shapes matter
        layer.convolution_param.ClearField("weight_filler")
        layer.inner_product_param.ClearField("weight_filler")
    net = Net(param, param.state.phase, engine="torch")
    *found, last = model.buckets(model.work_of(Parsed(param)), 10 * MIB)
    *sent, end = Reducer(None, net._caffe_graph)._current()
    assert [bucket.size for bucket in found] == [bucket.bytes for bucket in sent]
    assert len(found) == 6 and last.size == end.bytes + model.LAST_BYTES


def test_one_worker_exchanges_nothing(model, three):
    one = model.alone(three, rate=2.0, memory=1e3)
    links = model.Links(8, 1.0, 1.0, 1.0, 1.0)
    found = model.predict(1, one, model.buckets(three, MIB), links, overlap=0.0, spread=0.1)
    update = 20 / 4 * three.gradient / 1e3
    assert found == (1, 4.0 + update, 0.0, 0.0, 0.0, 4.0 + update)


@pytest.mark.parametrize("workers", [2, 8, 9, 1024])
def test_nothing_is_lost_over_instant_links(model, three, workers):
    one = model.alone(three, rate=2.0, memory=math.inf)
    for algorithm in model.ALGORITHMS:
        links = model.Links(*INSTANT, algorithm)
        assert model.predict(workers, one, model.buckets(three, MIB), links, overlap=0.0).total == 4.0


def test_without_overlap_the_exchange_is_added(model, three):
    one = model.alone(three, rate=2.0, memory=math.inf)
    links = model.Links(8, 1e6, 0.0, 1.0, 0.0, "ring")
    filled = model.buckets(three, MIB)
    none, half, full = (model.predict(4, one, filled, links, overlap=share) for share in (0.0, 0.5, 1.0))
    exchange = 2 * 3 / 4 * (three.gradient + model.LAST_BYTES) / 1e6
    assert none.exchange == pytest.approx(exchange)
    assert none.total == pytest.approx(4.0 + exchange)
    assert full.total < half.total < none.total
    assert half.total == pytest.approx((full.total + none.total) / 2)


def test_the_backward_pass_hides_what_is_ready_early(model, three):
    one = model.alone(three, rate=2.0, memory=math.inf)  # backward takes 2 s
    filled = model.buckets(three, 3 * MIB)
    assert filled[-1].size == MIB + 12
    fast = model.Links(8, 20 * MIB, 0.0, 1.0, 0.0, "ring")
    assert model.predict(2, one, filled, fast).shown == pytest.approx(0.05, rel=1e-4), "only the last bucket's time"
    slow = model.Links(8, MIB, 0.0, 1.0, 0.0, "ring")
    found = model.predict(2, one, filled, slow)
    assert found.shown == pytest.approx(1.5 + found.exchange - 2.0), (
        "the first begins after 1.5 s, then without a pause"
    )


def test_all_reduce(model):
    links = {"per_machine": 8, "inside": 100.0, "inside_latency": 1.0, "network": 10.0, "network_latency": 3.0}
    ring, tree, best = (model.Links(**links, algorithm=name) for name in ("ring", "tree", "best"))
    assert model.all_reduce(1e3, 8, ring) == pytest.approx(2 * 7 / 8 * 10 + 2 * 7 * 1)
    assert model.all_reduce(1e3, 16, ring) == pytest.approx(2 * 15 / 16 * 100 + 2 * (14 * 1 + 1 * 3))
    assert model.all_reduce(1e3, 16, tree) == pytest.approx(2 * 100 + 2 * (3 * 1 + 1 * 3))
    assert model.all_reduce(1e9, 1024, ring) < model.all_reduce(1e9, 1024, tree)
    assert model.all_reduce(1.0, 1024, tree) < model.all_reduce(1.0, 1024, ring)
    for size in (1.0, 1e3, 1e9):
        assert model.all_reduce(size, 1024, best) == min(model.all_reduce(size, 1024, links) for links in (ring, tree))
    alone_on_machines = model.Links(**links | {"per_machine": 1}, algorithm="ring")
    assert model.all_reduce(1e3, 4, alone_on_machines) == pytest.approx(2 * 3 / 4 * 100 + 2 * 3 * 3)


def test_an_iteration_of_several_batches(model, three):
    one = model.alone(three, rate=2.0, memory=math.inf, iter_size=3)
    assert one[:3] == (3 * 4.0 - 2.0, 2.0, 0.0), "only the last backward pass hides anything"


def test_small_layers_take_the_time_of_their_launch(model, three):
    assert sum(model.alone(three, rate=1e9, memory=math.inf, launch=0.5)[:2]) == 4 * 3 * 0.5
    assert sum(model.alone(three, rate=2.0, memory=math.inf, launch=1e-9)[:2]) == 4.0


def test_a_measured_iteration_and_a_divided_batch(model, three):
    update = 20 / 4 * three.gradient / 1e9
    one = model.alone(three, rate=1.0, memory=1e9, iteration=1.0)
    assert sum(one[:3]) == pytest.approx(1.0) and one.update == pytest.approx(update)
    divided = model.alone(three, rate=1.0, memory=1e9, iteration=1.0, parts=4)
    assert sum(divided[:2]) == pytest.approx((1.0 - update) / 4) and divided.update == one.update


def test_all_wait_for_the_slowest(model, three):
    one = model.alone(three, rate=2.0, memory=math.inf)
    times = [model.predict(n, one, [], model.Links(*INSTANT), spread=0.1).compute for n in (1, 2, 100)]
    # The expected largest of so many standard normal numbers: 0, 0.564 and 2.508.
    assert times == pytest.approx([4.0, 4.2256, 5.0032], rel=0.005)


def test_the_table():
    rows = table("configs/lenet/net.prototxt", "--workers", "1,8,16")
    assert [row[0] for row in rows] == ["1", "8", "16"]
    assert rows[0][2:4] == ["0", "0"] and rows[0][-1] == "100%"
    efficiencies = [float(row[-1].rstrip("%")) for row in rows]
    assert efficiencies == sorted(efficiencies, reverse=True)
    for row in rows:
        compute, _, shown, total = map(float, row[1:5])
        assert total == pytest.approx(compute + shown, rel=2e-3)


@pytest.mark.slow
def test_the_tables_of_the_documentation():
    page = (ROOT / "docs/scaling.md").read_text(encoding="utf-8")
    ethernet = page.index("--network 1.1 --network-latency 50`")
    found = list(re.finditer(r"^\| (\w+), (\d+) \| ([\d.]+) \| ([\d.]+) ms \| (.*) \|$", page, re.MULTILINE))
    assert len(found) == 12
    for row in found:
        name, batch, size, alone, efficiencies = row.groups()
        words = [f"configs/{name}/net.prototxt", "--spread", "0.02"]
        words += ["--input", f"{batch},3,32,32"] if name == "cifar10_quick" else []
        words += ["--network", "1.1", "--network-latency", "50"] if row.start() > ethernet else []
        done = run(*words)
        first, *others = [line.split("|")[1:-1] for line in done.stdout.splitlines()[4:]]
        head = re.search(r"batch (\d+), .*gradients ([\d.]+) MB", done.stdout)
        assert head[1] == batch and f"{float(head[2]):.3g}" == size
        assert f"{float(first[4]):.3g}" == alone
        assert [cells[-1].strip() for cells in others] == efficiencies.split(" | "), name


def test_reading_limits():
    (row,) = table("configs/lenet/net.prototxt", "--workers", "4", "--storage", "1000")
    assert row[4:6] == ["256 (reading)", "1000"]


def test_data_that_is_not_here():
    done = run("configs/cifar10_quick/net.prototxt")
    assert done.returncode == 1 and "--input" in done.stderr
    done = run("configs/cifar10_quick/net.prototxt", "--input", "100,3,32,32", "--workers", "2")
    assert done.returncode == 0 and "batch 100, 6.921 GFLOP" in done.stdout
    done = run("configs/lenet/net.prototxt", "--split-batch", "--workers", "65")
    assert done.returncode == 1 and "a batch of 64 cannot be divided among 65 workers" in done.stderr
    assert run("configs/lenet/net.prototxt", "--overlap", "2").returncode == 2


def test_the_fit_finds_bandwidth_and_latency(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    from measure_exchange import fit

    sizes = [4e3, 1e6, 25e6]
    bandwidth, latency = fit(4, sizes, [2 * 3 / 4 * size / 2e9 + 2 * 3 * 50e-6 for size in sizes])
    assert bandwidth == pytest.approx(2e9) and latency == pytest.approx(50e-6)


@pytest.mark.slow
def test_two_processes_measure_their_exchange():
    pytest.importorskip("torch")
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         str(TOOLS / "measure_exchange.py"), "--megabytes", "0.01,1", "--repeat", "3"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 workers") and done.stdout.count("fit: ") == 1
