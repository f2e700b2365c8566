"""Atomic writes: a file is written beside its place, flushed to disk and renamed, so readers see the old or the new."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import CaffeError, Where
from .paths import system_path

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# The name of a part; its group is the target's name.
_PART = re.compile(r"\.(.+)\.[0-9a-f]{12}\.tmp")
# Where folders cannot be locked, a part that nobody has written to for this many seconds counts as left over.
_OLD = 3600


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give the path of a new empty file in the target's folder; it becomes the target if the block succeeds.

    If the block raises, the target stays as it was and nothing is left behind. A symbolic link stays a link.
    """
    import shutil  # here, because it would slow down every start

    target = Path(os.path.realpath(system_path(path)))
    with writing(path):
        if target.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        with contextlib.closing(Part(target)) as part:
            if target.exists():
                shutil.copymode(target, part.path)
            yield part.path
            part.replace_target()


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn the system's errors about writing a file into a CaffeError."""
    try:
        yield
    except OSError as error:
        folder = os.path.dirname(os.path.realpath(system_path(path)))
        raise CaffeError(
            f"cannot write this file: {error.strerror or error}",
            where=Where(os.fspath(path)),
            hint="" if os.path.isdir(folder) else f"Make the folder first: mkdir -p {folder}",
        ) from error


class Part:
    """A new file or folder beside its target, under a hidden name, until it is renamed or closed.

    It first removes the parts that killed processes have left there, of this target or of one whose name differs only
    in numbers, as snapshots' names do. While a part exists, its process holds a shared lock on the folder, so no other
    process can hold the exclusive lock. A process that does hold it knows that every part is left over. ``make``
    creates the file or folder at the path that it is given.
    """

    def __init__(self, target: Path, make: Callable[[Path], object] = lambda path: path.open("xb").close()) -> None:
        import secrets

        self.target = target
        self.path = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
        _remove_left_overs(target)
        self._lock = _shared_lock(target.parent)
        try:
            make(self.path)
        except BaseException:
            self.close()
            raise

    def replace_target(self) -> None:
        """Flush the file to disk and rename it over its target."""
        with self.path.open("rb+") as written:
            os.fsync(written.fileno())
        os.replace(self.path, self.target)
        _sync_folder(self.target.parent)

    def close(self) -> None:
        """Remove the part if it is still there under its hidden name."""
        _remove(self.path)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def is_locked(path: Path) -> bool:
    """Return whether a process holds a lock on a file, as the HDF5 library does while it reads one."""
    if fcntl is not None:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            except OSError:
                pass
    return False


def _remove_left_overs(target: Path) -> None:
    with contextlib.suppress(OSError):
        names = [name for name in os.listdir(target.parent) if _is_part_of(target, name)]
        if names:
            _remove_unused([target.with_name(name) for name in names])


def _is_part_of(target: Path, name: str) -> bool:
    part = _PART.fullmatch(name)
    return part is not None and _without_numbers(part[1]) == _without_numbers(target.name)


def _without_numbers(name: str) -> str:
    return re.sub(r"\d+", "0", name)


def _remove_unused(parts: Sequence[Path]) -> None:
    """Remove parts if no process works in their folder; if that cannot be known, remove only the old ones."""
    import time

    alone = False
    folder = _opened(parts[0].parent)
    try:
        if folder is not None:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                alone = True
            except BlockingIOError:
                return
            except OSError:  # some network file systems cannot lock folders
                pass
        for path in parts:
            with contextlib.suppress(OSError):
                if alone or time.time() - _last_written(path) > _OLD:
                    _remove(path)
    finally:
        if folder is not None:
            os.close(folder)


def _shared_lock(folder: Path) -> int | None:
    """Return a descriptor that holds the shared lock until it is closed, or None if the folder cannot be opened.

    A process of ours holds the exclusive lock only for the short time in which it removes left-over parts. If somebody
    holds it for longer, it is another program, and the part is made without the lock.
    """
    import time

    descriptor = _opened(folder)
    for _ in range(20 if descriptor is not None else 0):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            time.sleep(0.01)
        except OSError:
            break
    return descriptor


def _opened(folder: Path) -> int | None:
    with contextlib.suppress(OSError):
        return None if fcntl is None else os.open(folder, os.O_RDONLY)
    return None


def _last_written(part: Path) -> float:
    inside = part.iterdir() if part.is_dir() else ()
    return max(path.lstat().st_mtime for path in (part, *inside))


def _remove(path: Path) -> None:
    import shutil

    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _sync_folder(folder: Path) -> None:
    """Make the renaming itself durable, if the system can open folders (Windows cannot)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # some network file systems refuse
                os.fsync(handle)
        finally:
            os.close(handle)
