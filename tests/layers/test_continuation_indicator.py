from __future__ import annotations

import pytest

from caffe_lite.errors import LayerError

NET = """layer {{ name: "c" type: "ContinuationIndicator" top: "c"
         continuation_indicator_param {{ time_step: {} batch_size: {} }} }}"""


def test_the_first_step_begins(make_net) -> None:
    assert make_net(NET.format(3, 2)).forward()["c"].tolist() == [[0, 0], [1, 1], [1, 1]]


def test_sizes_of_0(make_net) -> None:
    with pytest.raises(LayerError, match="time_step is 3 and batch_size is 0"):
        make_net(NET.format(3, 0))
