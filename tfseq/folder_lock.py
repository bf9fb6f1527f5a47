"""Locks on folders, which end with their process however it ends."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_OLD = 24 * 3600  # seconds after which a folder is nobody's, where there are no locks


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Holds the lock of a folder while the block runs; gives False, and goes on, where another holds it.

    It is held by a process, or another block of this one. File systems without locks give True.

    Raises:
        OSError: there is no such folder.
    """
    if fcntl is None:
        yield True
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = True
        except BlockingIOError:
            held = False
        except OSError:
            held = True
        yield held
    finally:
        os.close(handle)


def is_in_use(folder: Path) -> bool:
    """Whether someone holds the lock of a folder; without locks, whether it is of the last day."""
    try:
        if fcntl is None:
            return time.time() - folder.stat().st_mtime < _OLD
        with locked(folder) as held:
            return not held
    except OSError:
        return False
