"""Checkpoints: the values of variables and a JSON record in one .npz file, written whole or not at all."""

import json
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from keras import ops

from tfseq.errors import TrainingError
from tfseq.runtime.atomic_write import atomic_write

RECORD = "record"


def save_checkpoint(path: Path, variables, record: dict) -> None:
    """Writes the values of Keras variables and a JSON-able record; a crash leaves the old file or none."""
    # NumPy files know no bfloat16; float32 holds each of its values.
    values = {f"{i:04d}": np.asarray(ops.cast(v, _storable(v.dtype))) for i, v in enumerate(variables)}
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, allow_pickle=False, **{RECORD: np.array(json.dumps(record))}, **values)


def load_checkpoint(path: Path, variables, identity: dict | None = None) -> dict:
    """Sets the variables to what `save_checkpoint` wrote and returns its record.

    Args:
        path: the file.
        variables: Keras variables, in the order in which they were saved.
        identity: what `record["identity"]` has to be; None takes any.

    Raises:
        TrainingError: the file is missing or damaged, or belongs to a run with another identity or other variables.
    """
    if not path.exists():
        raise TrainingError(f"There is no checkpoint at {path} to resume. Start the run without resuming.")
    try:
        with np.load(path, allow_pickle=False) as file:
            record = json.loads(str(file[RECORD]))
            values = [file[name] for name in sorted(set(file.files) - {RECORD})]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise TrainingError(f"{path} is not a checkpoint that can be read ({error}). Start the run afresh.") from error
    _check_identity(path, record.get("identity"), identity)
    variables = list(variables)
    expected, arrived = [tuple(v.shape) for v in variables], [v.shape for v in values]
    if expected != arrived:
        raise TrainingError(
            f"{path} holds {len(arrived)} variables of another model or optimizer than this run's {len(expected)}. "
            "Resume with the settings the run was started with, or start afresh."
        )
    for variable, value in zip(variables, values):
        variable.assign(value)
    return record


def _check_identity(path: Path, saved: dict | None, expected: dict | None) -> None:
    if expected is None or saved == expected:
        return
    saved = saved or {}
    other = [f"{k} {saved.get(k)!r}, now {v!r}" for k, v in expected.items() if saved.get(k) != v]
    raise TrainingError(
        f"{path} belongs to another run: {'; '.join(other)}. Resume with the settings and data it was started with, or "
        "start afresh."
    )


def _storable(dtype: str) -> str:
    return "float32" if dtype == "bfloat16" else dtype
