"""After each evaluation: keep the best weights, stop early, write a checkpoint from which a run resumes exactly."""

import json
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from tfseq.errors import TrainingError
from tfseq.training.checkpoint import (
    CheckpointWarning,
    UnreadableCheckpoint,
    load_checkpoint,
    load_newest,
    read_checkpoint,
    save_checkpoint,
)
from tfseq.training.precision import precision_of


class Progress(keras.callbacks.Callback):
    """Early stopping, the best weights and exact resume, in one record that is saved and restored as a whole.

    Keras' own callbacks forget their counters when a process ends, which would make a resumed run another run.

    Args:
        directory: where `checkpoint.npz` and `best.npz` are written; the checkpoint before stays, as
            `checkpoint.previous.npz`.
        patience: evaluations in a row without improvement after which training stops; None never stops.
        identity: what the run is (settings, data), JSON-able; a checkpoint of another identity is refused.
        steps_per_round: training steps between two evaluations.
        kept: the model whose best weights are kept; what is trained may wrap it.
        monitor: by which of the measured values an evaluation is judged.
        higher_is_better: whether its best value is the highest.
        measure: from the values that Keras logs to those that are recorded.

    Attributes:
        history: one dict per evaluation: step, seconds and what was measured.
    """

    def __init__(
        self,
        directory: Path,
        patience: int | None,
        identity: dict[str, Any],
        steps_per_round: int,
        *,
        kept: keras.Model,
        monitor: str,
        higher_is_better: bool = False,
        measure: Callable[[dict[str, float]], dict[str, float]] = dict,
    ):
        super().__init__()
        self.checkpoint, self.best_weights = directory / "checkpoint.npz", directory / "best.npz"
        self.patience, self.steps_per_round, self.kept = patience, steps_per_round, kept
        self.monitor, self.sign, self.measure = monitor, -1 if higher_is_better else 1, measure
        self.identity = json.loads(json.dumps(identity))  # as it comes back from a checkpoint: tuples become lists
        self.history: list[dict[str, float]] = []
        self.best, self.since_best = math.inf, 0

    @property
    def rounds(self) -> int:
        """Evaluations made so far."""
        return len(self.history)

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return self.patience is not None and self.since_best >= self.patience

    def on_train_begin(self, logs=None):
        self._started = time.perf_counter() - (self.history[-1]["seconds"] if self.history else 0.0)

    def on_epoch_end(self, epoch, logs=None):
        measured = {name: float(value) for name, value in self.measure(logs).items()}
        logs |= measured  # which the progress bar and TensorBoard show
        step, seconds = (epoch + 1) * self.steps_per_round, time.perf_counter() - self._started
        cost = self._cost(measured, step)
        self.history.append({"step": step, "seconds": round(seconds, 1)} | measured)
        if cost < self.best:
            self.best, self.since_best = cost, 0
            save_checkpoint(self.best_weights, self.kept.variables, measured)
        else:
            self.since_best += 1
        self.model.stop_training = self.exhausted
        record = {
            "identity": self.identity,
            "precision": precision_of(self.kept),  # which a run keeps that is resumed on another kind of machine
            "history": self.history,
            "best": self.best,
            "since_best": self.since_best,
        }
        save_checkpoint(self.checkpoint, self._variables(), record, keep_previous=True)

    def _cost(self, measured: dict[str, float], step: int) -> float:
        if self.monitor not in measured:
            raise TrainingError(
                f"{self.monitor} was not measured; expected one of {', '.join(measured)}. Name one of them to monitor."
            )
        value = measured[self.monitor]
        if not math.isfinite(value):
            raise TrainingError(
                f"{self.monitor} is {value} after step {step}: the training diverged. Lower the learning rate, and "
                "look for infinite numbers in the data."
            )
        return self.sign * value

    def restore(self) -> None:
        """Takes the model, its optimizer and this record back to the last checkpoint that can be read.

        Raises:
            TrainingError: there is none, or it is another run's.
        """
        record = load_newest(self.checkpoint, self._variables(), self.identity, self._fault)
        self.history, self.best, self.since_best = record["history"], record["best"], record["since_best"]
        try:
            read_checkpoint(self.best_weights, self.kept.variables)
        except UnreadableCheckpoint as error:
            if self.since_best:
                warnings.warn(
                    f"{error} The weights of the newest checkpoint take the place of the best ones.",
                    CheckpointWarning,
                    stacklevel=2,
                )
                self.best, self.since_best = self.sign * self.history[-1][self.monitor], 0
            save_checkpoint(self.best_weights, self.kept.variables, self.history[-1])

    def _fault(self, record: dict[str, Any]) -> str | None:
        """What is wrong with a checkpoint's record, in words; None if nothing is."""
        history = record.get("history")
        if not isinstance(history, list) or not history or not all(isinstance(now, dict) for now in history):
            return "its history is not a list of evaluations"
        for now in history:
            if not all(map(_is_number, now.values())) or not {"step", "seconds"} <= now.keys():
                return f"an evaluation in its history is {now}"
        steps = [now["step"] for now in history]
        if steps != [self.steps_per_round * (i + 1) for i in range(len(history))]:
            return f"its evaluations are of the steps {steps[:3]} and so on, not every {self.steps_per_round}"
        if self.monitor not in history[-1] and isinstance(record.get("identity"), dict):
            return f"{self.monitor} was not measured"
        since = record.get("since_best")
        if not _is_number(record.get("best")) or type(since) is not int or not 0 <= since < len(history):
            return f"its best value is {record.get('best')!r}, {since!r} evaluations ago"
        return None

    def restore_best(self) -> None:
        """Gives the model the weights of its best evaluation."""
        load_checkpoint(self.best_weights, self.kept.variables)

    def _variables(self):
        # Layers' variables hold the weights, the carried state and the random generators; the optimizer's, its moments.
        return [*self.model.variables, *self.model.optimizer.variables]


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
