"""Every fenced block of the documentation and the README runs, in order, in a separate folder for each page.

    ```python      runs, in one process for the page's Python
    ```bash        runs in bash, in that folder; configs/ is there
    ```prototxt    passes `caffe-lite check`
    ```text        is the output of the block before it; `...` stands for anything

`title="FILE"` writes the block into FILE first; if the repository has that file, the block is an excerpt of it instead.
Comments before a block mark special ones: `<!-- slow -->`, `<!-- fails -->` (it shows an error),
`<!-- not run: why -->`, `<!-- shortened: MORE -->` (MORE is added to its last command, so that it takes less time),
`<!-- prints nothing of this -->` (a listing, not an output).
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shutil
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
ELSEWHERE = {"plugins.md"}  # its blocks run in test_plugins.py
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if page.name not in ELSEWHERE]
FENCE = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*?) -->\n+)?^(?P<tick>`{3,})(?P<kind>\w*)(?: +title=\"(?P<title>[^\"]+)\")?[^\n]*\n"
    r"(?P<text>.*?)^(?P=tick)$",
    re.MULTILINE | re.DOTALL,
)


@dataclass
class Block:
    kind: str
    text: str
    title: str | None
    note: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(m["kind"], m["text"], m["title"], m["note"] or "", text.count("\n", 0, m.start("tick")) + 1)
        for m in FENCE.finditer(text)
    ]


class Reader:
    """Executes the blocks of a page as a reader would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.printed = ""
        shutil.copytree(
            ROOT / "configs", folder / "configs", ignore=shutil.ignore_patterns("*.caffemodel", "*.solverstate")
        )
        commands = folder / ".bin"
        commands.mkdir()
        for name, command in (
            ("caffe-lite", f'exec "{sys.executable}" -m caffe_lite "$@"'),
            ("python", f'exec "{sys.executable}" "$@"'),
            ("pip", ":"),  # everything is installed where the tests run
        ):
            (commands / name).write_text(f"#!/bin/sh\n{command}\n")
            (commands / name).chmod(0o755)
        self.environment = os.environ | {
            "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "CAFFE_LITE_ENGINE": "numpy",
            "COLUMNS": "100",
        }

    def read(self, block: Block) -> None:
        if block.note.startswith("not run"):
            return
        if block.title and (ROOT / block.title).is_file():
            self.excerpt(block)
            return
        if block.title:
            path = self.folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        if block.kind == "text":
            if not block.title and not block.note.startswith("prints nothing"):
                self.compare(block)
            return
        handler = getattr(self, f"run_{block.kind}", None)
        assert handler, f"nobody knows what to do with a block of {block.kind or 'no kind'}"
        failed = handler(block)
        fails = block.note.startswith("fails")
        assert bool(failed) == fails, failed or f"it was meant to fail, and printed:\n{self.printed}"

    def excerpt(self, block: Block) -> None:
        file = iter((ROOT / str(block.title)).read_text(encoding="utf-8").splitlines())
        for line in block.text.splitlines():
            elided = line.strip() in ("...", "...,")
            assert elided or line in file, f"{block.title} has no line {line!r} there"

    def run_python(self, block: Block) -> str:
        if block.title and block.title.endswith(".py"):
            compile(block.text, block.title, "exec")
            return ""
        output = io.StringIO()
        failed = ""
        with contextlib.redirect_stdout(output), _inside(self.folder):
            try:
                exec(compile("\n" * block.line + block.text, "<documentation>", "exec"), self.names)
            except Exception as error:
                print(f"{type(error).__module__}.{type(error).__qualname__}: {error}")
                failed = traceback.format_exc()
        self.printed = output.getvalue()
        return failed

    def run_bash(self, block: Block) -> str:
        _, _, added = block.note.partition("shortened:")
        done = subprocess.run(
            [shutil.which("bash") or "bash", "-e", "-c", block.text.rstrip() + added],
            cwd=self.folder, env=self.environment,
            timeout=1800, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        self.printed = done.stdout
        return done.stdout + f"\nexit status {done.returncode}" if done.returncode else ""

    def run_prototxt(self, block: Block) -> str:
        path = self.folder / (block.title or "unnamed.prototxt")
        path.write_text(block.text, encoding="utf-8")
        return self.run_bash(Block("bash", f"caffe-lite check {path.relative_to(self.folder)}", None, "", block.line))

    def run_math(self, block: Block) -> str:
        return ""  # the build refuses a formula that it cannot draw

    def compare(self, block: Block) -> None:
        wanted, got = (re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE) for text in (block.text, self.printed))
        same = doctest.OutputChecker().check_output(wanted, got, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        assert same, f"printed:\n{self.printed}"


@contextlib.contextmanager
def _inside(folder: Path):
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def is_slow(page: Path) -> bool:
    return any(block.note.startswith("slow") for block in blocks(page))


@pytest.mark.skipif(
    sys.platform == "win32" or not shutil.which("bash"), reason="the documentation's commands are written for bash"
)
@pytest.mark.parametrize(
    "page", [pytest.param(page, id=page.name, marks=[pytest.mark.slow] if is_slow(page) else []) for page in PAGES]
)
def test_every_block_does_what_it_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAFFE_LITE_ENGINE", "numpy")
    reader = Reader(tmp_path)
    for block in blocks(page):
        try:
            reader.read(block)
        except AssertionError as error:
            pytest.fail(f"{page.relative_to(ROOT)}:{block.line}: {error}", pytrace=False)


def test_there_are_blocks_and_a_wrong_one_is_found(tmp_path: Path) -> None:
    """Otherwise a change of the form of fences would let everything pass."""
    assert sum(len(blocks(page)) for page in PAGES) > 40
    reader = Reader(tmp_path)
    reader.read(Block("python", "print(1 + 1)\n", None, "", 1))
    reader.read(Block("text", "2\n", None, "", 2))
    for kind, text in (("text", "3\n"), ("python", "1 / 0"), ("bash", "caffe-lite no-such"), ("prototxt", "layers: 3")):
        with pytest.raises(AssertionError):
            reader.read(Block(kind, text, None, "", 1))


def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    for package in ("mkdocs", "material", "latex2mathml", "matplotlib"):
        pytest.importorskip(package)
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)], cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "layers/SoftmaxWithLoss.html").read_text(encoding="utf-8")
    assert "<math" in page
    assert "normalization" in page
    assert "SeLU, SeLu" in (tmp_path / "layers/SeLU.html").read_text(encoding="utf-8")
    names = [str(path).lower() for path in tmp_path.rglob("*.html")]
    assert len(names) == len(set(names)), "pages whose names differ only in case"
    assert not re.search(r'(?:src|href)="(?:https?:)?//(?!github\.com)[^"]*\.(?:js|css|woff2?)', page)
