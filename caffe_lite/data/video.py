"""Frames of videos: stacks of frames from folders of images, and frames of a file or a camera one by one."""

from __future__ import annotations

import os
from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError, Where
from ..files.paths import library_path, system_path
from ..logs.log import logger
from ..proto.caffe_pb2 import TRAIN, VideoDataParameter
from .batches import Decoded, ImageBatches
from .images.image import channels_first, decode_image, import_cv2, read_image_file, resize_image
from .order import Order, Place
from .paths import read_lines, resolve
from .transform import DataTransformer


def open_video(source: str | int) -> Any:
    """Return OpenCV's reader of a video file, or of the camera with this number."""
    if isinstance(source, int):
        video = import_cv2().VideoCapture(source)
        if not video.isOpened():
            raise DataError(f"camera {source} cannot be opened", hint="connect it, or set another device_id")
        return video
    if not os.path.isfile(path := system_path(source)):
        raise DataError("there is no such video", where=Where(source))
    video = import_cv2().VideoCapture(library_path(path))
    if not video.isOpened():
        hint = "it is damaged, or of a format this OpenCV lacks"
        raise DataError("OpenCV cannot read this video", where=Where(source), hint=hint)
    return video


class Clip(NamedTuple):
    """A folder of frames in a list: its path, how many frames it has, its label, and its line in the list."""

    folder: str
    frames: int
    label: int
    line: int


Piece = tuple[int, tuple[int, ...]]  # a clip, and the number of frames before each segment


class FolderBatches(ImageBatches[Piece, int]):
    """Stacks of the frames of clips: from each of ``num_segments`` parts, ``new_length`` frames in a row.

    In TRAIN a part's frames begin at random, else in its middle; if a part is too short, with the clip's first frame.
    """

    def __init__(
        self,
        param: VideoDataParameter,
        transformer: DataTransformer,
        phase: int,
        rng: np.random.Generator,
        where: Where | None,
    ) -> None:
        super().__init__(transformer, param.batch_size, rng)
        self.param = param
        self.where = where
        self.at_random = phase == TRAIN
        self.flow = param.modality == VideoDataParameter.FLOW
        self.pattern = param.name_pattern or ("flow_%c_%04d.jpg" if self.flow else "image_%04d.jpg")
        self.file = resolve(param.source, where)
        self.clips = [self._clip(line, number) for number, line in read_lines(param.source, where, "video_data_param")]
        if not self.clips:
            raise DataError("the list of videos is empty", where=Where(self.file), hint="Write lines like folder 120 3")
        logger.info("A total of %d videos.", len(self.clips))
        self.order = Order(f"videos in {self.file!r}", len(self.clips), rng if param.shuffle else None)

    def _clip(self, line: str, number: int) -> Clip:
        words = line.rsplit(None, 2)
        try:
            folder, frames, label = words
            return Clip(folder, int(frames), int(label), number)
        except ValueError:
            raise DataError(
                f"the line {line!r} does not end in two whole numbers",
                where=Where(self.file, number, 1),
                hint="A line is a folder, the number of frames in it, and a label",
            ) from None

    def peek(self) -> Piece:
        return self._piece(self.order.peek(), at_random=False)

    def read(self, count: int) -> list[Piece]:
        return [self._piece(number, self.at_random) for number in self.order.take(count, self.share)]

    def _piece(self, number: int, at_random: bool) -> Piece:
        part = self.clips[number].frames // self.param.num_segments
        room = part - self.param.new_length + 1
        if room < 1:
            return number, (0,) * self.param.num_segments
        starts = (
            self.rng.integers(room, size=self.param.num_segments)
            if at_random
            else [room // 2] * self.param.num_segments
        )
        return number, tuple(int(start) + i * part for i, start in enumerate(starts))

    def name(self, record: Piece) -> Hashable:
        return record

    def decode(self, record: Piece) -> Decoded:
        number, starts = record
        clip = self.clips[number]
        frames = [
            self._frame(clip, start + i, axis)
            for start in starts
            for i in range(1, self.param.new_length + 1)
            for axis in ("xy" if self.flow else " ")
        ]
        sizes = {frame.shape for frame in frames}
        if len(sizes) > 1:
            raise DataError(f"its frames have the shapes {sorted(sizes)}", hint="Set new_height and new_width")
        return np.concatenate(frames), clip.label

    def _frame(self, clip: Clip, number: int, axis: str) -> np.ndarray:
        p = self.param
        path = f"{clip.folder}/{self.pattern % ((axis, number) if self.flow else number)}"
        image = decode_image(read_image_file(path, self.where), color=not (self.flow or p.grayscale))
        if p.new_height:
            image = resize_image(image, p.new_height, p.new_width)
        return channels_first(image)

    def error(self, record: Piece, what: str, hint: str) -> DataError:
        clip = self.clips[record[0]]
        return DataError(f"the video {clip.folder!r} {what}", where=Where(self.file, clip.line, 1), hint=hint)

    def place(self) -> Place:
        return {"order": self.order.place()}

    def seek(self, place: Place) -> None:
        self.order.seek(place["order"])


Frame = tuple[int, np.ndarray]


class FrameBatches(ImageBatches[Frame, int]):
    """The frames of a video file or a camera, each after ``skip`` frames that are left out; the label is 0."""

    def __init__(
        self, source: str | int, skip: int, batch_size: int, transformer: DataTransformer, rng: np.random.Generator
    ) -> None:
        super().__init__(transformer, batch_size, rng)
        self._kept = None  # no frame comes again
        self.source = source
        self.skip = skip
        self.video = open_video(source)
        self.next = 0
        self.ahead: Frame | None = None

    def peek(self) -> Frame:
        if self.ahead is None:
            self.ahead = self._following()
        return self.ahead

    def read(self, count: int) -> list[Frame]:
        frames, total = [], count * self.share.count
        own = set(self.share.of(range(total)))
        for number in range(total):
            frame, self.ahead = self.peek(), None
            if number in own:
                frames.append(frame)
        return frames

    def _following(self) -> Frame:
        for _ in range(self.skip + 1):
            frame = self.video.read()[1]
            if frame is None:
                raise DataError(
                    f"{self._named()} ends after {self.next} frames",
                    hint="run as many iterations as it has frames for, less those that are skipped",
                )
            self.next += 1
        return self.next - 1, frame

    def _named(self) -> str:
        return f"the video {self.source!r}" if isinstance(self.source, str) else f"camera {self.source}"

    def name(self, record: Frame) -> Hashable:
        return record[0]

    def decode(self, record: Frame) -> Decoded:
        return channels_first(record[1]), 0

    def error(self, record: Frame, what: str, hint: str) -> DataError:
        return DataError(f"frame {record[0]} of {self._named()} {what}", hint=hint)

    def place(self) -> Place:
        return {"frame": self.next if self.ahead is None else self.ahead[0] - self.skip}

    def seek(self, place: Place) -> None:
        """Go on from a frame; a camera goes on from what it sees."""
        self.next, self.ahead = int(place["frame"]), None
        if isinstance(self.source, str):
            self.video.set(import_cv2().CAP_PROP_POS_FRAMES, self.next)

    def close(self) -> None:
        super().close()
        self.video.release()
