"""Files of images and videos: which there are, reading them, and writing others like them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..data.images.image import decode_image, import_cv2
from ..data.video import open_video
from ..errors import CaffeError, DataError, Where
from ..files.atomic import atomic_write, writing
from ..files.paths import system_path

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
_FRAMES_PER_SECOND = 25.0  # of videos that do not say

Put = Callable[[np.ndarray], None]


class Medium(NamedTuple):
    """A file of an image or a video."""

    path: str

    @property
    def is_video(self) -> bool:
        return self.path.lower().endswith(VIDEOS)

    @property
    def out_name(self) -> str:
        """The name of a file like this one, in a format that can be written."""
        name = os.path.basename(self.path)
        if self.is_video:
            return f"{os.path.splitext(name)[0]}.mp4"
        return name if name.lower().endswith(IMAGES) else f"{name}.png"

    def frames(self) -> Iterator[tuple[str, np.ndarray]]:
        """Go through the images (H, W, 3) in the file, with their names: the path, and the number of a frame."""
        if self.is_video:
            for number, frame in enumerate(self._video_frames()):
                yield f"{self.path}[{number}]", frame
        else:
            yield self.path, self._image()

    @contextmanager
    def like(self, path: str) -> Iterator[Put]:
        """Write a file of this kind, as a whole, from the images that the block puts into it."""
        if not self.is_video:
            with atomic_write(path) as part:
                yield lambda image: _write_image(part, os.path.splitext(path)[1], image)
            return
        with writing(path), tempfile.TemporaryDirectory(prefix=".", dir=os.path.dirname(path)) as folder:
            part = Path(folder, "part.mp4")
            video = _Video(part, path, self._frames_per_second())
            try:
                yield video.put
            finally:
                video.close()
            if part.exists():
                os.replace(part, path)

    def _image(self) -> np.ndarray:
        try:
            return decode_image(Path(system_path(self.path)).read_bytes(), color=True)
        except OSError as error:
            raise DataError(f"the image cannot be read: {error.strerror}", where=Where(self.path)) from error
        except DataError as error:
            raise DataError(
                f"the image cannot be read: {error.what}", where=Where(self.path), hint=error.hint
            ) from error

    def _video_frames(self) -> Iterator[np.ndarray]:
        video = open_video(self.path)
        try:
            while (frame := video.read()[1]) is not None:
                yield frame
        finally:
            video.release()

    def _frames_per_second(self) -> float:
        video = open_video(self.path)
        try:
            return video.get(import_cv2().CAP_PROP_FPS) or _FRAMES_PER_SECOND
        finally:
            video.release()


class _Video:
    """A video that is opened with its first frame, whose size all must have."""

    def __init__(self, part: Path, target: str, frames_per_second: float) -> None:
        self.part, self.target, self.frames_per_second = part, target, frames_per_second
        self.writer: Any = None

    def put(self, frame: np.ndarray) -> None:
        if self.writer is None:
            cv2 = import_cv2()
            code, size = cv2.VideoWriter_fourcc(*"mp4v"), (frame.shape[1], frame.shape[0])
            self.writer = cv2.VideoWriter(str(self.part), code, self.frames_per_second, size)
            if not self.writer.isOpened():
                raise CaffeError("this OpenCV cannot write videos", where=Where(self.target), hint="use --json instead")
        self.writer.write(frame)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.release()


def _write_image(part: Path, suffix: str, image: np.ndarray) -> None:
    part.write_bytes(import_cv2().imencode(suffix, image)[1].tobytes())


def media_of(path: str) -> list[Medium]:
    """Return the file, or the images and videos in a folder, in the order of their names."""
    if not os.path.isdir(folder := system_path(path)):
        return [Medium(path)]
    names = sorted(name for name in os.listdir(folder) if name.lower().endswith(IMAGES + VIDEOS))
    if not names:
        raise DataError(
            "there are no images or videos in this folder",
            where=Where(path),
            hint=f"those end with {', '.join(IMAGES + VIDEOS)}",
        )
    return [Medium(os.path.join(path, name)) for name in names]


def out_files(media: list[Medium], folder: str, suffix: str | None = None) -> list[str]:
    """Make the folder and return the path of each file to write there, of images with another suffix if one is given.

    Refuse paths that come twice, or that are those of files to read.
    """
    path = system_path(folder)
    names = [
        medium.out_name if suffix is None or medium.is_video else os.path.splitext(medium.out_name)[0] + suffix
        for medium in media
    ]
    targets = [os.path.join(path, name) for name in names]
    sources = {os.path.realpath(system_path(medium.path)) for medium in media}
    for index, target in enumerate(targets):
        if os.path.realpath(target) in sources or target in targets[:index]:
            where, hint = Where(target), "give --out another folder, or run it once for each folder of images"
            raise CaffeError("two of the files would be the same one", where=where, hint=hint)
    with writing(os.path.join(path, "images")):
        os.makedirs(path, exist_ok=True)
    return targets
