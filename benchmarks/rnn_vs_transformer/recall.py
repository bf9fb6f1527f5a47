"""Recall of notes among distractors, by sequence length: accuracy after equal training time at every length.

The task is `tfseq.data.recall_task.Recall`. Seconds are of processor time on one thread, without compiling and testing.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.rnn_vs_transformer.contestants import NAMES, SMALL, Outcomes, Results, Size, language_model, tried
from tfseq.data.recall_task import Recall

TASK = Recall(keys=2, values=8)
LEARNING_RATES = {"lstm": 1e-2, "gru": 1e-2, "rnn": 1e-3, "irnn": 1e-3, "transformer": 3e-3}
WARMUP = 0.05  # of the seconds; then the learning rate falls to 0 with their share
TRAINING, TEST, COMPILING = 1, 2, 3  # first part of every seed: what is drawn for
TESTED_AT_ONCE = {"transformer": 8192}  # tokens; a score per pair of tokens fills the memory

Keep = Callable[[Results], None]  # is called with a new result after every one


@dataclass(frozen=True)
class Budget:
    """What everyone gets at every length.

    Attributes:
        seconds: to train.
        tokens: of a step: a batch has tokens / length sequences, one at least.
        answers: of the test.
    """

    seconds: float
    tokens: int = 2048
    answers: int = 256


def from_scratch(
    lengths: Sequence[int], budget: Budget, names: Sequence[str], keep: Keep, outcomes: Outcomes, seed: int = 0
) -> None:
    """Accuracy of new contestants at each length."""

    def learn(name: str, length: int) -> None:
        pupil = Pupil(name, TASK, seed=seed)
        pupil.train(length, budget)
        keep({name: {length: [pupil.accuracy(length, budget)]}})

    for length in lengths:
        for name in names:
            tried(f"recall, {NAMES[name]} at length {length:,}", partial(learn, name, length), outcomes)


def length_by_length(
    lengths: Sequence[int], budget: Budget, names: Sequence[str], keep: Keep, outcomes: Outcomes, seed: int = 0
) -> None:
    """Accuracy of contestants that go on, at each length, from what they learned at the ones before."""

    def learn(name: str) -> None:
        pupil = Pupil(name, TASK, seed=seed)
        for length in lengths:
            pupil.train(length, budget)
            keep({name: {length: [pupil.accuracy(length, budget)]}})

    for name in names:
        tried(f"recall length by length, {NAMES[name]}", partial(learn, name), outcomes)


def beyond(
    lengths: Sequence[int], budget: Budget, names: Sequence[str], keep: Keep, outcomes: Outcomes, seed: int = 0
) -> None:
    """Accuracy at each length of contestants that were trained at the first one only."""

    def learn(name: str) -> None:
        pupil = Pupil(name, TASK, seed=seed)
        pupil.train(lengths[0], budget)
        for length in lengths:
            keep({name: {length: [pupil.accuracy(length, budget)]}})

    for name in names:
        tried(f"recall beyond the length of training, {NAMES[name]}", partial(learn, name), outcomes)


class Pupil:
    """A contestant that learns the task, and is tested on it.

    Args:
        name: of the contestant.
        task: to learn.
        size: of the contestant.
        seed: of its weights and of what it reads.
    """

    def __init__(self, name: str, task: Recall, size: Size = SMALL, seed: int = 0):
        import keras

        keras.utils.set_random_seed(seed)
        self.name, self.task, self.seed = name, task, seed
        tokens = keras.Input((None,), dtype="int32")
        answers = language_model(name, size, task.vocabulary)(tokens)[:, -task.keys :]  # (batch, keys, vocabulary)
        self.model = keras.Model(tokens, answers)
        self.optimizer = keras.optimizers.AdamW(0.0, weight_decay=0.0, beta_2=0.99, global_clipnorm=1.0)
        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.model.compile(self.optimizer, self.loss, jit_compile=False)

    def train(self, length: int, budget: Budget) -> None:
        """Goes on training, at a length."""
        batch = max(1, budget.tokens // length)
        self.optimizer.learning_rate = 0.0
        self._step(batch, length, COMPILING, 0)
        start, steps, share = time.process_time(), 0, 0.0
        while share < 1:
            rate = LEARNING_RATES[self.name] * min(1.0, (share + 1e-3) / WARMUP) * (1 - share)
            self.optimizer.learning_rate = rate
            self._step(batch, length, TRAINING, steps)
            steps += 1
            share = (time.process_time() - start) / budget.seconds
        self._say(f"trained at length {length:,}: {steps} steps of {batch} in {budget.seconds:g} s")

    def _step(self, batch, length, purpose, number):
        self.model.train_on_batch(*self.task.sequences(batch, length, [purpose, self.seed, length, number]))

    def accuracy(self, length: int, budget: Budget) -> float:
        """Share of right answers to sequences of a length, which no training read."""
        inputs, targets = self.task.sequences(-(-budget.answers // self.task.keys), length, [TEST, length])
        at_once = max(1, TESTED_AT_ONCE.get(self.name, 2**20) // length)
        answers = [
            np.argmax(self.model.predict_on_batch(inputs[i : i + at_once]), axis=-1)
            for i in range(0, len(inputs), at_once)
        ]
        right = float((np.concatenate(answers) == targets).mean())
        self._say(f"{right:.1%} of {targets.size} answers right at length {length:,}")
        return right

    def _say(self, what):
        print(f"recall: {NAMES[self.name]} {what}", file=sys.stderr, flush=True)
