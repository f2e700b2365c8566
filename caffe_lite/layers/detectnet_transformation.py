"""DetectNetTransformation: random views of images, and their objects as coverage of the cells of a grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..data.binaryproto import read_binaryproto
from ..data.images.image import import_cv2
from ..layer import Kind, register_layer
from ..proto.caffe_pb2 import TRAIN
from .common.detectnet import RECORD, Grid, View
from .common.rows import ListsLayer


@register_layer("DetectNetTransformation")
class DetectNetTransformationLayer(ListsLayer):
    """What DetectNet sees, and what it should say.

    Each image is, in TRAIN: coloured otherwise, less the mean, mirrored, scaled, turned and cut to the size in
    ``detectnet_groundtruth_param``, each with its probability; in TEST: less the mean, and scaled to that size.
    Bottoms: images (N, 3, H, W) of 0 to 255, blue first; labels (N, 1, L, 16), with the number of objects and 16 in the
    first row, and then a row for each object: x, y, width, height, an angle, the class, and ten values that are not
    read. Tops: images (N, 3, image_size_y, image_size_x); the grid (N, 8 + classes, image_size_y / stride,
    image_size_x / stride), see Grid for its channels.
    Reads ``detectnet_groundtruth_param``: stride (4), the size of a cell; image_size_x (1248), image_size_y (384);
    object_class, the class dst for each class src of the labels (1 becomes 0); crop_bboxes (true: boxes end where the
    image does). The region in the middle of a box that counts as covered: scale_cvg (0.5) times its size, at most
    max_cvg_len (50), with gridbox_type GRIDBOX_MAX (the default); with GRIDBOX_MIN, at least min_cvg_len (50) and at
    most the box. obj_norm (false: channel 7 is at least 1). coverage_type (RECTANGULAR).
    Reads ``detectnet_augmentation_param``: crop_prob (1: cut at random, else the middle), shift_x (0) and shift_y (0),
    how far a cutting may lie beyond the image; scale_prob (0.33), scale_min (0.7), scale_max (1); flip_prob (0.33);
    rotation_prob (0.33), max_rotate_degree (1); hue_rotation_prob (0.33), hue_rotation (15); desaturation_prob (0.33),
    desaturation_max (0.5). resize_param, noise_param, distort_param, expand_param and emit_constraint have no effect.
    ``transform_param``: mean_file, scaled to the size of the images, or mean_value, once or three times.
    A net with this layer cannot be compiled, because it computes on the host.
    Source: NVIDIA's detectnet_transform_layer.cpp and detectnet_coverage_rectangular.cpp. Difference: it computes as
    the original does on CPUs; on GPUs the original interpolates with another kernel.
    """

    kind = Kind.DETECTION
    formula = r"y = \text{what a view of } x \text{ shows}"
    bottoms = (2, 2)
    tops = (2, 2)

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._check_parameters()
        file = self.param.transform_param.mean_file
        if file:
            path, mean = read_binaryproto(file, "mean_file", "transform_param", self.where, "compute-image-mean makes")
            if mean.ndim < 3 or mean.shape[-3] != 3:
                self.error(
                    f"mean_file {path!r} holds an array of shape {mean.shape}", "give one image of three colours"
                )
            self.mean_image = mean.reshape(mean.shape[-3:]).transpose(1, 2, 0).astype(np.float32)

    def outline(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._check_parameters()
        self.Reshape(bottom, top)

    def _check_parameters(self) -> None:
        p, t = self.param.detectnet_groundtruth_param, self.param.transform_param
        if min(p.stride, p.image_size_x, p.image_size_y) < 1:
            self.error(
                f"stride is {p.stride}, the image {p.image_size_x} x {p.image_size_y}",
                "give detectnet_groundtruth_param sizes of at least 1",
            )
        if len(t.mean_value) not in (0, 1, 3) or (t.mean_file and t.mean_value):
            self.error(f"mean_value is given {len(t.mean_value)} times", "give it once, or three times, or mean_file")
        self.grid = Grid(p)
        self.wanted = (p.image_size_x, p.image_size_y)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        images, labels = (blob.shape for blob in bottom)
        if len(images) != 4 or images[1] != 3:
            self.error(f"the images have the shape {images}", "give (N, 3, H, W)")
        if len(labels) != 4 or labels[0] != images[0] or labels[1] != 1 or labels[3] != RECORD or not labels[2]:
            self.error(f"the labels have the shape {labels}", f"beside {images} give ({images[0]}, 1, L, {RECORD})")
        top[0].Reshape((images[0], 3, *self.wanted[::-1]))
        top[1].Reshape((images[0], *self.grid.shape))

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        images, labels = (self.on_host(blob) for blob in bottom)
        size = (images.shape[3], images.shape[2])
        mean = self._mean(size)
        seen, said = np.empty(top[0].shape, np.float32), np.empty(top[1].shape)
        for n, image in enumerate(images):
            view = View.plain(self.wanted)
            if self.phase == TRAIN:
                view = View.drawn(self.param.detectnet_augmentation_param, size, self.wanted, self.rng)
            seen[n] = view.image(image.transpose(1, 2, 0), mean, self.wanted).transpose(2, 0, 1)
            objects = self._objects(labels[n, 0], n)
            said[n] = self.grid.coverage(view.boxes(objects[:, :4], size), objects[:, 5].astype(np.int64))
        top[0].data, top[1].data = self.ops.asarray(seen), self.ops.asarray(said)

    def _objects(self, label: np.ndarray, image: int) -> np.ndarray:
        """Return the rows of the objects of an image."""
        number, width = label[0, :2]
        if not 0 <= number < len(label) or width != RECORD:
            self.error(
                f"the label of image {image} begins with {number:g} objects of {width:g} values, "
                f"and has {len(label) - 1} rows of {RECORD} behind that",
                "make the labels as NVIDIA's DIGITS does",
            )
        return label[1 : int(number) + 1]

    def _mean(self, size: tuple[int, int]) -> np.ndarray | None:
        """Return the mean of the colours, or the mean image (H, W, 3) at this size (width, height)."""
        t = self.param.transform_param
        if t.mean_file:
            cv2 = import_cv2()
            mean: np.ndarray = cv2.resize(self.mean_image, size, interpolation=cv2.INTER_CUBIC)
            return mean
        return np.array(t.mean_value, np.float32) if t.mean_value else None
