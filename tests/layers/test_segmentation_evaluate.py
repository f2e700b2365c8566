"""The SegmentationEvaluate layer against counts of single pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from caffe_lite import Net
from caffe_lite.errors import LayerError

cv2 = pytest.importorskip("cv2")

MakeNet = Callable[..., Net]


def text(maps: tuple[int, ...], truth: tuple[int, ...], param: str = "num_classes: 3") -> str:
    inputs = ""
    for name, shape in (("x", maps), ("truth", truth)):
        dims = " ".join(f"dim: {n}" for n in shape)
        inputs += f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'
    return (
        f'{inputs} layer {{ name: "iou" type: "SegmentationEvaluate" bottom: "x" bottom: "truth" top: "iou" '
        f"segmentation_evaluate_param {{ {param} }} }}"
    )


def run(net: Net, x: np.ndarray, truth: np.ndarray) -> np.ndarray:
    net.blobs["x"].data[...] = x
    net.blobs["truth"].data[...] = truth
    net.forward()
    assert net.blobs["iou"].data.shape == (1, 1, 1, 3)
    return np.copy(net.blobs["iou"].data[0, 0, 0])


def overlaps(found: np.ndarray, true: np.ndarray) -> list[float]:
    """Compute the intersection over union of each class from sets of places."""
    values = []
    for c in range(3):
        a, b = ({tuple(at) for at in np.argwhere(each[:, c])} for each in (found, true))
        values.append(len(a & b) / len(a | b) if a & b else 0.0)
    return values


RNG = np.random.default_rng(0)


def test_maps_of_the_size_of_the_truth(make_net: MakeNet) -> None:
    x, truth = RNG.random((2, 3, 5, 6), np.float32), RNG.integers(0, 2, (2, 3, 5, 6))
    truth[:, 2] = 0
    net = make_net(text(x.shape, truth.shape, "num_classes: 3 threshold: 0.3"))
    np.testing.assert_allclose(run(net, x, truth), overlaps(x > np.float32(0.3), truth > 0), rtol=1e-6)


def test_maps_of_another_size_become_bytes_and_are_interpolated(make_net: MakeNet) -> None:
    x, truth = RNG.random((2, 3, 4, 3), np.float32), RNG.integers(0, 2, (2, 3, 9, 7))
    truth[:, 1] = 0
    x[:, 2] = 0
    net = make_net(text(x.shape, truth.shape, "num_classes: 3 threshold: 0.35"))
    large = [[cv2.resize((each * 255).astype(np.uint8), (7, 9)) > 89 for each in image] for image in x]  # 0.35 * 255
    expected = overlaps(np.array(large), truth > 0)
    expected[1] = -1
    assert expected[2] == 0 < expected[0]
    np.testing.assert_allclose(run(net, x, truth), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("maps", "truth", "param", "message"),
    [
        ((1, 3, 4, 4), (1, 3, 4, 4), "", "there is no num_classes"),
        ((1, 3, 4, 4), (1, 2, 4, 4), "num_classes: 3", "give both as (N, 3, H, W), or set num_classes"),
        (
            (1, 3, 4, 4),
            (2, 3, 4, 4),
            "num_classes: 3",
            "the predictions have the shape (1, 3, 4, 4), and the truth (2,",
        ),
        ((1, 3, 4, 4), (1, 3, 4, 4), "num_classes: 4", "give both as (N, 4, H, W)"),
        ((3, 4), (3, 4), "num_classes: 4", "give both as (N, 4, H, W)"),
    ],
)
def test_shapes_that_do_not_agree(
    make_net: MakeNet, maps: tuple[int, ...], truth: tuple[int, ...], param: str, message: str
) -> None:
    with pytest.raises(LayerError) as caught:
        make_net(text(maps, truth, param))
    assert message.lower() in str(caught.value).lower()
