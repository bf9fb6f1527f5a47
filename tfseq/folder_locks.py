"""A lock on a folder, which the operating system holds for a process and lets go when that ends, however it ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows; nothing is locked there
    fcntl = None  # type: ignore[assignment]


@contextmanager
def lock(folder: Path) -> Iterator[bool]:
    """Holds the folder's lock within.

    Where a file system knows no locks it is as if nobody held one.

    Args:
        folder: that exists.

    Yields:
        False if another process holds it, or another place of this one.

    Raises:
        OSError: the folder can't be opened.
    """
    if fcntl is None:
        yield True
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        yield _taken(handle)
    finally:
        os.close(handle)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks on this file system
        return True
    return True
