"""The folder of a run: made and tried before training begins, cleared of what killed writes left."""

import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import keras

from tfseq.errors import TrainingError
from tfseq.folder_lock import locked
from tfseq.runtime.atomic_write import remove_leftovers


@contextmanager
def prepared_run(run: Path) -> Iterator[None]:
    """Makes the folder, or finds it, and holds it: no other training writes there until the block ends.

    Temporary files that killed runs left in it are removed.

    Args:
        run: the folder.

    Raises:
        TrainingError: the folder can't be made or written, or another training writes to it.
    """
    with ExitStack() as holding:
        _prepare(run, holding)
        yield


def _prepare(run: Path, holding: ExitStack) -> None:
    try:
        run.mkdir(parents=True, exist_ok=True)
        if not holding.enter_context(locked(run)):
            raise TrainingError(
                f"Another training writes to {run}. Wait until it has ended, or give this run another name."
            )
        remove_leftovers(run)
        with tempfile.TemporaryFile(dir=run) as file:
            file.write(b"\0" * 4096)
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
