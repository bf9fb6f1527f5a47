"""Replacing: a file and what lies beside it, written elsewhere and put in the place of the old ones or not at all."""

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from tfseq.errors import ExportError
from tfseq.folder_lock import is_in_use, locked


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path of the same name to write to, in a folder of its own beside `path`.

    If all goes well, what was written there takes the place of `path`, a file or a folder, and of what belongs to it
    (NAME.onnx.data); if not, nothing has changed. A process that is killed in between leaves the old ones, the new
    ones, or none under these names; the next one that writes to `path` puts the old ones back, and removes the rest.

    Raises:
        ExportError: it can't be written.
    """
    new, old = (path.with_name(f".{path.name}.{os.getpid()}.{part}") for part in ("new", "old"))
    try:
        _clear(path)
        new.mkdir()  # can't write? then say so before the work
        with locked(new):
            yield new / path.name
            _exchange(path, new, old)
    except OSError as error:
        raise ExportError(f"Can't write {path}: {error.strerror or error}.") from error
    except Exception as error:
        _rename(error, str(new / path.name), str(path))
        raise
    finally:
        for leftover in (new, old):
            with contextlib.suppress(OSError):  # of a disk that can't be written, which has been said
                if leftover.exists():
                    shutil.rmtree(leftover)


def _clear(path: Path) -> None:
    """What killed processes left of their work on `path`: what they had taken away is put back, the rest is removed."""
    if not path.parent.is_dir():
        return
    left = [found for found in path.parent.iterdir() if _is_part(path, found)]
    for new in (found for found in left if found.suffix == ".new" and not is_in_use(found)):
        shutil.rmtree(new, ignore_errors=True)
    for old in (found for found in left if found.suffix == ".old" and not found.with_suffix(".new").exists()):
        if not os.path.lexists(path):
            for taken in sorted(old.iterdir(), key=lambda taken: taken.name == path.name):
                os.replace(taken, path.with_name(taken.name))
        shutil.rmtree(old, ignore_errors=True)


def _is_part(path: Path, found: Path) -> bool:
    return bool(re.fullmatch(rf"\.{re.escape(path.name)}\.\d+\.(new|old)", found.name)) and found.is_dir()


def _rename(error: BaseException | None, old: str, new: str) -> None:
    """In what an error and its causes say."""
    while error is not None:
        error.args = tuple(part.replace(old, new) if isinstance(part, str) else part for part in error.args)
        error = error.__cause__ or error.__context__


def _exchange(path: Path, new: Path, old: Path) -> None:
    """The file itself is taken away first and put in place last, so that it never stands beside another's weights."""
    beside = sorted(_beside(path))
    old.mkdir()
    moved: list[tuple[Path, Path]] = []
    try:
        for name in (path, *beside):
            if os.path.lexists(name):
                os.replace(name, old / name.name)
                moved.append((old / name.name, name))
        for written in sorted(new.iterdir(), key=lambda written: written.name == path.name):
            os.replace(written, path.with_name(written.name))
            moved.append((path.with_name(written.name), written))
    except BaseException:
        for now, before in reversed(moved):
            os.replace(now, before)
        raise


def _beside(path: Path) -> list[Path]:
    data = path.with_name(f"{path.name}.data")
    return [data] if path.suffix == ".onnx" and path.is_file() and data.is_file() else []
