"""DataAugmentation: images transformed and coloured at random, less their mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..blobs import Blob
from ..layer import Kind, Layer, register_layer
from ..logs.log import logger
from ..onnx_graph import OnnxGraph, Value
from ..ops.array import Array
from ..proto.caffe_pb2 import LayerParameter
from .common import augmentation
from .common.statistics import not_learned


@register_layer("DataAugmentation")
class DataAugmentationLayer(Layer):
    """Crops of images, transformed and coloured at random in TRAIN, from the centre in TEST, less a mean.

    A crop is mirrored, turned about its centre, moved by parts of its size and zoomed; transformations are drawn up to
    50 times until the corners lie in the image, and left out if none does. Then follow, where a coefficient of the
    batch asks for them: colours along the eigenvectors of colour; colours at equal brightness, limited to 1, gamma,
    brightness, contrast; shadows and noise. Fog and motion blur have coefficients, but no effect, as in the original.
    A coefficient within 0.001 of the one that changes nothing counts as that one.
    Without crop_width and crop_height, images are not augmented. A centre crop smaller by an odd number of pixels lies
    between pixels, and the last pixels of an image are mixed with those before them, as in the original.
    Bottoms: images (N, C, H, W); optionally the coefficients to use (N, 42, 1, 1). Tops: (N, C, crop_height,
    crop_width), or (N, C, H, W); optionally the coefficients. There is no gradient.
    Blobs: the number of passes (1, 1, 1, 1); with recompute_mean, the mean of each pixel (1, C, H, W) of the top, and
    of each channel (1, C, 1, 1). They are stored with the weights and not learned.
    Reads ``augmentation_param``: crop_width, crop_height; augment_during_test (false), to draw in TEST, too;
    recompute_mean (0), how many passes compute the mean; mean_per_pixel (true), to subtract the mean of each pixel, not
    of each channel; mean, three values to subtract if recompute_mean is 0 and mean_per_pixel false; max_multiplier
    (255), the limit of colours; chromatic_eigvec, nine values; and distributions: mirror, translate, translate_x,
    translate_y, rotate (radians), zoom, squeeze; gamma, brightness, contrast, color; lmult_pow, lmult_mult, lmult_add,
    sat_pow, sat_mult, sat_add, col_pow, col_mult, col_add, ladd_pow, ladd_mult, ladd_add, col_rotate; fog_amount,
    fog_size, motion_blur_angle, motion_blur_size, shadow_angle, shadow_distance, shadow_strength, noise. Each has
    rand_type ("uniform"; gaussian, bernoulli, uniform_bernoulli, gaussian_bernoulli), mean (0), spread (0), prob (1),
    exp (false), discretize (false), multiplier (1), apply_schedule (true). mode, num, bottomwidth and bottomheight are
    GenerateAugmentationParameters'; write_augmented and write_mean have no effect.
    Reads ``coeff_schedule_param``: half_life (1), initial_coeff (1), final_coeff (1), the factor of every spread: half
    of the way from the first to the last after half_life passes. For mirror the factor is 0.
    A net with this layer can be compiled if it does not crop.
    Source: Dosovitskiy et al. 2015 (FlowNet), Ilg et al. 2017 (FlowNet 2.0); data_augmentation_layer.cpp of FlowNet2.
    Differences: it runs on CPUs, the original only on GPUs; effects take any number of channels; the number of passes
    goes on after a snapshot without recompute_mean, too (in the original it starts again from 0); crops of one pixel
    work (in the original they never end); a zoom of 0 or a negative factor is an error (there they give NaN), and so
    is one of crop_width and crop_height alone (there it has no effect).
    """

    kind = Kind.DATA
    formula = r"y(p) = g(x(A p + t)) - \text{mean}"
    bottoms = (1, 2)
    tops = (1, 2)
    not_differentiable = (0, 1)

    @staticmethod
    def caption(param: LayerParameter) -> str:
        p = param.augmentation_param
        return f"{p.crop_width} x {p.crop_height}" if p.crop_width and p.crop_height else ""

    def Setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.augmentation_param
        self.drawing = augmentation.Drawing(self)
        self.crops = p.HasField("crop_width")
        if self.crops != p.HasField("crop_height"):
            self.error("one of crop_width and crop_height is given", "give both, or none")
        if self.crops and not (p.crop_width and p.crop_height):
            self.error(f"the crop is {p.crop_width} x {p.crop_height}", "use 1 or more, or leave both out")
        if len(p.chromatic_eigvec) not in (0, 9):
            self.error(f"chromatic_eigvec has {len(p.chromatic_eigvec)} values", "give 9, three for each vector")
        self.uses_mean = not p.recompute_mean and len(p.mean) == 3 and not p.mean_per_pixel
        if p.mean and not self.uses_mean:
            logger.warning(
                "%s: mean has no effect without three values, mean_per_pixel: false and recompute_mean: 0", self.name
            )
        self.blobs.append(Blob(self.ops, (1, 1, 1, 1)))
        if p.recompute_mean:
            _, channels, *size = self._top_shape(bottom[0])
            self.blobs += [Blob(self.ops, (1, channels, *size)), Blob(self.ops, (1, channels, 1, 1))]
        not_learned(self, range(len(self.blobs)))

    def _top_shape(self, images: Blob) -> tuple[int, ...]:
        shape, p = images.shape, self.param.augmentation_param
        if len(shape) != 4:
            self.error(f"the bottom has the shape {shape}", "give images (N, C, H, W)")
        if not self.crops:
            return shape
        if p.crop_height > shape[2] or p.crop_width > shape[3]:
            self.error(
                f"a crop of {p.crop_width} x {p.crop_height} pixels is larger than the image, {shape[3]} x {shape[2]}",
                "use a smaller one",
            )
        return (*shape[:2], p.crop_height, p.crop_width)

    def Reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = self._top_shape(bottom[0])
        if len(self.blobs) > 1 and shape[1:] != self.blobs[1].shape[1:]:
            self.error(
                f"the top would be {shape}, and the mean is {self.blobs[1].shape}", "make another net for these images"
            )
        if self.uses_mean and shape[1] != 3:
            self.error(f"mean has 3 values for {shape[1]} channels", "leave mean out")
        if len(bottom) > 1:
            augmentation.check_rows(self, bottom[1].shape, shape[0])
        top[0].Reshape(shape)
        if len(top) > 1:
            top[1].Reshape(bottom[1].shape if len(bottom) > 1 else (shape[0], len(augmentation.NAMES), 1, 1))

    def fitted(self, arrays: Sequence[np.ndarray | None]) -> Sequence[np.ndarray | None]:
        """Take the channels' mean for each pixel if the file's mean has another size, as the original does."""
        count, *means = arrays
        if len(self.blobs) == 1:
            return [count]
        if len(means) != 2 or means[0] is None or means[1] is None or means[0].shape == self.blobs[1].shape:
            return arrays
        mean = means[1]
        if self.param.augmentation_param.mean_per_pixel and means[0].ndim == 4:
            mean = means[0].mean((2, 3), keepdims=True)
        fits = mean.size == self.blobs[2].count
        return (
            [count, np.broadcast_to(mean.reshape(self.blobs[2].shape), self.blobs[1].shape), mean] if fits else arrays
        )

    def Forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        ops, x = self.ops, bottom[0].data
        count = self.blobs[0].data
        count += 1.0
        if self.crops:
            given = bottom[1].data if len(bottom) > 1 else None
            rows = self._rows(given, bottom[0].shape[0], bottom[0].shape[2:])
            x = ops.asarray(self._augmented(np.asarray(ops.host_view(x)), rows, top[0].shape[2:]))
            if len(top) > 1:
                top[1].data = ops.reshape(ops.asarray(rows), top[1].shape)
        elif len(top) > 1:
            top[1].data = bottom[1].data if len(bottom) > 1 else ops.zeros(top[1].shape)
        top[0].data = self._less_mean(x)

    def to_onnx(self, g: OnnxGraph, bottom: Sequence[Value], top: Sequence[Value]) -> Sequence[Value]:
        p, images = self.param.augmentation_param, bottom[0]
        if self.crops:
            self.error(
                "crops have no form in ONNX", "Remove crop_width and crop_height, and crop images before the net"
            )
        if p.recompute_mean and self.ops.host_view(self.blobs[0].data).item() < p.recompute_mean:
            self.error("its mean is not final yet", f"Load weights, or run {p.recompute_mean} passes before")
        y = images
        if self.uses_mean:
            y = g.Sub(images, np.array(p.mean).reshape(1, 3, 1, 1))
        elif p.recompute_mean:
            y = g.Sub(images, self.blobs[1 if p.mean_per_pixel else 2])
        if len(top) == 1:
            return [y]
        return [y, bottom[1] if len(bottom) > 1 else g.Expand(0.0, g.sizes(images, top[1].sizes))]

    def _rows(self, given: Array | None, num: int, image: tuple[int, ...]) -> np.ndarray:
        size = (num, len(augmentation.NAMES))
        if given is not None:
            return self.ops.host_view(given).reshape(size)
        p, count = self.param.augmentation_param, self.ops.host_view(self.blobs[0].data).item()
        return self.drawing.rows(np.zeros(size), "regenerate", count, (p.crop_height, p.crop_width), image)

    def _augmented(self, images: np.ndarray, rows: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
        p = self.param.augmentation_param
        coefficients = augmentation.settled(augmentation.decoded(rows))
        y = augmentation.transformed(images, augmentation.matrices(self, coefficients, size, images.shape[2:]), size)
        if augmentation.changes(coefficients, augmentation.EIGEN):
            self._check_colours(images)
            if not p.chromatic_eigvec:
                self.error("there are coefficients for eigenvectors, and no chromatic_eigvec", "give 9 values")
            vectors = np.array(p.chromatic_eigvec).reshape(3, 3)
            y = augmentation.recoloured_in_eigenspace(y, images, vectors, coefficients, p.max_multiplier)
        if augmentation.changes(coefficients, augmentation.CHROMATIC):
            self._check_colours(images)
            y = augmentation.recoloured(y, coefficients, p.max_multiplier)
        if augmentation.has_effects(coefficients):
            y = augmentation.affected(y, coefficients, p.max_multiplier, self)
        return y

    def _check_colours(self, images: np.ndarray) -> None:
        if images.shape[1] != 3:
            self.error(f"colours are to be changed in images of {images.shape[1]} channels", "use images of 3")

    def _less_mean(self, y: Array) -> Array:
        ops, p = self.ops, self.param.augmentation_param
        if self.uses_mean:
            return y - ops.asarray(np.array(p.mean).reshape(1, 3, 1, 1))
        if not p.recompute_mean:
            return y
        count, pixels, channels = (blob.data for blob in self.blobs)
        if y.shape[0]:
            active = ops.astype(count <= p.recompute_mean)
            share = active / count
            pixels *= 1.0 - share
            pixels += ops.sum(y, 0) / y.shape[0] * share
            channels *= 1.0 - active
            channels += ops.sum(pixels, (2, 3), keepdims=True) / (pixels.shape[2] * pixels.shape[3]) * active
        return y - (pixels if p.mean_per_pixel else channels)
