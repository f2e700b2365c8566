"""Write a file beside its place, flush it to disk and rename it over the old one: readers see the old or the new."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from .errors import CaffeError, Where
from .files import system_path


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give the path of a new empty file in the target's folder; when the block ends well it becomes the target.

    When the block raises, the target stays as it was and nothing is left behind. A symbolic link stays a link.
    """
    import secrets  # these two only where a file is written: they would slow down every start
    import shutil

    target = Path(os.path.realpath(system_path(path)))
    part = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        if target.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        part.open("xb").close()
        if target.exists():
            shutil.copymode(target, part)
        yield part
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        os.replace(part, target)
        _sync_folder(target.parent)
    except OSError as error:
        missing = not target.parent.is_dir()
        raise CaffeError(
            f"cannot write this file: {error.strerror or error}",
            where=Where(os.fspath(path)),
            hint=f"Make the folder first: mkdir -p {target.parent}" if missing else "",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the renaming itself durable, where the system has folders that can be opened (Windows has none)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # some network file systems refuse
                os.fsync(handle)
        finally:
            os.close(handle)
