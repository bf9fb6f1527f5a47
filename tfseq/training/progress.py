"""What happens each time a run was evaluated: keep the best, stop when it no longer improves, leave a checkpoint."""

import json
import math
import time
from pathlib import Path
from typing import Any

import keras

from tfseq.training.checkpoint import load_checkpoint, save_checkpoint
from tfseq.training.evaluation import bits


class Progress(keras.callbacks.Callback):
    """Early stopping, the best weights and exact resume, in one record that is saved and restored as a whole.

    Keras' own callbacks forget their counters when a process ends, which would make a resumed run another run.

    Args:
        directory: where `checkpoint.npz` and `best.npz` are written.
        patience: evaluations in a row without improvement after which training stops; None never stops.
        identity: what the run is (settings, data), JSON-able; a checkpoint of another identity is refused.

    Attributes:
        history: one dict per evaluation: step, seconds, nats, bits, val_nats, val_bits.
    """

    def __init__(self, directory: Path, patience: int | None, identity: dict[str, Any], steps_per_round: int):
        super().__init__()
        self.checkpoint, self.best_weights = directory / "checkpoint.npz", directory / "best.npz"
        self.patience, self.steps_per_round = patience, steps_per_round
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
        logs["bits"], logs["val_bits"] = bits(logs["nats"]), bits(logs["val_nats"])
        measured = {name: float(logs[name]) for name in ("nats", "bits", "val_nats", "val_bits")}
        seconds = time.perf_counter() - self._started
        self.history.append({"step": (epoch + 1) * self.steps_per_round, "seconds": round(seconds, 1)} | measured)
        if measured["val_nats"] < self.best:
            self.best, self.since_best = measured["val_nats"], 0
            save_checkpoint(self.best_weights, self.model.model.variables, measured)
        else:
            self.since_best += 1
        self.model.stop_training = self.exhausted
        record = {"identity": self.identity, "history": self.history, "best": self.best, "since_best": self.since_best}
        save_checkpoint(self.checkpoint, self._variables(), record)

    def restore(self) -> None:
        """Takes the model, its optimizer and this record back to the last checkpoint.

        Raises:
            TrainingError: there is none, or it is another run's.
        """
        record = load_checkpoint(self.checkpoint, self._variables(), self.identity)
        self.history, self.best, self.since_best = record["history"], record["best"], record["since_best"]

    def restore_best(self) -> None:
        """Gives the model the weights of its best evaluation."""
        load_checkpoint(self.best_weights, self.model.model.variables)

    def _variables(self):
        # Layers' variables hold the weights, the carried state and the random generators; the optimizer's, its moments.
        return [*self.model.variables, *self.model.optimizer.variables]
