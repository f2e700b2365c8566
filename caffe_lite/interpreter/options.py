"""Options of `caffe-lite run` that its children see, as environment variables."""

from __future__ import annotations

import os

CPU, COMPAT = "CAFFE_LITE_CPU", "CAFFE_LITE_COMPAT"


def asked(variable: str) -> bool:
    """Return whether an environment variable is set, and not to 0."""
    return os.environ.get(variable, "0") not in ("", "0")
