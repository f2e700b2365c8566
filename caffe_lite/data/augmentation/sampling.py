"""Patches of an image, drawn at random: by batch_sampler, which asks for its objects, or by yolo_data_jitter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import LayerError
from ...proto.caffe_pb2 import BatchSampler, SampleConstraint, Sampler
from ..boxes import areas, shared_areas
from .objects import BOX


def check_samplers(samplers: Sequence[BatchSampler]) -> None:
    """Refuse samplers that cannot draw."""
    for batch_sampler in samplers:
        sampler = batch_sampler.sampler
        if not 0 < sampler.min_scale <= sampler.max_scale <= 1:
            raise LayerError(
                f"a sampler draws scales from {sampler.min_scale:g} to {sampler.max_scale:g}",
                hint="Set 0 < min_scale <= max_scale <= 1",
            )
        if not 0 < sampler.min_aspect_ratio <= sampler.max_aspect_ratio < np.inf:
            raise LayerError(
                f"a sampler draws aspect ratios from {sampler.min_aspect_ratio:g} to {sampler.max_aspect_ratio:g}",
                hint="Set 0 < min_aspect_ratio <= max_aspect_ratio",
            )


def draw_patch(samplers: Sequence[BatchSampler], objects: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Return one of the patches that the samplers find, as a window of the image, or None if they find none.

    Each sampler draws max_trials patches, and takes the first max_sample of those that meet its sample_constraint. One
    whose use_original_image is false takes none.
    """
    found = [_patches(sampler, objects[:, BOX], rng) for sampler in samplers if sampler.use_original_image]
    patches = np.concatenate(found) if found else np.zeros((0, 4), np.float32)
    return patches[rng.integers(len(patches))] if len(patches) else None


def draw_jittered(jitter: float, keeps_aspect: bool, rng: np.random.Generator) -> np.ndarray:
    """Return a window of the image as MobileNet-YOLO's yolo_data_jitter draws it.

    In one of five cases it is the whole image. In another one its sides are 1 - jitter / 2 to 1 of the image's, else
    1 - jitter to 1.
    """
    share = jitter * rng.choice([0, 0.5, 1], p=[0.2, 0.2, 0.6])
    size = np.broadcast_to(rng.uniform(1 - share, 1, 1 if keeps_aspect else 2), 2)
    corner = rng.uniform(0, 1 - size)
    return np.concatenate([corner, corner + size]).astype(np.float32)


def _patches(sampler: BatchSampler, boxes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    patches = _draw(sampler.sampler, sampler.max_trials, rng)
    patches = patches[meet(sampler.sample_constraint, patches, boxes)]
    return patches[: sampler.max_sample] if sampler.HasField("max_sample") else patches


def _draw(sampler: Sampler, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return windows (count, 4) of random size and shape, each at a random place in the image."""
    scale = rng.uniform(sampler.min_scale, sampler.max_scale, count)
    aspect = rng.uniform(sampler.min_aspect_ratio, sampler.max_aspect_ratio, count)
    aspect = np.clip(aspect, scale**2, 1 / scale**2)  # so that no side is longer than the image's
    size = np.minimum(np.stack([scale * np.sqrt(aspect), scale / np.sqrt(aspect)], 1), 1)
    corner = rng.uniform(0, 1 - size)
    return np.concatenate([corner, corner + size], 1).astype(np.float32)


def meet(constraint: SampleConstraint, patches: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return whether each of the patches (M, 4) stands to at least one of the boxes (N, 4) as the constraint says.

    Measured are the intersection over union, the part of the patch that the box covers, and the part of the box that
    the patch covers; where several are bounded, one box must meet all bounds. Without any bound, every patch will do.
    """
    if not constraint.ListFields():
        return np.ones(len(patches), bool)
    shared = shared_areas(patches[:, None], boxes)
    patch, box = areas(patches)[:, None], areas(boxes)
    fits = np.ones(shared.shape, bool)
    for name, whole in (
        ("jaccard_overlap", patch + box - shared),
        ("sample_coverage", patch),
        ("object_coverage", box),
    ):
        part = np.divide(shared, whole, out=np.zeros_like(shared), where=shared > 0)
        if constraint.HasField(f"min_{name}"):
            fits &= part >= np.float32(getattr(constraint, f"min_{name}"))
        if constraint.HasField(f"max_{name}"):
            fits &= part <= np.float32(getattr(constraint, f"max_{name}"))
    return np.asarray(fits.any(1))
