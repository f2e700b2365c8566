from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe_lite.detection.given_regions import GivenRegions
from caffe_lite.errors import DataError

TEXT = """xmax,filename,xmin,score,ymin,ymax
30,a/b.png,10,0.5,20,40
"31.5","c, d.png",1e1,,0,-2
3,a/b.png,1,9,2,4
"""


def regions(folder: Path, text: str) -> GivenRegions:
    path = folder / "regions.csv"
    path.write_text(text)
    return GivenRegions(str(path))


def test_the_regions_of_each_image(tmp_path: Path) -> None:
    given = regions(tmp_path, TEXT)
    np.testing.assert_array_equal(given.of("a/b.png"), [(10, 20, 30, 40), (1, 2, 3, 4)])
    np.testing.assert_array_equal(given.of("c, d.png"), [(10, 0, 31.5, -2)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            "regions.csv: there is no column filename. Give filename, xmin, ymin, xmax, ymax of each region: name the",
        ),
        (TEXT.replace("ymax", "height"), "there is no column ymax"),
        (TEXT.replace("1e1", "?"), "line 3 has '?' where a number should be"),
        (TEXT.replace(",2,4", ""), "line 4 has None where a number should be"),
        (TEXT.replace("b.png", "e.png"), "there are no regions of 'a/b.png'"),
    ],
)
def test_files_that_are_wrong(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError) as error:
        regions(tmp_path, text).of("a/b.png")
    assert message in str(error.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"regions.csv: the regions cannot be read: No such file"):
        GivenRegions(str(tmp_path / "regions.csv"))
    (tmp_path / "regions.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"the regions cannot be read: 'utf-8' codec"):
        GivenRegions(str(tmp_path / "regions.csv"))
