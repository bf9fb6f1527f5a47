"""The folder of a pipeline's run, runs/NAME; and, when the run stops, how to go on from it."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfseq.errors import TrainingError
from tfseq.training.checkpoint import OtherRun, UnreadableCheckpoint

RUNS = Path("runs")
_begun: dict[Path, tuple[int, int] | None] = {}  # the folders of this process and the checkpoints they had before it


def run_folder(name: str) -> Path:
    """runs/NAME, which training makes; `going_on` speaks of its checkpoint."""
    run = RUNS / name
    _begun.setdefault(run, _version(run))
    return run


@contextmanager
def going_on(command: str, arguments: list[str]) -> Iterator[None]:
    """If the block stops early, for whatever reason, says in a line how to go on from the run's last checkpoint.

    Args:
        command: what starts the pipeline, such as python -m pipelines.char_lm.
        arguments: of the command line.
    """
    _begun.clear()
    try:
        yield
    except BaseException as error:
        resumed = "--resume" in arguments
        refused = isinstance(error.__context__, (UnreadableCheckpoint, OtherRun))  # and would be again
        for run, before in _begun.items():
            now = _version(run)
            if now is not None and (now != before or (resumed and not refused)):
                again = shlex.join(arguments if resumed else [*arguments, "--resume"])
                print(f"{run} keeps what was learned; to go on from there: {command} {again}", file=sys.stderr)
        raise


def _version(run: Path) -> tuple[int, int] | None:
    """Which checkpoint a run has, as its file's number and time; None if there is none."""
    try:
        found = (run / "checkpoint.npz").stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def as_training_error(error: Exception) -> TrainingError | None:
    """What the machine refuses, disk or memory, in a sentence; None of other errors."""
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        return TrainingError(f"Can't read or write{where}: {error.strerror or error}.")
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return TrainingError(
            "The memory of this machine is not enough. Make the model (--units, --depth) or its batches "
            "(--training.batch) smaller."
        )
    return None
