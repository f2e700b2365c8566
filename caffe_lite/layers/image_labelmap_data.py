"""ImageLabelmapData: batches of images, and of maps of their edges, from the pairs of files that a text file lists."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs.unknown import Shape
from ..data.segmentation.edges import EdgeBatches
from ..data.segmentation.pairs import PairList
from ..data.transform import DataTransformer
from ..layer import register_layer
from ..proto.caffe_pb2 import TRAIN
from .common.map_layer import LabelMapLayer


@register_layer("ImageLabelmapData")
class ImageLabelmapDataLayer(LabelMapLayer):
    """Images and their edges, in the order of a list or in a new random order in each epoch, over and over again.

    Tops: data (N, C, H, W), C = 3 in the order B, G, R, or 1; label (N, 1, H, W), 1 on edges and else 0. Each batch
    takes the height and width of its first image, which all its images must have.
    Reads ``image_data_param``: source, the list, with the paths of an image and of the map of its edges on each line;
    batch_size (1); root_folder (""), put before each path as it is, so with its slash; new_height and new_width (0),
    both or neither, to resize images and maps with bilinear interpolation; is_color (true); shuffle (false); rand_skip
    (0), to skip a random number of pairs, fewer than this, at the start. ``transform_param``: see DataTransformer; but
    crop_size is at a random place in every phase. ``data_param``: prefetch (4).
    A map is read in gray, and has edges where the value is at least 128 after it is resized.
    Source: Xie and Tu, Holistically-Nested Edge Detection, 2015; image_labelmap_data_layer.cpp of hed.
    Differences: the original leaves out an image that cannot be read, and its place in the batch holds an older one.
    Random numbers are not the fork's.
    """

    def foresee(self) -> Sequence[Shape]:
        p = self.param.image_data_param
        self.check_list()
        self.check_transform()
        self.refuse_moved("image_data_param")
        return self.foreseen_maps(p.batch_size, 3 if p.is_color else 1, p.new_height, p.new_width)

    def open(self) -> EdgeBatches:
        self.foresee()
        # In the TRAIN phase, a DataTransformer crops at random places.
        transformer = DataTransformer(self.param.transform_param, TRAIN, self.where, self.ops.image_order)
        rng = self.new_generator()
        pairs, reading = self.open_list(PairList, rng)
        batch_size = self.param.image_data_param.batch_size
        return EdgeBatches(pairs, reading, transformer, batch_size, rng, self.where)
