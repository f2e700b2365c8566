"""Old scripts in their own processes, with and without --compat."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return ``run(code, *options)``, which calls `caffe-lite run *options script.py` in the folder tmp_path."""

    def run(code: str, *options: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "script.py").write_text(code, encoding="utf-8")
        return subprocess.run(
            [sys.executable, "-m", "caffe_lite", "run", *options, "script.py"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run
