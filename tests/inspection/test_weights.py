from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.inspection.weights import difference, statistics
from caffe_lite.text.table import table


def test_statistics_are_those_of_finite_values():
    s = statistics(np.array([[1, 2, np.nan], [6, np.inf, -1]], np.float32))
    assert s == (-1, 2, 6, pytest.approx(np.std([1, 2, 6, -1])), 2)


@pytest.mark.parametrize("values", [[], [np.nan]])
def test_no_values_have_no_statistics(values):
    s = statistics(np.array(values, np.float32))
    assert np.isnan(s[:4]).all()
    assert s.not_finite == len(values)


def test_difference():
    a, b = np.array([3, 4, np.inf, np.nan]), np.array([3, 4.5, np.inf, np.nan])
    assert difference(a, a) == (0, 0)
    assert difference(a[:2], b[:2]) == (0.5, 0.1)
    assert difference(a, b).largest == 0.5
    assert difference(np.zeros(2), np.ones(2)) == (1, np.inf)
    assert np.isnan(difference(a, np.zeros(4)).largest)


def test_the_columns_of_a_table():
    assert table(("Name", "N"), [("a", "1"), ("long name", "22")], right=("N",)) == [
        "Name        N",
        "-------------",
        "a           1",
        "long name  22",
    ]
