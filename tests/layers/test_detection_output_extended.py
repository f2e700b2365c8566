from __future__ import annotations

import numpy as np
import pytest

from caffe_lite.errors import LayerError

from .test_detection_output import net_of, random_bottoms

MAP = (3, 4, 2)  # its height and width, and the priors at each place


@pytest.mark.parametrize("keep", ["", " keep_top_k: 5"])
def test_boxes_are_those_of_detection_output_and_tell_their_places(keep, engine) -> None:
    locations, scores, priors = random_bottoms(np.random.default_rng(0), 2, 24, 2, True)
    param = f"num_classes: 2 confidence_threshold: 0.5 nms_param {{ nms_threshold: 0.6 }}{keep}"
    plain = net_of(engine, param, locations, scores, priors).blobs["y0"].data
    locations = locations.reshape(2, 3, 4, 8)
    param += " background_label_id: -1"
    found = net_of(engine, param, locations, scores, priors, "DetectionOutputExtended").blobs["y0"].data
    assert found.shape == (*plain.shape[:3], 10)
    np.testing.assert_array_equal(found[..., :7], plain)
    by_place = scores.reshape(2, *MAP, 2)
    for image, label, score, *_, number, x, y in found[0, 0]:
        assert label == 1
        assert by_place[int(image), int(y), int(x), int(number), 1] == score


def test_nothing_found(engine) -> None:
    locations, scores, priors = random_bottoms(np.random.default_rng(0), 2, 24, 2, True)
    param = "num_classes: 2 confidence_threshold: 1"
    found = net_of(engine, param, locations.reshape(2, 3, 4, 8), scores, priors, "DetectionOutputExtended")
    assert found.blobs["y0"].data.tolist() == [[[[0, *[-1] * 9], [1, *[-1] * 9]]]]


@pytest.mark.parametrize(
    ("classes", "shape", "what"),
    [
        (3, (2, 3, 4, 8), "num_classes is 3. Use 2: the background and one class"),
        (2, (2, 96), "the locations have the shape (2, 96). Give them as (N, H, W, A 4)"),
    ],
)
def test_what_is_refused(classes, shape, what, engine) -> None:
    locations, scores, priors = random_bottoms(np.random.default_rng(0), 2, 24, classes, True)
    with pytest.raises(LayerError) as error:
        net_of(engine, f"num_classes: {classes}", locations.reshape(shape), scores, priors, "DetectionOutputExtended")
    assert what in str(error.value)
