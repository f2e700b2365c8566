"""Patches, against the definition of each constraint written out for one patch and one box."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from caffe_lite.data.augmentation.sampling import check_samplers, draw_patch, meet
from caffe_lite.errors import LayerError
from caffe_lite.proto.caffe_pb2 import BatchSampler, SampleConstraint


def sampler(text: str) -> BatchSampler:
    return text_format.Parse(text, BatchSampler())


def drawn(text: str, boxes: np.ndarray, count: int = 300) -> list[np.ndarray | None]:
    objects = np.zeros((len(boxes), 7), np.float32)
    objects[:, 2:6] = boxes
    rng = np.random.default_rng(3)
    return [draw_patch([sampler(text)], objects, rng) for _ in range(count)]


def measures(patch: np.ndarray, box: np.ndarray) -> dict[str, float]:
    width = min(patch[2], box[2]) - max(patch[0], box[0])
    height = min(patch[3], box[3]) - max(patch[1], box[1])
    shared = width * height if width > 0 and height > 0 else 0.0
    patch_area = (patch[2] - patch[0]) * (patch[3] - patch[1])
    box_area = (box[2] - box[0]) * (box[3] - box[1])
    return {
        "jaccard_overlap": shared / (patch_area + box_area - shared),
        "sample_coverage": shared / patch_area,
        "object_coverage": shared / box_area,
    }


@pytest.mark.parametrize(
    "text",
    [
        "min_jaccard_overlap: 0.3",
        "max_jaccard_overlap: 0.2",
        "min_sample_coverage: 0.4",
        "max_sample_coverage: 0.1",
        "min_object_coverage: 0.7",
        "max_object_coverage: 0.5",
        "min_jaccard_overlap: 0.1 max_jaccard_overlap: 0.3 min_object_coverage: 0.5 max_sample_coverage: 0.6",
    ],
)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_which_patches_meet_a_constraint(text: str, count: int) -> None:
    constraint = text_format.Parse(text, SampleConstraint())
    rng = np.random.default_rng(0)
    patches, boxes = (
        np.concatenate([low, low + rng.random((n, 2)) * (1 - low)], 1).astype(np.float32)
        for n in (200, count)
        for low in (rng.random((n, 2)),)
    )
    expected = [
        any(
            all(
                getattr(constraint, f"min_{name}") <= value
                and (not constraint.HasField(f"max_{name}") or value <= getattr(constraint, f"max_{name}"))
                for name, value in measures(patch, box).items()
            )
            for box in boxes
        )
        for patch in patches.astype(float)
    ]
    assert meet(constraint, patches, boxes).tolist() == expected
    assert (count > 0) <= (sum(expected) > 0)
    assert count != 1 or sum(expected) < 200


def test_without_bounds_every_patch_will_do_even_without_objects() -> None:
    patches = np.ones((4, 4), np.float32)
    assert meet(SampleConstraint(), patches, np.zeros((0, 4), np.float32)).all()


def test_sizes_and_places_of_patches() -> None:
    text = "sampler { min_scale: 0.3 max_scale: 0.9 min_aspect_ratio: 0.5 max_aspect_ratio: 2 } max_sample: 1"
    patches = np.array(drawn(text, np.zeros((0, 4)), 2000), float)
    width, height = patches[:, 2] - patches[:, 0], patches[:, 3] - patches[:, 1]
    scale, aspect = np.sqrt(width * height), width / height
    assert (patches >= 0).all()
    assert (patches <= 1 + 1e-6).all()
    assert 0.3 <= scale.min() + 1e-5 < 0.32
    assert 0.88 < scale.max() <= 0.9 + 1e-5
    assert (aspect >= np.maximum(0.5, scale**2) - 1e-4).all()
    assert (aspect <= np.minimum(2, 1 / scale**2) + 1e-4).all()
    assert 0.4 < np.median(patches[:, 0] / (1 - width + 1e-9)) < 0.6  # uniform in what room there is


def test_a_patch_meets_its_constraint_or_there_is_none() -> None:
    box = np.array([[0.1, 0.1, 0.3, 0.3]])
    text = "sampler { min_scale: 0.2 max_scale: 0.5 } sample_constraint { min_jaccard_overlap: 0.5 } max_trials: 20"
    patches = drawn(text, box)
    found = [patch for patch in patches if patch is not None]
    assert 0 < len(found) < len(patches)
    assert all(measures(patch, box[0])["jaccard_overlap"] >= 0.5 - 1e-6 for patch in found)


def test_the_first_max_sample_patches_of_each_sampler_are_equally_likely() -> None:
    first = sampler("max_sample: 1 max_trials: 50")  # the whole image
    second = sampler("sampler { min_scale: 0.5 max_scale: 0.5 } max_sample: 3")
    rng = np.random.default_rng(0)
    drawn = [draw_patch([first, second], np.zeros((0, 7), np.float32), rng) for _ in range(2000)]
    whole = sum(patch is not None and patch.tolist() == [0, 0, 1, 1] for patch in drawn)
    assert 430 < whole < 570  # one of four


def test_no_patches() -> None:
    assert drawn("use_original_image: false", np.zeros((0, 4)), 1) == [None]
    assert drawn("max_sample: 0", np.zeros((0, 4)), 1) == [None]
    assert drawn("sample_constraint { min_jaccard_overlap: 0.1 }", np.zeros((0, 4)), 1) == [None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("min_scale: 0.5 max_scale: 0.4", "scales from 0.5 to 0.4. Set 0 < min_scale <= max_scale <= 1"),
        ("min_scale: 0 max_scale: 0.4", "scales from 0 to 0.4"),
        ("max_scale: 1.5", "scales from 1 to 1.5"),
        ("min_aspect_ratio: 2", "aspect ratios from 2 to 1"),
        ("max_aspect_ratio: inf", "aspect ratios from 1 to inf"),
    ],
)
def test_ranges_that_cannot_be_drawn_from(text: str, message: str) -> None:
    with pytest.raises(LayerError) as caught:
        check_samplers([sampler(f"sampler {{ {text} }}")])
    assert message in str(caught.value)
