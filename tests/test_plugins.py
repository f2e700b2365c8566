"""Plug-ins in real processes: the package that docs/plugins.md shows, and ones that cannot be imported."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")
LAYER, PYPROJECT, NET, GRADIENT_CHECK = re.findall(r"^```\w*\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


def install(site: Path, name: str, source: str) -> None:
    """Write the files that ``pip install`` leaves for a module and its entry point."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (site / f"{name}.py").write_text(source, encoding="utf-8")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[caffe_lite.layers]\n{name} = {name}\n")


@pytest.fixture
def run(tmp_path: Path):
    """Run code in a folder with the documented package installed and its net."""
    site = tmp_path / "site"
    install(site, "softsign", LAYER)
    (tmp_path / "softsign.prototxt").write_text(NET)

    def run(code: str, *arguments: str, engine: str = "numpy") -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join((str(ROOT), str(site)))
        return subprocess.run(
            [sys.executable, *(("-c", code) if code else ("-m", "caffe_lite")), *arguments],
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": path, "CAFFE_LITE_ENGINE": engine},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    return run


def test_the_documented_entry_point_is_the_one_installed() -> None:
    assert '[project.entry-points."caffe_lite.layers"]\nsoftsign = "softsign"\n' in PYPROJECT


def test_the_documented_layer_passes_its_gradient_check(run, engine: str) -> None:
    values = "print(net.forward()['y'][0, 0], net.blobs['x'].data[0, 0])"
    result = run(f"{GRADIENT_CHECK}\n{values}", engine=engine)
    assert result.returncode == 0, result.stderr
    y, x = map(float, result.stdout.split())
    assert y == pytest.approx(2 * x / (1 + abs(x)))


def test_the_check_fails_where_the_gradient_is_wrong(run, tmp_path: Path) -> None:
    (tmp_path / "site/softsign.py").write_text(LAYER.replace("** 2", "** 3"))
    result = run(GRADIENT_CHECK)
    assert "AssertionError: the gradient of x along a direction is" in result.stderr


def test_the_command_line_finds_it(run) -> None:
    assert run("", "check", "softsign.prototxt").stdout == "softsign.prototxt: ok\n"
    assert re.search(r"^y +Softsign +x +y +3 x 4$", run("", "summary", "softsign.prototxt").stdout, re.MULTILINE)


def test_a_drawing_shows_its_kind(run, tmp_path: Path) -> None:
    assert run("", "draw", "softsign.prototxt", "net.svg", "--phase", "ALL").returncode == 0
    assert 'class="layer neuron" id="layer-1"' in (tmp_path / "net.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('{"scael": 2}', "unknown setting 'scael' in param_str. Did you mean 'scale'?"),
        ('{"scale": "2"}', 'scale in param_str is "2". It takes a number.'),
        ('{"scale": true}', "scale in param_str is true. It takes a number."),
        ("scale: 2", "param_str is no JSON: "),
        ("[2]", "param_str is [2], which has no names. Write it as in python_param"),
    ],
)
def test_wrong_settings(settings: str, message: str, run, tmp_path: Path) -> None:
    net = tmp_path / "softsign.prototxt"
    net.write_text(NET.replace('{"scale": 2}', settings))
    result = run("", "check", "softsign.prototxt")
    assert result.stdout.startswith('softsign.prototxt:2:1, layer "y" (Softsign): ' + message), result.stdout


def test_a_required_setting(run, tmp_path: Path) -> None:
    (tmp_path / "site/softsign.py").write_text(LAYER.replace("scale=1.0", "scale=1.0, num_output=int"))
    assert "num_output is not given" in run("", "check", "softsign.prototxt").stdout


def test_plug_ins_are_loaded_when_they_are_needed_and_not_before(run) -> None:
    code = """
import sys, caffe_lite
assert "softsign" not in sys.modules
assert "Softsign" in caffe_lite.layer_type_list() and "softsign" in sys.modules
"""
    result = run(code)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import not_there_at_all", "ModuleNotFoundError: No module named 'not_there_at_all'"),
        (
            LAYER.replace("Softsign", "ReLU"),
            "ValueError: layer type 'ReLU' is taken by caffe_lite.layers.relu.ReLULayer",
        ),
    ],
    ids=["import", "taken"],
)
def test_one_that_cannot_be_imported_is_named_where_it_may_matter(
    source: str, reason: str, run, tmp_path: Path
) -> None:
    install(tmp_path / "site", "broken", source)
    assert run("", "check", "softsign.prototxt").returncode == 0
    (tmp_path / "softsign.prototxt").write_text(NET.replace("Softsign", "Softsing"))
    told = f"the distribution broken 1.0 brings layers in broken, which cannot be imported: {reason}"
    result = run("", "check", "softsign.prototxt")
    assert f"Did you mean Softsign or Softplus or Softmax? Perhaps a plug-in is missing: {told}" in result.stdout
    result = run("import caffe_lite; caffe_lite.layer_type_list()")
    assert f"PluginError: {told}. Repair or update that distribution, or uninstall it." in result.stderr
