"""The folder of a pipeline's run, runs/NAME; and, when the run stops, how to go on from it."""

import shlex
import signal
import sys
import threading
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

    SIGTERM, by which a machine that shuts down or a scheduler ends processes, is such a reason.

    Args:
        command: what starts the pipeline, such as python -m pipelines.char_lm.
        arguments: of the command line.
    """
    _begun.clear()
    before_us = signal.signal(signal.SIGTERM, _terminated) if _in_main_thread() else None
    try:
        with _ended_by_signals():
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
    finally:
        if before_us is not None:
            signal.signal(signal.SIGTERM, before_us)


def _terminated(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Within, what ends a program from outside (kill, a terminal that closes) does so as Ctrl-C does, by an exception.

    What is ignored stays so, as under nohup.
    """

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before: dict = {}
    if threading.current_thread() is threading.main_thread():  # no other may say what signals do
        for number in filter(None, (getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP"))):
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _version(run: Path) -> tuple[int, int] | None:
    """Which checkpoint a run has, as its file's number and time; None if there is none."""
    try:
        found = (run / "checkpoint.npz").stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


@contextmanager
def machine_limits() -> Iterator[None]:
    """Says in a sentence what disk or memory refuse the block.

    Raises:
        TrainingError: a file can't be read or written, or memory is not enough.
    """
    try:
        yield
    except BrokenPipeError:  # the terminal's reader has gone
        raise
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        raise TrainingError(f"Can't read or write{where}: {error.strerror or error}.") from error
    except Exception as error:
        if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":  # TensorFlow's
            raise TrainingError(
                "The memory of this machine is not enough. Make the model (--units, --depth) or its batches "
                "(--training.batch) smaller."
            ) from error
        raise
