"""Draw a net's first filters and their response to an image, as one picture.

    caffe-lite run docs/examples/filters.py NET WEIGHTS IMAGE PICTURE

Needs matplotlib: pip install 'caffe-lite[plot]'. With the LeNet that `make train` trains:

    caffe-lite run docs/examples/filters.py deploy.prototxt lenet.caffemodel digit.png filters.png
"""

import sys

import caffe
import numpy as np
from matplotlib.figure import Figure

if len(sys.argv) != 5:
    sys.exit(__doc__)
model, weights, image_file, picture = sys.argv[1:]

# %% The net, and the image in the form that it takes.
net = caffe.Net(model, weights, caffe.TEST)
name = net.inputs[0]
_, channels, *_ = net.blobs[name].data.shape
transformer = caffe.io.Transformer({name: net.blobs[name].data.shape})
transformer.set_transpose(name, (2, 0, 1))
# Preprocess as in training: most published nets also need set_raw_scale(name, 255) and set_mean(name, mean).
if channels == 3:
    transformer.set_channel_swap(name, (2, 1, 0))
image = caffe.io.load_image(image_file, color=channels == 3)
net.blobs[name].data[...] = transformer.preprocess(name, image)
net.forward()

# %% The first convolution: its filters (N, C, H, W) and its output.
layer = next(layer for layer in net.params if net.layer_dict[layer].type == "Convolution")
filters = net.params[layer][0].data
maps = net.blobs[net.top_names[layer][0]].data[0]


# %% Tiles in rows, each scaled from its own darkest to its own brightest value.
def tiled(tiles):
    """Return one image (H, W) or (H, W, 3) of tiles (N, H, W) or (N, H, W, 3), with white lines between them."""
    axes = tuple(range(1, tiles.ndim))
    low, high = tiles.min(axes, keepdims=True), tiles.max(axes, keepdims=True)
    tiles = (tiles - low) / np.maximum(high - low, 1e-12)
    columns = int(np.ceil(np.sqrt(len(tiles))))
    rows = int(np.ceil(len(tiles) / columns))
    missing = rows * columns - len(tiles)
    tiles = np.pad(tiles, [(0, missing), (0, 1), (0, 1)] + [(0, 0)] * (tiles.ndim - 3), constant_values=1)
    height, width = tiles.shape[1:3]
    grid = tiles.reshape(rows, columns, *tiles.shape[1:]).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, *tiles.shape[3:])


in_color = filters.shape[1] == 3
# Caffe's nets take colours as B, G, R. Filters over other numbers of channels are shown channel by channel.
shown = filters[:, ::-1].transpose(0, 2, 3, 1) if in_color else filters.reshape(-1, *filters.shape[2:])
figure = Figure(figsize=(12, 6), layout="constrained")
for axes, values, title in zip(
    figure.subplots(1, 2), (shown, maps), (f"filters of {layer}", f"{layer} of the image"), strict=True
):
    axes.imshow(tiled(values), cmap="gray", interpolation="nearest")
    axes.set_title(title)
    axes.axis("off")
figure.savefig(picture)
print(f"{len(shown)} filters of {filters.shape[2]} x {filters.shape[3]}, {len(maps)} maps: {picture}")
