"""Suppression of boxes, beside OpenCV's where it is installed."""

import numpy as np
import pytest

from caffe_lite import dnn
from caffe_lite.errors import CaffeError

BOXES = [[0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 5, 5], [0, 0, 10, 11], [21, 20, 5, 5]]
SCORES = [0.6, 0.9, 0.3, 0.9, 0.2]


def test_boxes_that_overlap_a_better_one_go():
    found = dnn.NMSBoxes(BOXES, SCORES, 0.25, 0.4)
    assert found.dtype == np.int32
    assert found.tolist() == [1, 2]
    assert dnn.NMSBoxes(BOXES, SCORES, 0.1, 0.7).tolist() == [1, 0, 2, 4]
    assert dnn.NMSBoxes(BOXES, SCORES, 0.1, 0.9, top_k=3).tolist() == [1, 3]
    assert dnn.NMSBoxes(BOXES, SCORES, 0.95, 0.4) == ()
    with pytest.raises(CaffeError, match="5 boxes and 1 scores"):
        dnn.NMSBoxes(BOXES, [1], 0, 0)


def test_soft_suppression_lowers_scores():
    scores, indices = dnn.softNMSBoxes(BOXES, SCORES, 0.1, 0.5, sigma=0.5)
    assert indices.tolist()[:2] == [1, 2]
    assert scores[0] == np.float32(0.9)
    assert all(scores[1:] < 0.9)
    assert dnn.softNMSBoxes(BOXES, SCORES, 0.95, 0.5) == ((), ())
    with pytest.raises(CaffeError, match="method is 7"):
        dnn.softNMSBoxes(BOXES, SCORES, 0.1, 0.5, method=7)


def same(found, wanted):
    assert np.shape(found) == np.shape(wanted)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_they_do_as_opencvs(seed):
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(seed)
    boxes = np.concatenate([rng.integers(0, 60, (40, 2)), rng.integers(0, 30, (40, 2))], 1).tolist()
    scores = (rng.integers(1, 15, 40) / 15).tolist()  # many are equal
    for eta, top_k in ((1.0, 0), (0.8, 0), (1.0, 10)):
        for threshold in (0.1, 0.5, 0.8):
            arguments = boxes, scores, 0.2, threshold, eta, top_k
            same(dnn.NMSBoxes(*arguments), cv2.dnn.NMSBoxes(*arguments))
    for method in (dnn.SOFT_NMSMETHOD_SOFTNMS_GAUSSIAN, dnn.SOFT_NMSMETHOD_SOFTNMS_LINEAR):
        for top_k in (0, 7):
            arguments = boxes, scores, 0.15, 0.3, top_k, 0.5, method
            for found, wanted in zip(dnn.softNMSBoxes(*arguments), cv2.dnn.softNMSBoxes(*arguments), strict=True):
                same(found, wanted)
