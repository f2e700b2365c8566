"""What of the options of `caffe-lite run` its children learn, by variables of the environment."""

from __future__ import annotations

import os

CPU, COMPAT = "CAFFE_LITE_CPU", "CAFFE_LITE_COMPAT"


def asked(variable: str) -> bool:
    """Whether a variable of the environment is set, and not to 0."""
    return os.environ.get(variable, "0") not in ("", "0")
