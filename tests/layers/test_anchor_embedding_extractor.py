from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .gradient import Bottom
from .gradient import make_net as make_layer_net

MAPS = Bottom((2, 3, 4, 5))
# image, -, xmin, ymin, xmax, ymax, anchor, person, action, x, y
RECORDS = [
    [1, 9, 0.1, 0.2, 0.3, 0.4, 0, 5, 1.9, 4, 3],
    [0, 9, 0.2, 0.2, 0.3, 0.4, 1, 5, 0, 0, 2],
    [-1, 9, 0.3, 0.2, 0.3, 0.4, 9, 5, 0, 9, 9],
    [1, 9, 0.4, 0.2, 0.3, 0.4, 1, 5, 1, 2, 0],
    [1, 9, 0.5, 0.2, 0.3, 0.4, 1, 6, 2, 2, 0],
]


def net_of(engine, param="", records=RECORDS, tops=2, maps=(MAPS, MAPS)):
    values = np.array(records, float).reshape(1, 1, -1, 11)
    for name, value in ("num_anchors", len(maps)), ("label_src_pos", 8):
        if name not in param:
            param += f" {name}: {value}"
    layer = f"embedding_extractor_param {{ {param} }} propagate_down: false"
    layer += " propagate_down: true" * len(maps)
    bottoms = [Bottom(values.shape, lambda rng: values), *maps]
    return make_layer_net(f'type: "AnchorEmbeddingExtractor" {layer}', bottoms, tops, engine=engine)


def test_vectors_labels_and_gradients(engine) -> None:
    net = net_of(engine, "num_valid_actions: 2")
    net.forward()
    maps = [net.blobs[f"x{i}"].data for i in (1, 2)]
    found = [(0, 1, 3, 4), (1, 0, 2, 0), (1, 1, 0, 2)]
    np.testing.assert_array_equal(net.blobs["y0"].data, [maps[a][n, :, y, x] for a, n, y, x in found])
    assert net.blobs["y1"].data.tolist() == [1, 0, 1]
    net.blobs["y0"].diff[...] = dy = np.random.default_rng(0).standard_normal((3, 3))
    net.backward()
    wanted = np.zeros((2, 2, 3, 4, 5))
    for (a, n, y, x), row in zip(found, dy, strict=True):
        wanted[a, n, :, y, x] += row
    np.testing.assert_array_equal([net.blobs[f"x{i}"].diff for i in (1, 2)], wanted)


def test_two_detections_at_one_place_share_its_gradient(engine) -> None:
    net = net_of(engine, records=[RECORDS[3], RECORDS[4]])
    net.forward()
    net.blobs["y0"].diff[...] = [[1, 2, 3], [10, 20, 30]]
    net.backward()
    assert net.blobs["x2"].diff[1, :, 0, 2].tolist() == [11, 22, 33]


def test_weights_and_boxes(engine) -> None:
    net = net_of(engine, "output_instance_weights: true", tops=3)
    net.forward()
    assert net.blobs["y2"].data.tolist() == [0.5, 1, 0.5, 1]
    net = net_of(engine, "output_proposals: true", tops=3)
    net.forward()
    wanted = [[1, 0.1, 0.2, 0.3, 0.4], [0, 0.2, 0.2, 0.3, 0.4], [1, 0.4, 0.2, 0.3, 0.4], [1, 0.5, 0.2, 0.3, 0.4]]
    np.testing.assert_array_equal(net.blobs["y2"].data, wanted)


@pytest.mark.parametrize("third", ["output_instance_weights", "output_proposals"])
def test_nothing_found(third, engine) -> None:
    net = net_of(engine, f"{third}: true num_valid_actions: 0", tops=3)
    net.forward()
    assert net.blobs["y0"].data.tolist() == [[0, 0, 0]]
    assert net.blobs["y1"].data.tolist() == [-1]
    assert np.all(net.blobs["y2"].data == -1) and net.blobs["y2"].count == (5 if "proposals" in third else 1)
    net.blobs["y0"].diff[...] = 1
    net.backward()
    assert not net.blobs["x1"].diff.any()


@pytest.mark.parametrize(
    ("param", "records", "maps", "what"),
    [
        ("num_anchors: 3", RECORDS, [MAPS], "num_anchors is 3, and there are 2 bottoms"),
        ("label_src_pos: 11", RECORDS, [MAPS], "label_src_pos is 11. Give the place of the label, 0 to 10"),
        ("output_proposals: true", RECORDS, [MAPS], "2 tops, with output_instance_weights: false and output_proposals"),
        ("", RECORDS, [MAPS, Bottom((2, 3, 4, 6))], "the maps have the shapes (2, 3, 4, 5), (2, 3, 4, 6)"),
        ("", RECORDS, [MAPS], "a detection is at anchor 1 of image 0, x 0, y 2, and there are 1 anchors, 2 images"),
        ("", [[0, *[0] * 8, 5, 0]], [MAPS], "image 0, x 5, y 0, and there are 1 anchors, 2 images and 5 x 4 places"),
    ],
)
def test_what_is_refused(param, records, maps, what, engine) -> None:
    with pytest.raises(LayerError) as error:
        net_of(engine, param, records, maps=maps).forward()
    assert what in str(error.value)
