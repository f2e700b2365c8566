"""Pillow: names that version 10 has removed, and the sizes of texts."""

from __future__ import annotations

from typing import Any

from ..imports import watch
from .names import Stand, give_methods, give_names, missing, say

_NAMES: dict[str, Stand] = {
    "ANTIALIAS": "PIL.Image.LANCZOS",
    "CUBIC": "PIL.Image.BICUBIC",
    "LINEAR": "PIL.Image.BILINEAR",
    "fromstring": "PIL.Image.frombytes",
}

PREVENTED = (
    *missing("PIL.Image", _NAMES),
    r"AttributeError: '(ImageDraw|FreeTypeFont|ImageFont|Image)' object has no attribute '(textsize|getsize|tostring)'",
)


def install() -> None:
    give_names("PIL.Image", _NAMES)
    watch("PIL.Image", lambda module: give_methods(module.Image, {"tostring": _tostring}))
    watch("PIL.ImageDraw", lambda module: give_methods(module.ImageDraw, {"textsize": _textsize}))
    watch("PIL.ImageFont", _patch_fonts)


def _patch_fonts(module: Any) -> None:
    for font in (module.FreeTypeFont, module.ImageFont):
        give_methods(font, {"getsize": _getsize})


def _tostring(self: Any, *args: object) -> bytes:
    say("Image.tostring", "image.tobytes()")
    data: bytes = self.tobytes(*args)
    return data


def _textsize(self: Any, text: str, font: Any = None, *args: object, **kw: object) -> tuple[int, int]:
    say("ImageDraw.textsize", "draw.textbbox((0, 0), text)")
    return _size(self.textbbox((0, 0), text, font, None, *args, **kw))


def _getsize(self: Any, text: str, *args: object, **kw: object) -> tuple[int, int]:
    say("ImageFont.getsize", "font.getbbox(text)")
    return _size(self.getbbox(text, *args, **kw))


def _size(box: tuple[float, float, float, float]) -> tuple[int, int]:
    return int(box[2]), int(box[3])
