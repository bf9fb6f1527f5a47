"""The folder of a run: made and tried before training begins, cleared of what killed writes left, and locked."""

import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

from tfseq.errors import TrainingError
from tfseq.folder_locks import lock
from tfseq.runtime.atomic_write import remove_leftovers


@contextmanager
def prepared_run(run: Path) -> Iterator[None]:
    """Makes the folder, or finds it, removes the temporary files that killed runs left in it, and holds it within.

    Args:
        run: the folder.

    Raises:
        TrainingError: the folder can't be made or written, or another training is at work there.
    """
    with _said_of(run):
        run.mkdir(parents=True, exist_ok=True)
    with lock(run) as taken:
        if not taken:
            raise TrainingError(
                f"Another training is at work in {run}, and one would overwrite what the other learns. Wait for it, or "
                "give this run another name."
            )
        with _said_of(run):
            remove_leftovers(run)
            with tempfile.TemporaryFile(dir=run) as file:
                file.write(b"\0" * 4096)
        yield


@contextmanager
def _said_of(run: Path) -> Iterator[None]:
    """Errors of the operating system as a sentence about the run's folder."""
    try:
        yield
    except (FileExistsError, NotADirectoryError):
        there = next(part for part in (run, *run.parents) if part.exists())
        raise TrainingError(
            f"The run can't be kept in {run}: {there} is a file; expected a folder. Move it, or give the run another "
            "name."
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TrainingError(
            f"The run can't be kept in {run}: {reason}. Expected a folder that can be written."
        ) from None


class Logs(keras.callbacks.Callback):
    """TensorBoard's logs of a run. What can't be written is said once, and training goes on without."""

    def __init__(self, folder: Path):
        super().__init__()
        self.folder = folder
        self.board: Any = keras.callbacks.TensorBoard(folder, write_graph=False)

    def set_params(self, params):
        self.board.set_params(params)

    def set_model(self, model):
        super().set_model(model)
        self._tell("set_model", model)

    def on_train_begin(self, logs=None):
        self._tell("on_train_begin", logs)

    def on_epoch_begin(self, epoch, logs=None):
        self._tell("on_epoch_begin", epoch, logs)

    def on_epoch_end(self, epoch, logs=None):
        self._tell("on_epoch_end", epoch, logs)

    def on_train_batch_begin(self, batch, logs=None):
        self._tell("on_train_batch_begin", batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        self._tell("on_train_batch_end", batch, logs)

    def on_test_begin(self, logs=None):
        self._tell("on_test_begin", logs)

    def on_test_end(self, logs=None):
        self._tell("on_test_end", logs)

    def on_train_end(self, logs=None):
        self._tell("on_train_end", logs)

    def _tell(self, hook: str, *arguments: Any) -> None:
        if self.board is None:
            return
        try:
            getattr(self.board, hook)(*arguments)
        except Exception as error:  # TensorFlow's own kinds, which name no file
            self.board = None
            said = re.sub(r"^{{.*?}} | \[Op:.*", "", str(error).strip())  # TensorFlow's operator
            reason = (said.splitlines() or [type(error).__name__])[0]
            warnings.warn(f"Can't write TensorBoard's logs in {self.folder}: {reason}", RunWarning, stacklevel=2)


class RunWarning(UserWarning):
    """A part of what a run leaves can't be written; training goes on."""
