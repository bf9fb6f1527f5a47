"""Replacing: a file and what lies beside it, written elsewhere and put in the place of the old ones or not at all."""

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from tfseq.errors import ExportError
from tfseq.folder_locks import lock


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path of the same name to write to, in a folder of its own beside `path`.

    If all goes well, what was written there takes the place of `path`, a file or a folder, and of what belongs to it
    (NAME.onnx.data); if not, nothing has changed. A process that is killed in between leaves the old ones, the new
    ones, or none under these names, and its folder, which the next one to write there removes.

    Raises:
        ExportError: it can't be written.
    """
    new, old = (path.with_name(f".{path.name}.{os.getpid()}.{part}") for part in ("new", "old"))
    try:
        _remove_leftovers(
            path, "new"
        )  # which may be large; an old file that stood there is kept until there is a new one
        new.mkdir()  # can't write? then say so before the work
        with lock(new):
            yield new / path.name
            _exchange(path, new, old)
        _remove_leftovers(path, "old")
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


def _remove_leftovers(path: Path, part: str) -> None:
    """The folders of processes that were killed; one that is at work holds the lock of its new one."""
    pattern = rf"\.{re.escape(path.name)}\.(\d+)\.{part}"
    for folder in path.parent.iterdir():
        found = re.fullmatch(pattern, folder.name)
        if found and not _at_work(folder.with_name(f".{path.name}.{found[1]}.new")):
            shutil.rmtree(folder, ignore_errors=True)


def _at_work(new: Path) -> bool:
    try:
        with lock(new) as taken:
            return not taken
    except OSError:  # there is none
        return False


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
