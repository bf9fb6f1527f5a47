"""Checkpoints: the values of variables and a JSON record in one .npz file, written whole or not at all."""

import json
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile

import numpy as np
from keras import ops

from tfseq.errors import TrainingError
from tfseq.runtime.atomic_write import atomic_write

RECORD = "record"
LAYOUT = "variables"  # in the record: shape and dtype of each array
LONGEST_RECORD = 64 << 20  # bytes; ten thousand evaluations take about 3 MB
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_FOREIGN = {
    b"\x93NUMPY": "is a single NumPy array",
    b"\x89HDF\r\n\x1a\n": "is an HDF5 file",
    **{bytes([0x80, protocol]): "is a pickle, which could run code when it is opened" for protocol in range(2, 6)},
}


class UnreadableCheckpoint(TrainingError):
    """A file that is missing, damaged or not a checkpoint; the one before it may do."""


class OtherRun(TrainingError):
    """A checkpoint of other settings, other data or another model than the run that is to go on."""


class CheckpointWarning(UserWarning):
    """The newest checkpoint or the best weights can't be read, and others take their place."""


def save_checkpoint(path: Path, variables, record: dict, keep_previous: bool = False) -> None:
    """Writes the values of Keras variables and a JSON-able record; a crash leaves the old file or none.

    Args:
        path: the file.
        variables: Keras variables.
        record: JSON-able.
        keep_previous: the file that was there stays, as `previous_of(path)`; a crash leaves one of the two or both.

    Raises:
        TrainingError: a value is NaN, or the file can't be written. What was there stays.
    """
    variables = list(variables)
    record = record | {LAYOUT: _layout(variables)}
    values = {}
    for i, variable in enumerate(variables):
        # NumPy files know no bfloat16; float32 holds each of its values.
        value = np.asarray(ops.cast(variable, _storable(variable.dtype)))
        if _has_nan(value):
            raise TrainingError(
                f"{variable.path} holds NaN: the training diverged. Lower the learning rate, and look for infinite "
                "numbers in the data."
            )
        values[f"{i:04d}"] = value
    try:
        with atomic_write(path) as temporary:
            with open(temporary, "wb") as file:
                np.savez(file, allow_pickle=False, **{RECORD: np.array(json.dumps(record))}, **values)
                file.flush()
                os.fsync(file.fileno())  # a full disk may say so only here
            if keep_previous and path.exists():
                os.replace(path, previous_of(path))
    except OSError as error:
        if not path.parent.is_dir():
            raise TrainingError(f"The folder {path.parent} has gone; {path.name} can't be written there.") from error
        raise TrainingError(
            f"Can't write {path}: {error.strerror or error}. What was written there before stays."
        ) from error


def previous_of(path: Path) -> Path:
    """Where the checkpoint is kept that was the newest before `path`."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def load_checkpoint(
    path: Path, variables, identity: dict | None = None, check: Callable[[dict], str | None] | None = None
) -> dict:
    """Sets the variables to what `save_checkpoint` wrote and returns its record.

    Args:
        path: the file.
        variables: Keras variables, in the order in which they were saved.
        identity: what `record["identity"]` has to be; None takes any.
        check: says what is wrong with a record, or None.

    Raises:
        TrainingError: the file is missing or damaged, or belongs to a run with another identity or other variables. No
            variable has changed.
    """
    variables = list(variables)
    record, values = read_checkpoint(path, variables, identity, check)
    for variable, value in zip(variables, values):
        variable.assign(value)
    return record


def load_newest(
    path: Path, variables, identity: dict | None = None, check: Callable[[dict], str | None] | None = None
) -> dict:
    """As `load_checkpoint`, or with a warning from the one before it, which becomes the newest, if it can't be read."""
    before = previous_of(path)
    try:
        return load_checkpoint(path, variables, identity, check)
    except UnreadableCheckpoint as error:
        if not before.exists():
            raise
        try:
            record = load_checkpoint(before, variables, identity, check)
        except UnreadableCheckpoint as other:
            raise UnreadableCheckpoint(f"{error} The one before it can't be read either: {other}") from None
        warnings.warn(f"{error} The run goes on from the checkpoint before it.", CheckpointWarning, stacklevel=3)
    try:
        os.replace(before, path)  # or the next one that is written would put the damaged file in its place
    except OSError as error:
        raise TrainingError(f"Can't write {path}: {error.strerror or error}.") from error
    return record


