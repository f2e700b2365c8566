"""Python imports this when it starts, because `caffe-lite run` puts this folder on PYTHONPATH; so may older Pythons."""

import os
import sys

folder = os.path.dirname(os.path.abspath(__file__))
# The script's sys.path is the same as without us.
sys.path[:] = [path for path in sys.path if os.path.abspath(path) != folder]

if sys.version_info >= (3, 10):  # noqa: UP036 (whatever Python a script starts)
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    package = os.path.dirname(os.path.dirname(folder))
    ours = os.path.basename(package) + ".interpreter"
    for name, paths in ((ours, [package]), ("sitecustomize", sys.path)):  # and the one that this module hides
        spec = PathFinder.find_spec(name, paths)
        if spec is not None and spec.loader is not None:
            sys.modules[name] = module = module_from_spec(spec)
            spec.loader.exec_module(module)
    sys.modules[ours].start()
