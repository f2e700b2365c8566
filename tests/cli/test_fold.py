from __future__ import annotations

import numpy as np

import caffe_lite

NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 4 dim: 4 } } }
layer {
  name: "conv" type: "Convolution" bottom: "x" top: "conv"
  convolution_param { num_output: 3 kernel_size: 3 bias_term: false weight_filler { type: "xavier" } }
}
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { filler { value: 3 } bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
"""


def test_a_folded_net(caffe, folder):
    (folder / "net.prototxt").write_text(NET)
    net = caffe_lite.Net(folder / "net.prototxt", caffe_lite.TEST)
    net.save(str(folder / "net.caffemodel"))
    for options in ([], ["--half"]):
        result = caffe("fold", "net.prototxt", "net.caffemodel", "out.prototxt", "out.caffemodel", *options)
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith("3 layers are left; gone: 1 Scale\nrandom inputs: the outputs differ by ")
        folded = caffe_lite.Net(folder / "out.prototxt", caffe_lite.TEST, weights=folder / "out.caffemodel")
        x = np.random.default_rng(0).normal(size=(1, 2, 4, 4))
        for one in (net, folded):
            one.blobs["x"].data[...] = x
        tolerance = 5e-3 if options else 1e-5
        np.testing.assert_allclose(folded.forward()["conv"], net.forward()["conv"], atol=tolerance)


def test_a_net_that_lacks_weights_writes_nothing(caffe, folder):
    (folder / "net.prototxt").write_text(NET)
    result = caffe("fold", "net.prototxt", "nowhere.caffemodel", "out.prototxt", "out.caffemodel")
    assert result.returncode == 1
    assert "nowhere.caffemodel: there is no such file" in result.stderr
    assert not list(folder.glob("out.*"))
