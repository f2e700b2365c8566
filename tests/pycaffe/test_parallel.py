import pytest

import caffe_lite as caffe
from caffe_lite import ranks
from caffe_lite.errors import WorkerError


@pytest.fixture(autouse=True)
def alone():
    yield
    ranks.set_solver_count(1)
    caffe.set_solver_rank(0)


def test_count_and_rank_are_what_was_set():
    assert (caffe.solver_count(), caffe.solver_rank()) == (1, 0)
    caffe.set_solver_count(3)
    caffe.set_solver_rank(2)
    caffe.set_multiprocess(True)
    assert (caffe.solver_count(), caffe.solver_rank()) == (3, 2)


@pytest.mark.parametrize("wrong", [lambda: caffe.set_solver_count(0), lambda: caffe.set_solver_rank(-1)])
def test_senseless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match="at least"):
        wrong()


def test_uids_are_bytes_and_differ():
    pytest.importorskip("torch")
    assert caffe.has_nccl()
    first, second = caffe.NCCL.new_uid(), caffe.NCCL.new_uid()
    assert isinstance(first, bytes)
    assert first != second


def test_no_uid_is_an_error():
    with pytest.raises(WorkerError, match="new_uid"):
        caffe.NCCL(None, b"nothing")


def test_a_rank_beyond_the_count_is_an_error():
    pytest.importorskip("torch")
    caffe.set_solver_rank(1)
    with pytest.raises(WorkerError, match="set_solver_count"):
        caffe.NCCL(None, caffe.NCCL.new_uid())
