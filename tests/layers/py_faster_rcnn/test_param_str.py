from __future__ import annotations

import pytest

from caffe_lite.errors import LayerError
from caffe_lite.layers.py_faster_rcnn.param_str import settings


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("'feat_stride': 16", {"feat_stride": 16}),
        ("'feat_stride': 16 \n'scales': !!python/tuple [4, 8, 16, 32]", {"feat_stride": 16, "scales": [4, 8, 16, 32]}),
        ("{'feat_stride': 16, 'scales': [2, 4.5]}", {"feat_stride": 16, "scales": [2, 4.5]}),
        ('{"num_classes": 21,\n "bp_all": true, "mode": fast}', {"num_classes": 21, "bp_all": True, "mode": "fast"}),
        ("num_classes: 2\n\nname: 'a'\n", {"num_classes": 2, "name": "a"}),
        ("", {}),
    ],
)
def test_flat_mappings(text: str, wanted: dict[str, object]) -> None:
    assert settings(text) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("'num_classes': 2", "feat_stride is not in param_str \"'num_classes': 2\". Write it as in param_str"),
        ("16", "param_str has '16', which is no setting"),
    ],
)
def test_what_makes_no_sense(text: str, message: str) -> None:
    with pytest.raises(LayerError) as error:
        settings(text, "feat_stride")
    assert message in str(error.value)
