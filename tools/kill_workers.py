"""Kill workers at random moments of their training, and compare what follows with a run that nobody disturbs.

Each time, `caffe-lite train --workers N` starts anew in a folder of its own, a random worker gets SIGKILL at a random
moment between its start and the run's end, and the run must end within 30 seconds with a message that names that
worker. Then it is resumed from its newest snapshot, or started again if there is none, and must end with the same
weights, bit for bit.

    python tools/kill_workers.py --kills 50
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LENET = ROOT / "configs" / "lenet"
LIMIT = 30.0

RELU = 'layer {\n  name: "relu1"\n  type: "ReLU"\n  bottom: "ip1"\n  top: "ip1"\n}'
DROPOUT = 'layer { name: "drop" type: "Dropout" bottom: "ip1" top: "ip1" }'
SOLVER = """\
net: "net.prototxt"
base_lr: 0.02 lr_policy: "poly" power: 1 momentum: 0.9 weight_decay: 0.0005
max_iter: {iterations} display: 10 test_iter: 10 test_interval: 20 snapshot: {snapshot} snapshot_prefix: "lenet"
random_seed: 5
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--snapshot", type=int, default=5, help="iterations between two snapshots")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    chance = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        wanted = weights(finished(new_run(Path(folder) / "unbroken", args), args.workers), args.iterations)
        whole = time.monotonic() - begin
        print(f"unbroken: {whole:.1f} s")
        bad = kills = tries = 0
        while kills < args.kills:
            tries += 1
            run = new_run(Path(folder) / str(tries), args)
            found = killed(run, args.workers, chance.randrange(args.workers), chance.uniform(0, whole))
            if found is None:
                continue  # it was over before
            kills += 1
            problem, what = found
            state = newest_state(run)
            if not problem:
                finished(run, args.workers, *(["--snapshot", state] if state else []))
                if weights(run, args.iterations) != wanted:
                    problem = "the resumed run has ended with other weights"
            bad += bool(problem)
            print(f"{kills}: {what}; resumed from {state or 'the beginning'}: {problem or 'equal'}", flush=True)
    print(f"{args.kills - bad} of {args.kills} right")
    return bool(bad)


def new_run(folder: Path, args: argparse.Namespace) -> Path:
    """Make the folder of a run."""
    folder.mkdir()
    net = (LENET / "net.prototxt").read_text(encoding="utf-8").replace("configs/lenet", LENET.as_posix())
    net = net.replace(RELU, f"{RELU}\n{DROPOUT}")  # its masks are drawn: a state must hold every worker's generator
    (folder / "net.prototxt").write_text(net, encoding="utf-8")
    (folder / "solver.prototxt").write_text(SOLVER.format(iterations=args.iterations, snapshot=args.snapshot))
    return folder


def command(workers: int, *more: str) -> list[str]:
    return [sys.executable, "-m", "caffe_lite", "train", "solver.prototxt", "--workers", str(workers), *more]


def finished(run: Path, workers: int, *more: str) -> Path:
    """Train to the end."""
    subprocess.run(command(workers, *more), cwd=run, capture_output=True, check=True, timeout=600)
    return run


def killed(run: Path, workers: int, rank: int, moment: float) -> tuple[str, str] | None:
    """Start to train and kill a worker so many seconds after it has started.

    Returns what went wrong, or nothing, and what happened; None if the run was over before.
    """
    launcher = subprocess.Popen(command(workers), cwd=run, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        while worker_of(launcher.pid, rank) is None and launcher.poll() is None:
            time.sleep(0.02)
        time.sleep(moment)
        if (victim := worker_of(launcher.pid, rank)) is None:
            return None
        os.kill(victim, signal.SIGKILL)
        begin = time.monotonic()
        _, log = launcher.communicate(timeout=10 * LIMIT)
        took = time.monotonic() - begin
        if launcher.returncode == 0:
            return None
        message = log.rstrip().splitlines()[-1] if log.strip() else ""
        what = f"worker {rank} killed after {moment:.1f} s, ended in {took:.1f} s: {message.partition('. ')[0]}"
        if took > LIMIT:
            return "too late", what
        return ("" if f"worker {rank} was killed by SIGKILL" in message else "another message"), what
    finally:
        launcher.kill()


def worker_of(launcher: int, rank: int) -> int | None:
    """Return the process of a worker, if it runs."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            variables = (process / "environ").read_bytes().split(b"\0")
        except (OSError, IndexError):
            continue
        if parent == launcher and f"RANK={rank}".encode() in variables:
            return int(process.name)
    return None


def newest_state(run: Path) -> str:
    """Return the name of the newest state whose weights were written, too."""
    states = sorted(run.glob("lenet_iter_*.solverstate"), key=lambda path: int(path.stem.rpartition("_")[2]))
    return states[-1].name if states else ""


def weights(run: Path, iteration: int) -> str:
    """Return a digest of the weights that a run has ended with."""
    return hashlib.sha256((run / f"lenet_iter_{iteration}.caffemodel").read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
