"""C++ of this package, compiled for this very processor when it is first needed and kept in the user's cache."""

from __future__ import annotations

import ctypes
import functools
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from shutil import which
from time import perf_counter

from ..atomic import atomic_write
from ..errors import CaffeError
from ..log import logger

_FLAGS = ("-std=gnu++17", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")


def compiler() -> str:
    """The command of the C++ compiler; whether it is there, ``shutil.which`` tells."""
    return os.environ.get("CXX") or {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")


@functools.cache
def library(name: str) -> ctypes.CDLL | None:
    """What the file ``name`` beside this module compiles to, or None where it cannot be compiled.

    It is compiled again for another compiler, processor or text. ``CAFFE_LITE_NATIVE=0`` leaves it out.
    """
    if os.environ.get("CAFFE_LITE_NATIVE") == "0" or which(compiler()) is None:
        return None
    source = Path(__file__).with_name(name)
    try:
        # What the compiler defines names itself and everything that this processor can do.
        target = _run("-dM", "-E", "-x", "c++", os.devnull)
        texts = b"".join(path.read_bytes() for path in (source, *sorted(source.parent.glob("*.h"))))
        key = sha256(texts + target).hexdigest()[:16]
        built = _cache() / f"{source.stem}-{key}.so"
        if not built.exists():
            logger.info("Compiling %s with %s for this processor, once, some seconds", name, compiler())
            begin = perf_counter()
            built.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(built) as part:
                _run(str(source), "-o", str(part))
            logger.info("Compiled %s in %.1f s", name, perf_counter() - begin)
        try:
            return ctypes.CDLL(str(built))
        except OSError:
            built.unlink()
            raise
    except (OSError, subprocess.CalledProcessError, CaffeError) as error:
        said = getattr(error, "stderr", None)
        why = said.decode(errors="replace").strip().partition("\n")[0] if said else str(error)
        logger.info("Going on without %s, which cannot be compiled here: %s", name, why)
        return None


def had_memory(had: bool, *call: object) -> None:
    """For ``errcheck`` of a kernel that says whether there was memory."""
    if not had:
        raise MemoryError("no memory for what a compiled kernel keeps between its steps")


def _run(*arguments: str) -> bytes:
    return subprocess.run([compiler(), *_FLAGS, *arguments], capture_output=True, check=True).stdout


def _cache() -> Path:
    """Where programs of this user keep what they can make again."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "caffe_lite"
