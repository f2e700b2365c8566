"""The folder that keeps compiled kernels between processes, and the checks of the files found there.

Loading a library runs its code. So each must belong to this user or root, be complete, and be out of reach of all
others.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep, time

from ....errors import CaffeError, Where

_PATIENCE = 600.0  # seconds to wait for another process that compiles the same kernel
_LEFT_OVER = 3600.0  # seconds after which a work folder is abandoned


def place() -> Path:
    """Return the folder, links resolved: CAFFE_LITE_CACHE, or one inside the folder for this user's caches.

    It need not exist. Raises a CaffeError if this user has no home.
    """
    named = os.environ.get("CAFFE_LITE_CACHE")
    if named:
        return Path(os.path.realpath(os.path.expanduser(named)))
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME", "")
        base = base if os.path.isabs(base) else "~/.cache"  # by the XDG specification
    folder = os.path.join(os.path.expanduser(base), "caffe_lite")
    if not os.path.isabs(folder):
        raise CaffeError("this user has no home folder", hint="name a folder in the variable CAFFE_LITE_CACHE")
    return Path(os.path.realpath(folder))


def make(folder: Path) -> None:
    """Create the folder and its parents if missing; others may read them, whatever the umask."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another process was faster
            path.mkdir(0o755)
    check(folder)


def check(folder: Path) -> None:
    """Raise a CaffeError if anybody but this user and root could change the content of this folder (links resolved).

    Nothing is checked on Windows, where folders have no owner and mode in this sense.
    """
    for path in (folder, *folder.parents):
        found = path.lstat()
        # In a folder like /tmp, anybody can create files, but not rename or remove those of others.
        sticky = found.st_mode & stat.S_ISVTX and path != folder
        if not stat.S_ISDIR(found.st_mode):
            raise CaffeError("it is no folder", where=Where(str(path)))
        if doubt := _doubt(found, sticky=bool(sticky)):
            raise CaffeError(
                f"{doubt}, so what lies in {folder} cannot be trusted",
                where=Where(str(path)),
                hint=f"mend that ('chmod go-w {path}'), or name another folder in the variable CAFFE_LITE_CACHE",
            )


def find(folder: Path, name: str) -> Path | None:
    """Find a library that ``keep`` stored under this name, a pattern; remove broken and untrusted ones."""
    if not folder.exists():
        return None
    check(folder)
    for path in sorted(folder.glob(f"{name}-*.so")):
        if _sound(path):
            return path
        with contextlib.suppress(OSError):
            path.unlink()
    return None


def keep(library: Path, folder: Path, name: str) -> Path:
    """Move a library from ``work_folder`` to the place for ``find``, atomically; return its new path."""
    library.chmod(0o644)
    kept = folder / f"{name}-{_sum(library.read_bytes())}.so"
    os.replace(library, kept)
    return kept


@contextlib.contextmanager
def work_folder(folder: Path | None, stem: str) -> Iterator[Path]:
    """Make a folder for this process alone, in the given one or among the system's temporary files; then remove it."""
    with TemporaryDirectory(prefix=f".{stem}-", dir=folder, ignore_cleanup_errors=True) as name:
        work = Path(os.path.realpath(name))
        check(work)
        yield work


@contextlib.contextmanager
def alone(folder: Path, stem: str) -> Iterator[None]:
    """Let processes compile this kernel one at a time, and remove the files that killed ones left.

    The lock ends with the process that holds it. Without locks (on Windows, on some network file systems), or if
    another process holds it for too long, the work is done twice, which does no harm.
    """
    handle = os.open(folder / f"{stem}.lock", os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    locked = _lock(handle)
    try:
        oldest = time() if locked else time() - _LEFT_OVER
        for path in folder.glob(f".{stem}-*"):
            with contextlib.suppress(OSError):
                if path.lstat().st_mtime <= oldest:
                    shutil.rmtree(path)
        yield
    finally:
        if locked:
            _unlock(handle)  # closing does not if the process has forked in the meantime
        os.close(handle)


def _lock(handle: int) -> bool:
    try:
        import fcntl
    except ImportError:
        return False
    end = monotonic() + _PATIENCE
    while monotonic() < end:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            sleep(0.05)
        except OSError:
            return False
    return False


def _unlock(handle: int) -> None:
    import fcntl

    fcntl.flock(handle, fcntl.LOCK_UN)


def _sound(path: Path) -> bool:
    """Return whether ``keep`` wrote this file, and nobody else can have changed it."""
    flags = (getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
    try:
        with open(os.open(path, os.O_RDONLY | sum(flags)), "rb") as file:
            found = os.fstat(file.fileno())
            regular = stat.S_ISREG(found.st_mode)
            return regular and not _doubt(found) and path.stem.endswith(f"-{_sum(file.read())}")
    except OSError:
        return False


def _doubt(found: os.stat_result, *, sticky: bool = False) -> str:
    """Return the reason why others than this user and root can change a file or folder, or ""."""
    if os.name != "posix":
        return ""
    if found.st_uid not in (0, os.geteuid()):
        return f"it belongs to user {found.st_uid}"
    return "others than its owner may write there" if found.st_mode & 0o022 and not sticky else ""


def _sum(content: bytes) -> str:
    return sha256(content).hexdigest()[:16]
