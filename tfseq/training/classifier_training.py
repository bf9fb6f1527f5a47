"""`train_classifier`: training models that end in class probabilities, by cross-entropy and accuracy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfseq.training.supervised_training import SupervisedSettings, train


def train_classifier(
    model: keras.Model,
    batches: Callable[[Any], tf.data.Dataset] | tf.data.Dataset,
    validation: tf.data.Dataset,
    settings: SupervisedSettings,
    run: Path,
    *,
    monitor: str = "accuracy",
    resume: bool = False,
    identity: dict[str, Any] | None = None,
) -> list[dict[str, float]]:
    """`train` by cross-entropy, -log P(class), with the share of right answers as its metric, `accuracy`.

    Args:
        model: from inputs to probabilities, (batch, classes), or of each step, (batch, time, classes). Its targets are
            the numbers of the classes, (batch,) or (batch, time).
        batches: to train on, as `train` takes them.
        validation, settings, run, resume, identity: as `train` takes them.
        monitor: whose best value on the validation part decides which weights are kept: "accuracy" or "loss".

    Returns:
        A record per epoch.

    Raises:
        TrainingError: as `train` does.
    """
    return train(
        model,
        batches,
        validation,
        settings,
        run,
        loss=keras.losses.SparseCategoricalCrossentropy(),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        monitor=monitor,
        resume=resume,
        identity=identity,
    )
