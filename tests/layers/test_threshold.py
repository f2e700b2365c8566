import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .neuron import neuron


@pytest.mark.parametrize(("param", "bound"), [("", 0), ("threshold_param { threshold: -1.5 }", -1.5)])
def test_only_what_lies_above_counts(make_net, param, bound):
    net = neuron(make_net, f'type: "Threshold" {param}', 5)
    net.forward(x=np.array([bound - 1, bound, bound + 1e-3, np.inf, np.nan]))
    np.testing.assert_array_equal(net.blobs["y"].data, [0, 0, 1, 1, 0])
    assert net.blobs["y"].data.dtype == np.float32


@pytest.mark.parametrize("in_place", [True, False])
def test_a_loss_above_it_cannot_be_learned_from(make_net, in_place):
    above = "scores" if in_place else "bits"
    text = f"""
        layer {{ name: "in" type: "Input" top: "x" top: "t" input_param {{ shape {{ dim: 2 dim: 2 }} }} }}
        layer {{ name: "ip" type: "InnerProduct" bottom: "x" top: "scores" inner_product_param {{ num_output: 2 }} }}
        layer {{ name: "bits" type: "Threshold" bottom: "scores" top: "{above}" MORE }}
        layer {{ name: "loss" type: "EuclideanLoss" bottom: "{above}" bottom: "t" top: "loss" }}"""
    net = make_net(text.replace("MORE", ""))
    net.forward()
    with pytest.raises(LayerError, match=r"layer \"bits\" \(Threshold\): a threshold has no gradient"):
        net.backward()
    net = make_net(text.replace("MORE", "propagate_down: false"))
    net.forward()
    net.backward()
