"""Several processes that form a group, each of which calls one function."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_CALL = """
import importlib, json, os, sys
from caffe_lite import ranks
from caffe_lite.workers.environment import place_in
from caffe_lite.workers.group import Group
module, function, arguments = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
with Group(place_in(os.environ)) as group:
    ranks.set_solver_count(group.count)
    ranks.set_solver_rank(group.rank)
    result = getattr(importlib.import_module(module), function)(group, *arguments)
    print("result", json.dumps(result))
"""


def together(count: int, function: Callable[..., Any], *arguments: Any, timeout: float = 100) -> list[Any]:
    """Call ``function(group, *arguments)`` in so many processes; return what each returns. All of it is JSON."""
    import torch.distributed

    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    call = [function.__module__, function.__name__, json.dumps(arguments)]
    common = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1"}
    common |= {"MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True", "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _CALL, *call],
            env=os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank), "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    try:
        ended = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert not any(process.returncode for process in processes), "\n".join(errors for _, errors in ended)
    return [_result(output.splitlines()) for output, _ in ended]


def _result(lines: Sequence[str]) -> Any:
    return next(json.loads(line.removeprefix("result ")) for line in lines if line.startswith("result "))