def read_checkpoint(
    path: Path,
    variables: Sequence[Any],
    identity: dict | None = None,
    check: Callable[[dict], str | None] | None = None,
) -> tuple[dict, list[np.ndarray]]:
    """The record and the values in a checkpoint, as `load_checkpoint` checks them."""
    record = read_record(path)
    if wrong := check and check(record):
        raise UnreadableCheckpoint(f"{path} is not a checkpoint of a training: {wrong}. Start the run afresh.")
    _check_identity(path, record.get("identity"), identity)
    wanted = _layout(variables)
    if record.get(LAYOUT, wanted) != wanted:
        raise _of_another(path, len(record[LAYOUT]), len(wanted))
    try:
        with ZipFile(path) as archive:
            names = sorted({info.filename for info in archive.infolist()} - {f"{RECORD}.npy"})
            if names != [f"{i:04d}.npy" for i in range(len(wanted))]:
                raise _of_another(path, len(names), len(wanted))
            values = []
            for name, (shape, kind) in zip(names, wanted):
                dtype = np.dtype(kind)
                with archive.open(name) as file:
                    found, fortran, stored = _header(file)
                    if (list(found), stored) != (shape, dtype):
                        raise _of_another(path, len(names), len(wanted))
                    content = file.read(dtype.itemsize * int(np.prod(shape)))
                    if file.read(1):  # at the end its checksum is compared
                        raise ValueError("an array is longer than it says")
                values.append(np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C"))
    except OtherRun as error:
        if LAYOUT not in record:  # as version 0.1 wrote it
            raise
        raise _damaged(path, "arrays are missing or changed") from error
    except Exception as error:  # a zip that is none, a header that can't be parsed, a checksum that is wrong
        raise _damaged(path, error) from error
    for variable, value in zip(variables, values):
        if _has_nan(value):
            raise UnreadableCheckpoint(f"{path} holds NaN in {variable.path}: nothing can be learned from there.")
    return record, values


def read_record(path: Path) -> dict:
    """The record in a checkpoint.

    Raises:
        TrainingError: the file is missing, damaged, or none that `save_checkpoint` wrote.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(16)
    except FileNotFoundError:
        raise UnreadableCheckpoint(
            f"There is no checkpoint at {path} to resume. Start the run without resuming."
        ) from None
    except IsADirectoryError:
        raise UnreadableCheckpoint(f"{path} is a folder; expected the checkpoint of a run.") from None
    except OSError as error:
        raise UnreadableCheckpoint(f"Can't read {path}: {error.strerror or error}.") from None
    if not start.strip(b"\0"):  # what some file systems leave after a power cut
        raise _damaged(path, "it is empty")
    for magic, what in _FOREIGN.items():
        if start.startswith(magic):
            raise _foreign(path, what)
    try:
        with ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist()]
            if f"{RECORD}.npy" not in names:
                shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
                raise _foreign(path, f"is an archive of {shown or 'nothing'}")
            with archive.open(f"{RECORD}.npy") as file:
                shape, _, dtype = _header(file)
                if dtype.hasobject:
                    raise _foreign(path, "holds Python objects (a pickle), which could run code when they are opened")
                if shape or dtype.kind != "U" or dtype.itemsize > LONGEST_RECORD:
                    raise _foreign(path, f"has a record of {dtype.name} values, shape {shape}")
                text = str(np.frombuffer(file.read(dtype.itemsize) if dtype.itemsize else b"", dtype)[0])
                if file.read(1):
                    raise ValueError("the record is longer than it says")
            record = json.loads(text)
    except TrainingError:
        raise
    except Exception as error:
        if not (start.startswith(b"PK") or _ends_as_zip(path)):
            raise _foreign(path, "is another kind of file") from None
        raise _damaged(path, error) from error
    if isinstance(record, dict) and not isinstance(record.get(LAYOUT, []), list):
        raise _foreign(path, "has a record that lists no variables")
    if not isinstance(record, dict):
        raise _foreign(path, f"has a record that is a {type(record).__name__}, not an object")
    return record


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether in Fortran's order, and dtype of a NumPy array, whose values come next."""
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"an array of format {version}")
    return _HEADERS[version](file)


def _ends_as_zip(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 66_000))
        return b"PK\x05\x06" in file.read()


def _damaged(path: Path, reason: Any) -> UnreadableCheckpoint:
    return UnreadableCheckpoint(
        f"{path} is not a checkpoint that can be read: it is damaged, or its writing was cut off ({reason})."
    )


def _foreign(path: Path, what: str) -> UnreadableCheckpoint:
    return UnreadableCheckpoint(f"{path} {what}; expected a checkpoint that tfseq wrote.")


def _of_another(path: Path, arrived: int, expected: int) -> OtherRun:
    return OtherRun(
        f"{path} holds {arrived} variables of another model or optimizer than this run's {expected}. "
        "Resume with the settings the run was started with, or start afresh."
    )


def _check_identity(path: Path, saved: Any, expected: dict | None) -> None:
    if expected is None or saved == expected:
        return
    saved = saved if isinstance(saved, dict) else {}
    other = [f"{k} {saved.get(k)!r}, now {v!r}" for k, v in expected.items() if saved.get(k) != v]
    other += [f"{k} {v!r}, now none" for k, v in saved.items() if k not in expected]
    raise OtherRun(
        f"{path} belongs to another run: {'; '.join(other)}. Resume with the settings and data it was started with, or "
        "start afresh."
    )


def _layout(variables: Sequence[Any]) -> list[list[Any]]:
    return [[list(v.shape), _storable(v.dtype)] for v in variables]


def _has_nan(value: np.ndarray) -> bool:
    return value.dtype.kind == "f" and bool(np.isnan(value).any())


def _storable(dtype: str) -> str:
    return "float32" if dtype == "bfloat16" else dtype
