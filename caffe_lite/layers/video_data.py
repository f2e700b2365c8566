"""VideoData: batches of frames, from folders of images, a video or a camera."""

from __future__ import annotations

from collections.abc import Sequence

from ..blobs.unknown import Shape
from ..data.batches import Batches
from ..data.paths import resolve
from ..data.transform import FORK_FIELDS, DataTransformer
from ..data.video import FolderBatches, FrameBatches
from ..layer import register_layer
from ..proto.caffe_pb2 import VideoDataParameter
from .common.batch_layer import BatchLayer


@register_layer("VideoData")
class VideoDataLayer(BatchLayer):
    """Frames of videos, over and over again, or those of one video.

    yjxiong's layer delivers stacks of frames from the folders that a list names, for nets that recognise actions. SSD's
    delivers the frames of a video file or a camera.
    Tops: data (N, C, H, W); label (N), which SSD's may leave out, and which is 0 there. C is 3, for yjxiong's the
    number of frames times 3 in the order B, G, R, or times 1 (grayscale), or times 2 (FLOW: x and y of each).
    Meanings: with a source it is yjxiong's, without one SSD's.
    Reads ``video_data_param``, yjxiong's: source, a list with a folder, its number of frames and a label on each line;
    batch_size; num_segments (1), parts of equal length of which each gives new_length (1) frames in a row, at a random
    place of the part in TRAIN and in its middle in TEST; modality (FLOW; or RGB); name_pattern ("image_%04d.jpg", or
    "flow_%c_%04d.jpg" for FLOW), the names of the frames, from 1 on; new_height and new_width (0), both or neither, to
    resize; grayscale (false); shuffle (false). SSD's: video_type (WEBCAM; or VIDEO), device_id (0), video_file,
    skip_frames (0), how many frames to leave out before each one, and batch_size of ``data_param``. rand_skip, scale,
    mean_file, crop_size, mirror and encoded have no effect, as in the original; transform_param has the last ones.
    ``transform_param``: see DataTransformer. Paths are relative to the working directory or, unlike in the original,
    to the folder of the prototxt; those in the list to the working directory.
    Source: Wang et al. 2016 (temporal segment networks), yjxiong's video_data_layer.cpp; SSD's video_data_layer.cpp.
    Differences: yjxiong's leaves the place of a frame that it cannot read as it was, and has labels (N, 1, 1, 1); SSD's
    stops the program at the end of a video, and writes beyond its memory with skip_frames. Here both are errors.
    """

    formula = r"y = (x - \text{mean}) \cdot \text{scale}"
    tops = (1, 2)
    reads_fork_fields = FORK_FIELDS

    def foresee(self) -> Sequence[Shape]:
        p = self.param.video_data_param
        if not p.source:
            self.meaning = "SSD's VideoData, because source is not given"
            size = self.param.data_param.batch_size
            if size < 1:
                self.error("batch_size of data_param is 0", "give data_param a batch_size of at least 1")
            if p.video_type == VideoDataParameter.VIDEO and not p.video_file:
                self.error("there is no video_file", "give video_data_param one, or the source of a list")
            return [self.foreseen_images(size, 3), (size,)]
        self.meaning = "yjxiong's VideoData, because source is given"
        self.check_source("video_data_param")
        self.check_pair(p, "new_height", "new_width")
        if p.num_segments < 1 or p.new_length < 1:
            self.error(f"num_segments is {p.num_segments} and new_length is {p.new_length}", "give 1 or more of each")
        flow = p.modality == VideoDataParameter.FLOW
        try:
            _ = p.name_pattern % (("x", 1) if flow else 1) if p.name_pattern else ""
        except (TypeError, ValueError):
            what, example = ("x or y and a number", "flow_%c_%04d.jpg") if flow else ("a number", "image_%04d.jpg")
            self.error(f"name_pattern {p.name_pattern!r} has no place for {what}", f"write it as {example}")
        channels = 2 if flow else 1 if p.grayscale else 3
        shape = self.foreseen_images(p.batch_size, channels * p.new_length * p.num_segments, p.new_height, p.new_width)
        return [shape, (p.batch_size,)]

    def open(self) -> Batches:
        p = self.param.video_data_param
        self.foresee()
        transformer = DataTransformer(self.param.transform_param, self.phase, self.where, self.ops.image_order)
        rng = self.new_generator()
        if p.source:
            return FolderBatches(p, transformer, self.phase, rng, self.where)
        source = resolve(p.video_file, self.where) if p.video_type == VideoDataParameter.VIDEO else p.device_id
        return FrameBatches(source, p.skip_frames, self.param.data_param.batch_size, transformer, rng)
