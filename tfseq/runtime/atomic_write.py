"""Atomic file writes: a file appears whole or not at all."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path beside `path` to write to; renames it to `path` when the block ends without an error.

    A crash or an exception leaves the old file, or none.

    Raises:
        OSError: the folder is missing or can't be written.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.part-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner can read
        os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def remove_leftovers(folder: Path) -> None:
    """Removes the temporary files that `atomic_write` left in a folder when its process was killed.

    Only for a folder that no other process writes to: a file that is being written looks the same.
    """
    for path in folder.iterdir():
        if re.fullmatch(r"\..+\.part-[a-z0-9_]{8}(\.[^.]+)?", path.name) and path.is_file():
            path.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
