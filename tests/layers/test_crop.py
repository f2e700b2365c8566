from __future__ import annotations

import numpy as np
import pytest

from caffe_lite import TEST
from caffe_lite.errors import LayerError


def crop(params: str, shape: tuple[int, ...], reference: tuple[int, ...]) -> str:
    blobs = [" ".join(f"dim: {n}" for n in dims) for dims in (shape, reference)]
    return (
        f'layer {{ name: "in" type: "Input" top: "x" top: "like"\n'
        f"        input_param {{ shape {{ {blobs[0]} }} shape {{ {blobs[1]} }} }} }}\n"
        f'layer {{ name: "crop" type: "Crop" bottom: "x" bottom: "like" top: "y" crop_param {{ {params} }} }}'
    )


@pytest.mark.parametrize(
    ("params", "reference", "part"),
    [
        ("", (7, 7, 2, 2), np.s_[:, :, :2, :2]),
        ("offset: 1", (7, 7, 2, 3), np.s_[:, :, 1:3, 1:4]),
        ("offset: 2 offset: 0", (7, 7, 1, 5), np.s_[:, :, 2:3, :]),
        ("axis: 1 offset: 1 offset: 0 offset: 3", (9, 2, 4, 2), np.s_[:, 1:3, :, 3:5]),
        ("axis: -1 offset: 4", (9, 9, 9, 1), np.s_[..., 4:]),
        ("axis: 0", (1, 2, 3, 4), np.s_[:1, :2, :3, :4]),
        ("axis: 3 offset: 1", (1, 1, 1, 2, 8), np.s_[..., 1:3]),
    ],
)
def test_which_part_is_cut_out(make_net, params, reference, part) -> None:
    net = make_net(crop(params, (2, 3, 4, 5), reference), TEST)
    x = np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5)
    net.blobs["x"].data[...] = x
    np.testing.assert_array_equal(net.forward()["y"], x[part])


def test_it_follows_both_bottoms(make_net) -> None:
    net = make_net(crop("offset: 1", (1, 1, 4, 4), (1, 1, 2, 2)), TEST)
    net.blobs["x"].reshape(3, 2, 6, 5)
    net.blobs["like"].reshape(1, 1, 4, 2)
    assert net.forward()["y"].shape == (3, 2, 4, 2)
    net.blobs["like"].reshape(1, 1, 5, 5)
    with pytest.raises(LayerError, match="a crop of 5 from offset 1 on leaves axis 3, which has 5"):
        net.forward()


@pytest.mark.parametrize(
    ("params", "reference", "message"),
    [
        ("offset: 3", (1, 1, 2, 2),
         "a crop of 2 from offset 3 on leaves axis 2, which has 4. Use an offset of at most 2"),
        ("", (1, 1, 2, 6), "a crop of 6 from offset 0 on leaves axis 3, which has 5. Crop to a smaller reference"),
        ("offset: 1 offset: 1 offset: 1", (1, 1, 2, 2),
         "3 offsets for 2 axes. Give one for all axes from axis on, or one for each"),
        ("axis: 4", (1, 1, 2, 2), "axis 4 is out of range for a bottom with 4 axes"),
        ("", (4, 4), "the bottom (2, 3, 4, 5) has 4 axes, the reference (4, 4) only 2"),
    ],
)  # fmt: skip
def test_what_makes_no_sense(make_net, params, reference, message) -> None:
    with pytest.raises(LayerError) as caught:
        make_net(crop(params, (2, 3, 4, 5), reference))
    assert f'net.prototxt:3:1, layer "crop" (Crop): {message}' in str(caught.value)
