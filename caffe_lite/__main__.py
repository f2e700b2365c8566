"""``python -m caffe_lite`` is ``caffe-lite``."""

import sys

from .cli import main

sys.exit(main())
