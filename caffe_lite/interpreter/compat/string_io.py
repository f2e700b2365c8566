"""Python 2's StringIO and cStringIO, which held bytes and text alike."""

from __future__ import annotations

import io

from .names import say


def StringIO(initial: str | bytes = "") -> io.StringIO | io.BytesIO:
    """Make a file in memory: of bytes if ``initial`` is bytes, else of text."""
    say("StringIO.StringIO", "io.BytesIO of bytes, io.StringIO of text")
    return io.StringIO(initial) if isinstance(initial, str) else io.BytesIO(initial)
