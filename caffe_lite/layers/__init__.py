"""One module per layer type, named after it; importing this package registers them all.

As in pycaffe, an attribute that begins with a capital, or is the name of a registered type, is the function of
``caffe_lite.net_spec`` that makes a layer of that type:
``from caffe_lite import layers as L; L.Convolution(bottom, num_output=2)``.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from ..layer import is_registered
from ..net_spec import layer_function

for _module in iter_modules(__path__):
    if not _module.ispkg:
        import_module(f"{__name__}.{_module.name}")


def __getattr__(name: str) -> Any:
    if not (name[:1].isupper() or is_registered(name)):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return layer_function(name)
