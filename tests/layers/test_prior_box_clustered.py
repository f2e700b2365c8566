from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .test_prior_box import by_hand, priors


def test_boxes(make_net) -> None:
    param = "width: 30 width: 80 height: 41.5 height: 7 step: 16 clip: false variance: 0.2"
    found = priors(make_net, param, "PriorBoxClustered")
    np.testing.assert_allclose(found[0, 0], by_hand([(30, 41.5), (80, 7)], step=(16, 16)), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found[0, 1], 0.2)


@pytest.mark.parametrize(
    ("param", "what"),
    [
        ("", "it has 0 widths and 0 heights"),
        ("width: 3", "it has 1 widths and 0 heights"),
        ("width: 3 height: 2 height: 1", "it has 1 widths and 2 heights"),
        ("width: 3 height: 0", "a width or height is 0"),
    ],
)
def test_what_is_refused(make_net, param, what) -> None:
    with pytest.raises(LayerError) as error:
        priors(make_net, param, "PriorBoxClustered")
    assert what in str(error.value)
