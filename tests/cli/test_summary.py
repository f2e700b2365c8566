from __future__ import annotations

import re
import shutil

DEPLOY = """\
name: "Shapes"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 9 dim: 9 } } }
layer {
  name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 group: 1 stride: 2 }
}
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "slice" type: "Slice" bottom: "conv" top: "a" top: "b" }
layer { name: "ip" type: "InnerProduct" bottom: "a" top: "ip" inner_product_param { num_output: 5 bias_term: false } }
layer {
  name: "deconv" type: "Deconvolution" bottom: "b" top: "deconv"
  convolution_param { num_output: 6 kernel_size: 3 group: 2 stride: 2 bias_term: false }
}
"""


def test_the_table(caffe, folder):
    (folder / "deploy.prototxt").write_text(DEPLOY)
    result = caffe("summary", "deploy.prototxt")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    rows = {cells[0]: cells for line in result.stdout.splitlines() if len(cells := re.split(r" {2,}", line)) > 3}
    assert rows["conv"] == ["conv", "Convolution", "data", "conv", "2 x 4 x 4 x 4", "112", f"{2 * 16 * 4 * 27:,}"]
    assert rows["relu"][:5] == ["relu", "ReLU", "conv", "conv", "2 x 4 x 4 x 4"]
    assert rows["ip"][3:] == ["ip", "2 x 5", "160", "320"]
    assert rows["deconv"][3:] == ["deconv", "2 x 6 x 9 x 9", "54", f"{2 * 16 * 2 * 27:,}"]
    assert re.search(r"^ +b +2 x 2 x 4 x 4$", result.stdout, re.MULTILINE)
    assert re.search(r"^Parameters +326 \(1\.273 KiB\)$", result.stdout, re.MULTILINE)
    blobs = 2 * 3 * 81 + 2 * 64 + 2 * 64 + 10 + 2 * 486  # the data, conv (in place), its two halves, ip, deconv
    assert re.search(rf"^Blobs +{blobs:,} values ", result.stdout, re.MULTILINE)
    assert re.search(rf"^Multiply-adds +{2 * 16 * 4 * 27 + 320 + 2 * 16 * 2 * 27:,} ", result.stdout, re.MULTILINE)


def test_the_phase_chooses_the_layers(caffe):
    train, test = caffe("summary", "net.prototxt"), caffe("summary", "net.prototxt", "--phase", "test")
    assert "accuracy" not in train.stdout
    assert re.search(r"^accuracy +Accuracy .*scalar$", test.stdout, re.MULTILINE)


def test_what_sequences_cost(caffe, folder):
    (folder / "steps.prototxt").write_text(
        'layer { name: "in" type: "Input" top: "x" top: "cont" top: "fixed" input_param {\n'
        "  shape { dim: 5 dim: 2 dim: 7 } shape { dim: 5 dim: 2 } shape { dim: 2 dim: 6 } } }\n"
        'layer { name: "lstm" type: "LSTM" bottom: "x" bottom: "cont" bottom: "fixed" top: "lstm"\n'
        "  recurrent_param { num_output: 3 } }\n"
        'layer { name: "rnn" type: "RNN" bottom: "lstm" bottom: "cont" top: "rnn" recurrent_param { num_output: 4 } }\n'
    )
    result = caffe("summary", "steps.prototxt")
    assert result.returncode == 0, result.stderr
    rows = {cells[0]: cells for line in result.stdout.splitlines() if len(cells := re.split(r" {2,}", line)) > 3}
    assert rows["lstm"][3:] == ["lstm", "5 x 2 x 3", f"{12 * (7 + 1 + 6 + 3)}", f"{2 * 12 * (5 * (7 + 3) + 6):,}"]
    assert rows["rnn"][3:] == ["rnn", "5 x 2 x 4", f"{4 * (3 + 1 + 4 + 4 + 1)}", f"{5 * 2 * 4 * (3 + 4 + 4):,}"]


def test_without_data_what_the_net_says_is_shown(caffe, folder):
    shutil.rmtree(folder / "train_lmdb")
    result = caffe("summary", "net.prototxt")
    assert result.returncode == 0, result.stderr
    assert re.search(r"^images +Data +data +8 x \? x \? x \?$", result.stdout, re.MULTILINE)
    assert re.search(r"^ip1 .* 8 x 6 +\? +\?$", result.stdout, re.MULTILINE)
    assert re.search(r"^ip2 .* 8 x 3 +21 +144$", result.stdout, re.MULTILINE)
    assert re.search(r"^Parameters +\? \(\?\)$", result.stdout, re.MULTILINE)


def test_with_data_their_shape_is_shown(caffe):
    assert re.search(r"^images +Data +data +8 x 1 x 3 x 4$", caffe("summary", "net.prototxt").stdout, re.MULTILINE)


def test_the_user_s_layers_run_where_they_are_there(caffe, folder):
    (folder / "doubled.prototxt").write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
        'layer { name: "y" type: "Python" bottom: "x" top: "y" python_param { module: "mine" layer: "Twice" } }\n'
    )
    assert re.search(r"^y .* \?$", caffe("summary", "doubled.prototxt").stdout, re.MULTILINE)
    (folder / "mine.py").write_text(
        "import caffe_lite as caffe\n"
        "class Twice(caffe.Layer):\n"
        "    def setup(self, bottom, top):\n"
        "        self.blobs.add_blob(5).data[...] = 1\n"
        "    def reshape(self, bottom, top):\n"
        "        top[0].reshape(2 * bottom[0].data.shape[0], 3)\n"
        "    def forward(self, bottom, top): ...\n"
    )
    assert re.search(r"^y .* 4 x 3 +5$", caffe("summary", "doubled.prototxt").stdout, re.MULTILINE)
