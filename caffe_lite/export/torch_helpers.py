"""Functions that exported modules of PyTorch contain where they need them; their text is copied from here."""

from __future__ import annotations

import torch
from torch import Tensor


def top_k(x: Tensor, k: int, dim: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
    """Return the k largest or smallest elements and their places; equal elements in their order."""
    values, places = x.sort(dim=dim, descending=largest, stable=True)
    return values.narrow(dim, 0, k), places.narrow(dim, 0, k)


def gather_nd(x: Tensor, places: Tensor, batch_dims: int) -> Tensor:
    """Return the elements at the places whose coordinates lie along the last axis, for each of a batch."""
    shape = x.shape[:batch_dims]
    flat = x.flatten(0, batch_dims - 1)
    places = places.flatten(0, batch_dims - 1)
    return torch.stack([flat[i][tuple(at.movedim(-1, 0))] for i, at in enumerate(places)]).unflatten(0, shape)


def one_hot(places: Tensor, depth: int, off_and_on: Tensor, dim: int) -> Tensor:
    """Return vectors along an axis whose element at the given place is on, and the others are off."""
    is_on = torch.arange(depth, device=places.device) == (places.long() % depth).unsqueeze(-1)
    return torch.where(is_on, off_and_on[1], off_and_on[0]).movedim(-1, dim)


def depth_to_space(x: Tensor, size: int) -> Tensor:
    """Arrange channels as blocks of size by size pixels; the place in the block is the slower part of the channel."""
    n, c, h, w = x.shape
    x = x.reshape(n, size, size, c // size**2, h, w)
    return x.permute(0, 3, 4, 1, 5, 2).reshape(n, c // size**2, h * size, w * size)


def space_to_depth(x: Tensor, size: int) -> Tensor:
    """Arrange blocks of size by size pixels as channels; the place in the block is the slower part of the channel."""
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // size, size, w // size, size)
    return x.permute(0, 3, 5, 1, 2, 4).reshape(n, c * size**2, h // size, w // size)


def roi_pool(x: Tensor, rois: Tensor, size: tuple[int, int], scale: float) -> Tensor:
    """Return the largest elements in size[0] by size[1] bins of each region (image, x1, y1, x2, y2)."""
    height, width = x.shape[2:]
    pooled = x.new_zeros(len(rois), x.shape[1], *size)
    for i, (image, *box) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (int(torch.tensor(edge * scale).add(0.5).floor()) for edge in box)
        bin_h, bin_w = max(y2 - y1 + 1, 1) / size[0], max(x2 - x1 + 1, 1) / size[1]
        for p in range(size[0]):
            top, bottom = y1 + int(p * bin_h), y1 - int(-(p + 1) * bin_h // 1)
            top, bottom = max(top, 0), min(bottom, height)
            for q in range(size[1]):
                left, right = x1 + int(q * bin_w), x1 - int(-(q + 1) * bin_w // 1)
                left, right = max(left, 0), min(right, width)
                if top < bottom and left < right:
                    pooled[i, :, p, q] = x[int(image), :, top:bottom, left:right].amax((1, 2))
    return pooled


def non_max_suppression(
    boxes: Tensor,
    scores: Tensor,
    most: int = 0,
    overlap: float = 0.0,
    least_score: float = -torch.inf,
    center_point_box: bool = False,
) -> Tensor:
    """Return the rows (image, class, box) of the boxes that overlap no better box of their class too much.

    boxes: (N, B, 4), two opposite corners, or the centre and the size; scores: (N, C, B). Of each class, at most
    ``most`` boxes with a score above ``least_score`` are kept, best first.
    """
    if center_point_box:
        centre, size = boxes.split(2, dim=-1)
        low, high = centre - size / 2, centre + size / 2
    else:
        low, high = torch.minimum(boxes[..., :2], boxes[..., 2:]), torch.maximum(boxes[..., :2], boxes[..., 2:])
    areas = (high - low).prod(-1)
    kept = []
    for n in range(scores.shape[0]):
        for c in range(scores.shape[1]):
            values, left = scores[n, c].sort(descending=True, stable=True)
            left = left[values > least_score]
            count = 0
            while len(left) and count < most:
                best, left = left[0], left[1:]
                kept.append([n, c, int(best)])
                count += 1
                sides = torch.minimum(high[n, best], high[n, left]) - torch.maximum(low[n, best], low[n, left])
                shared = sides.clamp(min=0).prod(-1)
                left = left[~(shared / (areas[n, best] + areas[n, left] - shared) > overlap)]
    return torch.tensor(kept, dtype=torch.int64, device=boxes.device).reshape(-1, 3)
