from __future__ import annotations

import pytest

from caffe_lite.data.label_map import read_label_map
from caffe_lite.errors import CaffeError, Where


def test_names_of_labels(tmp_path) -> None:
    (tmp_path / "map").write_text('item { name: "none" label: 0 display_name: "bg" }\nitem { name: "dog" label: 7 }')
    assert read_label_map(str(tmp_path / "map"), None) == {0: "none", 7: "dog"}
    assert read_label_map("map", Where(str(tmp_path / "net.prototxt"))) == {0: "none", 7: "dog"}


@pytest.mark.parametrize(
    ("second", "what"),
    [
        ('item { name: "cat" label: 7 }', "label 7 is both 'dog' and 'cat'"),
        ('item { name: "dog" label: 8 }', "two labels are named 'dog'"),
        ('item { nam: "cat" label: 8 }', "nam"),
    ],
)
def test_what_is_refused(tmp_path, second, what) -> None:
    path = tmp_path / "map"
    path.write_text(f'item {{ name: "dog" label: 7 }}\n{second}\n')
    with pytest.raises(CaffeError, match=what) as error:
        read_label_map(str(path), None)
    assert str(path) in str(error.value)


def test_no_file(tmp_path) -> None:
    with pytest.raises(CaffeError, match="nowhere"):
        read_label_map("nowhere", None)
