"""The C++ of this package, compiled for this very processor on first use and kept in the user's cache."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from hashlib import sha256
from pathlib import Path
from shutil import which
from time import perf_counter
from typing import NamedTuple

from ....errors import CaffeError, EngineError
from ....logs.log import logger
from ...cores import usable_cores
from . import kernel_cache

_FLAGS = ("-std=gnu++17", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")
_SOURCES = Path(__file__).parent

# Linux's keys for a processor's kind and abilities, which depend on the architecture.
_CPUINFO = {"vendor_id", "cpu family", "model", "flags"}  # x86
_CPUINFO |= {"CPU implementer", "CPU variant", "CPU part", "Features"}  # Arm
_CPUINFO |= {"cpu", "features", "isa"}  # POWER, s390, RISC-V


class Built(NamedTuple):
    """A compiled kernel; its path if it is kept; the seconds that compiling took, 0 if it was there."""

    library: ctypes.CDLL
    path: Path | None
    seconds: float


def compiler() -> str:
    """Return the command of the C++ compiler, which need not be installed."""
    return os.environ.get("CXX") or {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")


def sources() -> list[str]:
    """Return the files that can be compiled, starting with those that take longest."""
    files = sorted(_SOURCES.glob("*.cpp"), key=lambda path: path.stat().st_size, reverse=True)
    return [path.name for path in files]


def left_out() -> bool:
    """Return whether the environment disables the kernels: CAFFE_LITE_NATIVE=0."""
    return os.environ.get("CAFFE_LITE_NATIVE") == "0"


@functools.cache
def library(name: str) -> ctypes.CDLL | None:
    """Return the compiled file ``name`` from beside this module, or None if that fails; the log says why."""
    if left_out():
        return None
    try:
        return build(name).library
    except NoCompiler:
        return None
    except (OSError, subprocess.CalledProcessError, CaffeError) as error:
        logger.info("Going on without %s, which cannot be compiled or loaded here: %s", name, why(error))
        return None


def build(name: str) -> Built:
    """Return ``name`` as it is kept, or compile it now, and all other files with it, in parallel.

    Raises NoCompiler, or the CaffeError, OSError or CalledProcessError that prevents it; ``why`` words the reason.
    """
    return (None if _begun() else _found(name)) or _compilations()[name].result()


def why(error: Exception) -> str:
    """Return the reason in one line: the compiler's first line, or the error's own text."""
    said = getattr(error, "stderr", None)
    return said.decode(errors="replace").strip().partition("\n")[0] if said else str(error)


class NoCompiler(EngineError):
    """There is no C++ compiler."""

    def __init__(self) -> None:
        super().__init__(
            f"there is no C++ compiler {compiler()!r} here",
            hint="install one (on Debian: apt install g++), or name yours in the variable CXX",
        )


def had_memory(had: bool, *call: object) -> None:
    """Raise a MemoryError if a kernel had no memory: the ``errcheck`` of kernels that return that."""
    if not had:
        raise MemoryError("no memory for what a compiled kernel keeps between its steps")


def _found(name: str) -> Built | None:
    """Return the kernel if it is kept: from this source, for this processor, by this compiler if there is one."""
    stem, here = Path(name).stem, which(compiler()) is not None
    maker = _compiler_key() if here else "*"
    try:
        folder = kernel_cache.place()
        path = kernel_cache.find(folder, f"{stem}-{_text_key(name)}-{maker}")
        others = path is None and not here and any(folder.glob(f"{stem}-*.so"))
    except (CaffeError, OSError):
        if here:
            return None  # `_folder` logs the reason
        raise
    if others:
        raise EngineError(
            f"what lies in {folder} is for another processor or version, and there is no C++ compiler {compiler()!r}"
        )
    return None if path is None else Built(ctypes.CDLL(str(path)), path, 0.0)


@functools.cache
def _compilations() -> dict[str, Future[Built]]:
    """Start to compile all kernels, as many at a time as there are cores."""
    if which(compiler()) is None:
        raise NoCompiler
    folder = _folder()
    pool = ThreadPoolExecutor(usable_cores(), "caffe_lite compile")
    try:
        return {name: pool.submit(_compiled, name, folder) for name in sources()}
    finally:
        pool.shutdown(wait=False)


def _begun() -> bool:
    return _compilations.cache_info().currsize > 0


def _finish() -> None:
    if _begun():
        wait(_compilations().values())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_finish)  # a child has no threads, but would hold the pipes of the running ones


def _compiled(name: str, folder: Path | None) -> Built:
    stem = Path(name).stem
    with ExitStack() as stack:
        if folder is not None:
            stack.enter_context(kernel_cache.alone(folder, stem))
        if found := _found(name):  # another process may have been faster
            return found
        work = stack.enter_context(kernel_cache.work_folder(folder, stem))
        logger.info("Compiling %s with %s for this processor, some seconds", name, compiler())
        begin = perf_counter()
        made = work / f"{stem}.so"
        _run(str(_SOURCES / name), "-o", str(made), scratch=work)
        kernel = ctypes.CDLL(str(made))
        kept = folder and kernel_cache.keep(made, folder, f"{stem}-{_text_key(name)}-{_compiler_key()}")
        seconds = perf_counter() - begin
        logger.info("Compiled %s in %.1f s", name, seconds)
        return Built(kernel, kept, seconds)


def _folder() -> Path | None:
    """Return the folder to keep kernels in, or None if there can be none; the log says why."""
    try:
        folder = kernel_cache.place()
        kernel_cache.make(folder)
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
        reason = f"{folder} cannot be written to"
    except (CaffeError, OSError) as error:
        reason = str(error)
    logger.info("Compiled kernels serve this process only, and are not kept: %s", reason)
    return None


def _run(*arguments: str, scratch: Path | None = None) -> bytes:
    env = os.environ | ({"TMPDIR": str(scratch), "TMP": str(scratch)} if scratch else {})
    return subprocess.run([compiler(), *_FLAGS, *arguments], env=env, capture_output=True, check=True).stdout


@functools.cache
def _text_key(name: str) -> str:
    """Return a key for the source, the compiler's flags and the processor."""
    files = [_SOURCES / name, *sorted(_SOURCES.glob("*.h"))]
    return _key(*(path.read_bytes() for path in files), " ".join(_FLAGS).encode(), _processor())


@functools.cache
def _compiler_key() -> str:
    """Return a key for the compiler and its idea of the processor: all macros that it predefines."""
    return _key(_run("-dM", "-E", "-x", "c++", os.devnull))


def _processor() -> bytes:
    """Return the kind of this processor and all its abilities, as the system reports them."""
    if sys.platform == "darwin":
        with suppress(OSError, subprocess.CalledProcessError):
            return subprocess.run(["sysctl", "machdep.cpu", "hw.optional"], capture_output=True, check=True).stdout
    if sys.platform == "linux":
        with suppress(OSError):
            lines = Path("/proc/cpuinfo").read_text(errors="replace").split("\n\n")[0].splitlines()
            told = [line for line in lines if line.partition(":")[0].strip() in _CPUINFO]
            return "\n".join([platform.machine(), *told]).encode()
    return f"{platform.machine()} {platform.processor()}".encode()


def _key(*texts: bytes) -> str:
    return sha256(b"\0".join(texts)).hexdigest()[:16]
