"""tools/bench_workers.py prints a row for each net, and each process sends about the bytes of the gradients."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "bench_workers.py"


@pytest.mark.slow
def test_it_prints_a_table() -> None:
    pytest.importorskip("torch")
    words = [str(TOOL), "lenet:8", "--rounds", "2", "--seconds", "0.3"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=120, check=True)
    *_, row = done.stdout.splitlines()
    net, alone, together, efficiency, _, gradients, sent = (cell.strip() for cell in row.strip("|").split("|"))
    assert net == "lenet, 8"
    assert float(alone) > 0
    assert float(together) > 0
    assert 0.05 < float(efficiency) < 2
    assert float(gradients) == pytest.approx(1.724)
    if sys.platform == "linux":
        assert float(sent) > 0.99 * float(gradients)  # others may use the interface, too
