"""Training for a given wall-clock time, compiling included: comparisons at equal time."""

import math
import time
from typing import Any

WARMUP = 50  # steps


def fit_for(seconds: float, trainer: Any, batches: Any, learning_rate: float, started: float) -> int:
    """Fits a compiled model until the seconds are spent: warm-up, then a cosine over all of the seconds.

    Args:
        seconds: of wall-clock time, compiling included.
        trainer: with an optimizer whose learning rate can be set.
        batches: without end.
        learning_rate: at its highest.
        started: `time.perf_counter()` when the seconds began.

    Returns:
        the steps that were made.
    """
    import keras

    steps = 0

    def after_step(step, logs):
        nonlocal steps
        steps += 1
        spent = (time.perf_counter() - started) / seconds
        share = min(steps / WARMUP, 0.5 * (1 + math.cos(math.pi * min(spent, 1))))
        trainer.optimizer.learning_rate = learning_rate * share
        if spent >= 1:
            raise _TimeUp

    try:
        callback = keras.callbacks.LambdaCallback(on_train_batch_end=after_step)
        trainer.fit(batches, steps_per_epoch=10**9, shuffle=False, verbose=0, callbacks=[callback])
    except _TimeUp:
        pass
    return steps


class _TimeUp(Exception):
    """Raised out of `fit`, whose own way to stop waits for the end of an epoch."""
