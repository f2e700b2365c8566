"""Net surgery: turn a classifier into a net that computes a map of scores for an image of any size.

    caffe-lite run docs/examples/net_surgery.py [FOLDER]

A fully connected layer over C x H x W features is a convolution whose kernel is as large as the features. So reshaping
its weights turns a net for 16 x 16 images into one that classifies every 16 x 16 window of a larger image, and computes
only once what the windows share. The weights here are random; trained weights work the same way.
"""

import sys
from pathlib import Path

import caffe
import numpy as np
from caffe import layers as L

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")

# %% Two nets that differ in their inputs and in their last two layers.
SIZE, LARGE, CLASSES = 16, 32, 5
FILLER = dict(weight_filler=dict(type="gaussian", std=0.2), bias_filler=dict(type="gaussian", std=0.2))


def features(size):
    """Return the first layers of both nets: from 3 x 16 x 16 to 8 x 7 x 7, or from 3 x 32 x 32 to 8 x 15 x 15."""
    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 3, size, size]))
    n.conv = L.Convolution(n.data, num_output=8, kernel_size=3, **FILLER)
    n.relu = L.ReLU(n.conv, in_place=True)
    n.pool = L.Pooling(n.conv, kernel_size=2, stride=2)
    return n


n = features(SIZE)
n.fc1 = L.InnerProduct(n.pool, num_output=20, **FILLER)
n.relu1 = L.ReLU(n.fc1, in_place=True)
n.fc2 = L.InnerProduct(n.fc1, num_output=CLASSES, **FILLER)
n.prob = L.Softmax(n.fc2)
(folder / "classifier.prototxt").write_text(str(n.to_proto()))

n = features(LARGE)
n.fc1_conv = L.Convolution(n.pool, num_output=20, kernel_size=7)
n.relu1 = L.ReLU(n.fc1_conv, in_place=True)
n.fc2_conv = L.Convolution(n.fc1_conv, num_output=CLASSES, kernel_size=1)
n.prob = L.Softmax(n.fc2_conv)
(folder / "convolutional.prototxt").write_text(str(n.to_proto()))

# %% Layers with the same name get their weights from the file; those with other names get them below.
caffe.set_random_seed(1)
classifier = caffe.Net(str(folder / "classifier.prototxt"), caffe.TEST)
classifier.save(str(folder / "classifier.caffemodel"))
net = caffe.Net(str(folder / "convolutional.prototxt"), str(folder / "classifier.caffemodel"), caffe.TEST)

# %% The surgery: the same numbers in the same order, in another shape.
for old, new in (("fc1", "fc1_conv"), ("fc2", "fc2_conv")):
    print(f"{old} weights {classifier.params[old][0].data.shape} become {net.params[new][0].data.shape}")
    net.params[new][0].data.flat = classifier.params[old][0].data.flat
    net.params[new][1].data[...] = classifier.params[old][1].data
net.save(str(folder / "convolutional.caffemodel"))

# %% A map of scores, with a step of 2 pixels due to pooling. Without padding, each value is the classifier's.
image = np.random.default_rng(0).normal(size=(3, LARGE, LARGE)).astype(np.float32)
maps = net.forward(data=image[None])["prob"][0]
print(
    f"An image of {LARGE} x {LARGE} gives a map of {maps.shape[1]} x {maps.shape[2]} for each of {len(maps)} classes:"
)
print(maps.argmax(axis=0))

steps = range(0, LARGE - SIZE + 1, 2)
windows = np.stack([image[:, y : y + SIZE, x : x + SIZE] for y in steps for x in steps])
one_by_one = classifier.forward_all(data=windows)["prob"].T.reshape(maps.shape)
difference = np.abs(maps - one_by_one).max()
print(f"The classifier on its {len(windows)} windows, one by one, differs by {difference:.0e}")
if difference > 1e-5:
    sys.exit("the surgery went wrong")
