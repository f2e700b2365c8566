import time

import pytest

import caffe_lite as caffe
from caffe_lite.errors import CaffeError


def test_it_measures_from_start_to_stop():
    timer = caffe.Timer()
    timer.start()
    time.sleep(0.02)
    timer.stop()
    ms = timer.ms
    time.sleep(0.02)
    assert 15 < ms == timer.ms and timer.us == 1000 * ms and timer.seconds == pytest.approx(ms / 1000)


def test_reading_stops_it_and_starting_again_begins_at_zero():
    timer = caffe.Timer()
    timer.start()
    time.sleep(0.02)
    first = timer.ms
    assert first == timer.ms
    timer.start()
    assert timer.ms < first


def test_one_that_was_never_started():
    with pytest.raises(CaffeError, match="never started"):
        _ = caffe.Timer().ms
