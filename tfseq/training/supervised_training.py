"""`train`: fitting any model to examples, inputs and targets, epoch by epoch."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import keras
import tensorflow as tf

from tfseq.errors import TrainingError
from tfseq.training.early_stopping import Progress
from tfseq.training.learning_curve import plot_learning_curve
from tfseq.training.optimizers import OPTIMIZERS
from tfseq.training.parallel_batches import SideBySide, batches_of_whole_steps, batches_side_by_side
from tfseq.training.run_folder import Logs, prepared_run
from tfseq.training.setting_ranges import Amount, CheckedSettings, Count, PositiveAmount, Seed, ShareBelowOne

_LOWER_IS_BETTER = ("loss", "error", "nats", "bits", "perplexity", "entropy", "rate")


@dataclass(frozen=True)
class SupervisedSettings(CheckedSettings):
    """How to train: warm-up then cosine decay, gradients clipped by their global norm.

    Attributes:
        epochs: passes over the examples, each with an evaluation and a checkpoint.
        batch: examples per step.
        side_by_side: batches per step, if more than one: the step takes the mean of their gradients, which TensorFlow
            computes at the same time on a CPU. Batches at an epoch's end that are too few for a step are left out.
        optimizer: adamw; or muon, which learns the matrices of a Transformer in fewer steps.
        learning_rate: at the end of the warm-up; it decays to a hundredth of that.
        warmup: share of the steps over which the learning rate rises from zero.
        weight_decay: of the optimizer, on everything but biases.
        clip_norm: largest global norm of the gradients.
        patience: epochs without improvement before training stops early; None never does.
        seed: of the order of the examples and of draws that a model makes while training.
    """

    epochs: Count = 20
    batch: Count = 64
    side_by_side: Count = 1
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: Amount = 3e-3
    warmup: ShareBelowOne = 0.05
    weight_decay: Amount = 0.01
    clip_norm: PositiveAmount = 1.0
    patience: Count | None = None
    seed: Seed = 0


def train(
    model: keras.Model,
    train: Callable[[Any], tf.data.Dataset] | tf.data.Dataset,
    validation: tf.data.Dataset,
    settings: SupervisedSettings,
    run: Path,
    *,
    loss: Any,
    metrics: Sequence[Any] = (),
    monitor: str = "loss",
    resume: bool = False,
    identity: dict[str, Any] | None = None,
    verbose: int | None = None,
) -> list[dict[str, float]]:
    """Trains a model with `keras.Model.fit` and leaves it with the weights of its best evaluation.

    Products are computed in bfloat16 if the model's dtype policy is mixed_bfloat16.

    Args:
        model: any; what it computes from inputs is compared with targets by the loss. It need not be built.
        train: from an epoch to its batches, as `tfseq.data.shuffled_batches` and `bucketed_batches` return it; or a
            dataset of batches that is finite, and the same each time it is read but for shuffling with a seed.
        validation: batches, such as `shuffled_batches(..., seed=None)(0)`.
        settings: how to train.
        run: directory that receives checkpoint.npz and the one before it, best.npz, learning_curve.png and
            TensorBoard's logs.
        loss: as `keras.Model.compile` takes it.
        metrics: likewise; where batches have weights, as those of `bucketed_batches` for targets that are sequences,
            they are weighted.
        monitor: the metric by which the best epoch is chosen, measured on validation; "loss", or a metric's name. The
            lowest value is the best one if the name ends in loss, error, nats, perplexity, entropy or rate.
        resume: go on from the run's checkpoint. An interrupted run then ends, on CPUs, with the same bits as one that
            was not interrupted. If the newest checkpoint is damaged it goes on from the one before, with a warning.
        identity: what else the run depends on (the data's hash); a checkpoint with another is refused.
        verbose: 1 shows a progress bar, 2 a line per epoch, 0 nothing; a bar on a terminal and lines elsewhere if None.

    Returns:
        one dict per epoch: step, seconds, loss, val_loss, and each metric in training and with val_ before it.

    Raises:
        TrainingError: settings out of range, nothing that could be resumed, no batch, a loss that is not finite, a
            metric to monitor that is not measured, or a folder or disk that can't be written.
    """
    keras.utils.set_random_seed(settings.seed)
    monitor = monitor.removeprefix("val_")
    higher_is_better = not monitor.lower().endswith(_LOWER_IS_BETTER)
    _build(model, validation)
    kept, accumulated = model, 1
    if settings.side_by_side > 1 and keras.backend.backend() == "tensorflow":
        model = SideBySide(model)
        train = _each_epoch(train, partial(batches_side_by_side, count=settings.side_by_side))
    elif settings.side_by_side > 1:
        accumulated = settings.side_by_side
        train = _each_epoch(train, partial(batches_of_whole_steps, count=accumulated))
    batches = _batches_per_epoch(train)
    warmup = int(settings.warmup * settings.epochs * batches)
    optimizer = OPTIMIZERS[settings.optimizer](
        settings.learning_rate, settings.epochs * batches, warmup, settings.weight_decay, settings.clip_norm
    )
    if accumulated > 1:
        optimizer.gradient_accumulation_steps = accumulated  # whose learning rate goes by batches, not by steps
    model.compile(
        optimizer,
        loss,
        weighted_metrics=list(metrics),
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    model.optimizer.build(model.trainable_variables)
    progress = Progress(
        run,
        settings.patience,
        asdict(settings) | (identity or {}),
        batches // accumulated,
        kept=kept,
        monitor=f"val_{monitor}",
        higher_is_better=higher_is_better,
    )
    progress.set_model(model)
    if resume:
        progress.restore()
    with prepared_run(run):
        if progress.rounds < settings.epochs and not progress.exhausted:
            model.fit(
                _batches_from(train, progress.rounds, settings.epochs, batches),
                validation_data=validation,
                initial_epoch=progress.rounds,
                epochs=settings.epochs,
                steps_per_epoch=batches,
                shuffle=False,
                callbacks=[progress, Logs(run / "tensorboard")],
                verbose=(1 if sys.stdout.isatty() else 2) if verbose is None else verbose,
            )
        progress.restore_best()
        plot_learning_curve(progress.history, run / "learning_curve.png", run.name, monitor, higher_is_better)
    return progress.history


def _each_epoch(train, change):
    """Batches, or a function from an epoch to them, with `change` made to the dataset of each epoch."""
    return change(train) if isinstance(train, tf.data.Dataset) else lambda epoch: change(train(epoch))


def _batches_per_epoch(train) -> int:
    batches = train if isinstance(train, tf.data.Dataset) else train(0)
    count = int(batches.cardinality())
    if count == tf.data.INFINITE_CARDINALITY:
        raise TrainingError("The batches to train on never end; expected a dataset of one epoch, without repeat().")
    if count < 0:
        count = sum(1 for _ in batches)
    if count == 0:
        raise TrainingError("There is no batch to train on; expected enough of them for one step or more per epoch.")
    return count


def _batches_from(train, epoch: int, epochs: int, batches: int) -> tf.data.Dataset:
    if isinstance(train, tf.data.Dataset):
        return train.repeat(epochs).skip(epoch * batches)
    return tf.data.Dataset.range(epoch, epochs).flat_map(train).prefetch(tf.data.AUTOTUNE)


def _build(model: keras.Model, batches: tf.data.Dataset) -> None:
    """Makes the weights, by running the model once on what it is to read."""
    if not model.built:
        for inputs, *_ in batches.take(1):
            try:
                model(inputs)
            except ValueError as error:
                reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
                raise TrainingError(f"The model can't be made for this data: {reason}") from error
    if not model.built:
        raise TrainingError("There is no batch to validate on; expected one or more.")
