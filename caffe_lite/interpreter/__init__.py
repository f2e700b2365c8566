"""The additions of `caffe-lite run` to Python, in the process that it starts and in all of its Python children.

`site/sitecustomize.py` loads this package alone, without caffe_lite, into each of these processes, most of which never
import caffe_lite. So modules here import nothing but the standard library until a script has imported the rest; and
they import each other by `from .names import say`, because for `from . import names` Python would import caffe_lite.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import ModuleType

from .imports import CaffeFinder, FinderOf, watch
from .options import COMPAT, CPU, asked

# The folder for PYTHONPATH.
SITE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "site")


def environment(cpu: bool, compat: bool) -> dict[str, str]:
    """Return this process's environment, changed so that the Python processes below it load this package."""
    changed = dict(os.environ)
    before = changed.get("PYTHONPATH")
    paths = [path for path in before.split(os.pathsep) if path != SITE] if before else []
    changed["PYTHONPATH"] = os.pathsep.join([SITE, *paths])
    changed["PATH"] = _path_to_this_python(changed.get("PATH", os.defpath))
    return changed | ({CPU: "1"} if cpu else {}) | ({COMPAT: "1"} if compat else {})


def start() -> None:
    """Let `import caffe` find the caffe_lite that this package belongs to, whatever is on sys.path."""
    from .compat import install as install_compat
    from .hints import install as install_hints

    package = __name__.partition(".")[0]
    sys.meta_path[:0] = [CaffeFinder(package), FinderOf(package, SITE.rpartition(f"{os.sep}{package}{os.sep}")[0])]
    watch(package, _show_log)
    watch("cv2", _let_read_nets_of_caffe)
    install_hints()
    if asked(COMPAT):
        install_compat()


def _path_to_this_python(path: str) -> str:
    """Put this Python first on PATH, as in an activated environment: `os.system("python x.py")` is common."""
    from shutil import which

    folder = os.path.dirname(sys.executable)
    names = [name for name in ("python", "python3") if which(name, path=folder)]
    found = {os.path.dirname(which(name, path=path) or "") for name in names}
    return path if found <= {folder} else os.pathsep.join([folder, path])


def _show_log(caffe_lite: ModuleType) -> None:
    """Show the log as soon as the package is imported, as pycaffe does."""
    from ..logs.log import start_logging

    start_logging()


def _let_read_nets_of_caffe(cv2: ModuleType) -> None:
    """Give an OpenCV that no longer reads nets of Caffe what it lacks, as soon as it is imported."""
    import_module(f"{__name__.partition('.')[0]}.dnn.installation").install(cv2)
