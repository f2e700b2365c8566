"""AnchorEmbeddingExtractor: the vectors of maps at the places of detections, with labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..layer import Kind, register_layer
from ..onnx_graph import FLOAT, INT64, OnnxGraph, Value
from ..ops.array import Array
from .common.onnx_boxes import unless_any
from .common.rows import RowsLayer

_RECORD = 11  # values of a detection
_ITEM, _BOX, _ANCHOR, _TRACK, _ACTION, _X, _Y = 0, slice(2, 6), 6, 7, 8, 9, 10


@register_layer("AnchorEmbeddingExtractor")
class AnchorEmbeddingExtractorLayer(RowsLayer):
    """y_r = v_a[n, :, y, x], with the image n, the anchor a and the place (x, y) of the r-th detection that counts.

    A detection counts if its image is 0 or more and its action is below num_valid_actions.
    Bottoms: detections (1, 1, D, 11), each the image, a number that is not read, the box xmin, ymin, xmax, ymax, the
    anchor, the person, the action, x and y; for each anchor a map v (N, C, H, W). Tops: vectors (R, C); labels (R);
    with output_instance_weights the weights (R), one over the number of detections of the person in the image; with
    output_proposals the image and the box, (R, 5). If no detection counts, there is one row: a vector of 0, and -1 in
    the other tops. The maps get a gradient.
    Reads ``embedding_extractor_param``: num_anchors, label_src_pos, the place of the label in a detection,
    num_valid_actions (all), output_instance_weights (false), output_proposals (false).
    A net with this layer cannot be compiled, because its shapes depend on values.
    Source: OpenVINO's anchor_embedding_extractor_layer.cpp. Differences: there may be other than four anchors;
    detections at places that the maps do not have are errors (the original reads and writes other memory).
    """

    kind = Kind.DETECTION
    formula = r"y_r = v_{a_r}[n_r, :, y_r, x_r]"
    bottoms = (2, None)
    tops = (2, 3)

    def gradient_reaches(self, bottom_index: int, num_bottoms: int) -> bool:
        return bottom_index > 0

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.embedding_extractor_param
        if len(bottom) != p.num_anchors + 1:
            self.error(
                f"num_anchors is {p.num_anchors}, and there are {len(bottom)} bottoms",
                "give the detections, and then a map for each anchor",
            )
        if not (p.HasField("label_src_pos") and 0 <= p.label_src_pos < _RECORD):
            self.error(f"label_src_pos is {p.label_src_pos}", f"give the place of the label, 0 to {_RECORD - 1}")
        if (p.output_instance_weights + p.output_proposals) != len(top) - 2:
            self.error(
                f"{len(top)} tops, with output_instance_weights: {str(p.output_instance_weights).lower()} and "
                f"output_proposals: {str(p.output_proposals).lower()}",
                "give a third top and one of these, or neither",
            )

    def row_shapes(self, bottom: Sequence[Blob]) -> Sequence[tuple[int, ...]]:
        detections, *maps = (blob.shape for blob in bottom)
        if len(detections) != 4 or detections[:2] != (1, 1) or detections[3] != _RECORD:
            self.error(f"the detections have the shape {detections}", f"give (1, 1, D, {_RECORD})")
        if len(maps[0]) != 4 or any(shape != maps[0] for shape in maps):
            self.error(f"the maps have the shapes {', '.join(map(str, maps))}", "give maps of one shape (N, C, H, W)")
        self.map_shape = maps[0]
        return [(maps[0][1],), (), (5,) if self.param.embedding_extractor_param.output_proposals else ()]

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, p = self.ops, self.param.embedding_extractor_param
        records = self.on_host(bottom[0]).reshape(-1, _RECORD)
        numbers = np.trunc(records).astype(np.int64)
        counts = numbers[:, _ITEM] >= 0
        if p.HasField("num_valid_actions") and p.num_valid_actions >= 0:
            counts &= numbers[:, _ACTION] < p.num_valid_actions
        records, numbers = records[counts], numbers[counts]
        self.saved.index = ops.indices(self._places(numbers))
        self.set_rows(top, max(1, len(records)))
        if not len(records):
            top[0].data = ops.zeros(top[0].shape)
            for blob in top[1:]:
                blob.data = ops.full(blob.shape, -1.0)
            return
        vectors = ops.concat([self._vectors(blob.data) for blob in bottom[1:]], 0)
        top[0].data = ops.take_rows(vectors, self.saved.index)
        top[1].data = ops.asarray(numbers[:, p.label_src_pos])
        if p.output_instance_weights:
            _, which, number = np.unique(numbers[:, [_ITEM, _TRACK]], axis=0, return_inverse=True, return_counts=True)
            top[2].data = ops.asarray(1 / number[which.reshape(-1)])
        elif p.output_proposals:
            top[2].data = ops.asarray(np.concatenate([numbers[:, :1], records[:, _BOX]], 1))

    def _places(self, numbers: np.ndarray) -> np.ndarray:
        """Return the places of detections among the vectors of all maps; refuse places that the maps do not have."""
        images, _, height, width = self.map_shape
        place = numbers[:, [_ANCHOR, _ITEM, _Y, _X]]
        sizes = (self.param.embedding_extractor_param.num_anchors, images, height, width)
        wrong = ((place < 0) | (place >= sizes)).any(1)
        if wrong.any():
            anchor, image, y, x = place[wrong][0]
            self.error(
                f"a detection is at anchor {anchor} of image {image}, x {x}, y {y}, and there are {sizes[0]} "
                f"anchors, {images} images and {width} x {height} places",
                "check what makes the detections",
            )
        return np.ravel_multi_index(tuple(place.T), sizes) if len(place) else np.zeros(0, np.int64)

    def _vectors(self, maps: Array) -> Array:
        return self.ops.reshape(self.ops.transpose(maps, (0, 2, 3, 1)), (-1, self.map_shape[1]))

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        p, (_, channels, height, width) = self.param.embedding_extractor_param, self.map_shape
        records = g.reshape(bottom[0], (bottom[0].sizes[2], _RECORD))
        numbers = g.Cast(records, to=INT64)

        def of(places: Sequence[int], rows: Value) -> Value:
            column: Value = g.Gather(rows, list(places), axis=1)
            return column

        counts = g.GreaterOrEqual(of([_ITEM], numbers), 0)
        if p.HasField("num_valid_actions") and p.num_valid_actions >= 0:
            counts = g.And(counts, g.Less(of([_ACTION], numbers), p.num_valid_actions))
        flags, found = g.Where(counts, 0.0, -np.inf), g.Gather(g.NonZero(counts), 0, axis=0)
        records, numbers = g.Gather(records, found, axis=0), g.Gather(numbers, found, axis=0)
        sizes = np.array([p.num_anchors * height * width, height * width, width, 1])
        place = g.reduce("ReduceSum", g.Mul(of([_ITEM, _ANCHOR, _Y, _X], numbers), sizes), [1], keepdims=False)
        maps = [g.Unsqueeze(g.Transpose(x, perm=[0, 2, 3, 1]), [1]) for x in bottom[1:]]
        vectors = g.Gather(g.reshape(g.Concat(*maps, axis=1), (None, channels)), place, axis=0)
        label = g.Squeeze(g.Cast(of([p.label_src_pos], numbers), to=FLOAT), [1])
        tops = [unless_any(g, vectors, flags, [0] * channels), unless_any(g, label, flags, -1)]
        if p.output_instance_weights:
            persons = g.Cast(of([_ITEM, _TRACK], numbers), to=FLOAT)
            differ = g.reduce("ReduceMax", g.Abs(g.Sub(g.Unsqueeze(persons, [0]), g.Unsqueeze(persons, [1]))), [2])
            alike = g.reduce("ReduceSum", g.Cast(g.Equal(differ, 0.0), to=FLOAT), [1, 2], keepdims=False)
            tops.append(unless_any(g, g.Div(1.0, alike), flags, -1))
        elif p.output_proposals:
            item = g.Cast(of([_ITEM], numbers), to=FLOAT)
            boxes = of(range(*_BOX.indices(_RECORD)), records)
            tops.append(unless_any(g, g.Concat(item, boxes, axis=1), flags, [-1] * 5))
        return tops

    def example(self, index: int, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray | None:
        if index:
            return None
        p, (images, _, height, width) = self.param.embedding_extractor_param, self.map_shape
        records = rng.integers(0, 3, shape).astype(float)
        records[..., _BOX] = rng.random((*shape[:3], 4))
        for place, size in ((_ITEM, images), (_ANCHOR, p.num_anchors), (_Y, height), (_X, width)):
            records[..., place] = rng.integers(0, size, shape[:3])
        return records

    def Backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            self.error("a gradient is asked for the detections, and there is none", "set propagate_down: false for it")
        ops, (num, channels, height, width) = self.ops, self.map_shape
        places, found = num * height * width, self.saved.index.shape[0]
        gradient = ops.sum_rows(top[0].diff[:found], self.saved.index, places * (len(bottom) - 1))
        for i, blob in enumerate(bottom[1:]):
            if propagate_down[1 + i]:
                rows = ops.reshape(gradient[i * places : (i + 1) * places], (num, height, width, channels))
                blob.diff = ops.transpose(rows, (0, 3, 1, 2))
