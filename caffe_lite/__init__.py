"""A Caffe-style layer framework that runs what was written for Caffe; ``import caffe_lite as caffe`` is the port."""

from __future__ import annotations

from . import io
from .errors import CaffeError
from .layer import layer_type_list, register_layer
from .net import TEST, TRAIN, Net
from .ops import available_engines, set_engine
from .random import set_random_seed

__version__ = "0.1.0"
