import pytest

import caffe_lite as caffe
from caffe_lite.errors import EngineError


def test_one_process_trains_one_solver():
    caffe.set_solver_count(1)
    caffe.set_solver_rank(0)
    caffe.set_multiprocess(False)
    assert (caffe.solver_count(), caffe.solver_rank(), caffe.has_nccl()) == (1, 0, False)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: caffe.set_solver_count(2),
        lambda: caffe.set_solver_rank(1),
        lambda: caffe.set_multiprocess(True),
        lambda: caffe.NCCL(None, "uid"),
        caffe.NCCL.new_uid,
    ],
)
def test_more_is_refused_with_advice(ask):
    with pytest.raises(EngineError, match="iter_size adds up the gradients"):
        ask()
