"""Files of the state folder: made private, written whole, locked by one process at a time."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from src.shared.domain.errors import UserError


class StateFolderUnusable(UserError):
    """The state folder can't be made or written. Nothing has been started."""


class FolderLocked(UserError):
    """Another process works on the same state folder."""


def make_folder(path: Path, mode: int = 0o700) -> Path:
    """Make a folder and its parents.

    Raises:
        StateFolderUnusable: it is a file, or there is no right to make or write it.
    """
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        raise StateFolderUnusable(
            f"The state folder {path} can't be written ({error.strerror}): "
            "set TRADEWINDS_HOME to a folder of your own."
        ) from error


def write_atomically(path: Path, text: str) -> None:
    """Replace a file by one that only its owner can read; readers see the old text or the new, never half."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)


@contextmanager
def locked(path: Path, wait: bool, held: str) -> Iterator[None]:
    """Hold an exclusive lock that the system gives back when the process dies, however it dies.

    Raises:
        FolderLocked: it is held elsewhere and ``wait`` is False; the message is ``held``.
    """
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise FolderLocked(held) from None
        yield
