"""Scripts for OpenCV 4, of the kinds that its samples and tutorials have, print under ``caffe-lite run`` what they did.

``scripts/opencv_4_10`` has what they printed on OpenCV 4.10.0, over the same nets and images.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from .scripts import models

cv2 = pytest.importorskip("cv2")

FOLDER = Path(__file__).parent / "scripts"
SCRIPTS = sorted(FOLDER / f"{printed.stem}.py" for printed in FOLDER.glob("opencv_4_10/*.txt"))
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("scripts")
    models.make(made)
    for index, image in enumerate(models.images()):
        cv2.imwrite(str(made / f"frame_{index:02}.png"), image)
    cv2.imwrite(str(made / "image.png"), models.images()[0])
    return made


@pytest.mark.parametrize("script", SCRIPTS, ids=[script.stem for script in SCRIPTS])
def test_a_script_prints_what_it_did(script, folder) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "caffe_lite", "run", str(script)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "CAFFE_LITE_ENGINE": "numpy"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    wanted = (FOLDER / "opencv_4_10" / f"{script.stem}.txt").read_text()
    assert NUMBER.sub("#", result.stdout) == NUMBER.sub("#", wanted)
    np.testing.assert_allclose(numbers(result.stdout), numbers(wanted), rtol=2e-3, atol=2e-3)


def numbers(text: str) -> list[float]:
    return [float(number) for number in NUMBER.findall(text)]
