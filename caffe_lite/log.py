"""The log: the original's lines in the original's form (glog's)."""

import logging

logger = logging.getLogger("caffe_lite")
