"""Python 2's StringIO and cStringIO, which held bytes and text alike."""

from __future__ import annotations

import io

from .names import say


def StringIO(initial: str | bytes = "") -> io.StringIO | io.BytesIO:
    """A file in memory: of bytes, if it begins with bytes."""
    say("StringIO.StringIO", "io.BytesIO of bytes, io.StringIO of text")
    return io.StringIO(initial) if isinstance(initial, str) else io.BytesIO(initial)
