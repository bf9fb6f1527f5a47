"""Tokens per second of a training step (forward, backward, optimizer), by sequence length."""

import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from benchmarks.rnn_vs_transformer.contestants import LARGE, NAMES, Outcomes, Results, Size, language_model, tried

CONTESTANTS = ("lstm", "gru", "transformer")
VOCABULARY = 96
LEAST_SECONDS = 0.5  # of a contestant in one turn


def measure(
    lengths: Sequence[int],
    rounds: int,
    tokens: int,
    outcomes: Outcomes,
    size: Size = LARGE,
    names: Sequence[str] = CONTESTANTS,
    least_seconds: float = LEAST_SECONDS,
) -> Results:
    """Tokens per second of processor time.

    Args:
        lengths: of the sequences, `tokens` at most.
        rounds: at each length; everyone has one turn in each.
        tokens: of a step: a batch has tokens / length sequences.
        outcomes: is told who could not run; the results lack them.
        size: of the contestants.
        names: of the contestants.
        least_seconds: that a turn lasts; one step at least.
    """
    results: Results = {name: {} for name in names}
    for length in lengths:
        batch = max(1, tokens // length)
        steps = {}
        for name in names:
            what = f"throughput, {NAMES[name]} at length {length:,}"
            step = tried(what, partial(training_step, name, size, batch, length), outcomes)
            if step is not None:
                steps[name], results[name][length] = step, []
        for _ in range(rounds):
            for name, step in steps.items():
                results[name][length].append(batch * length / _seconds(step, least_seconds))
    return results


def training_step(name: str, size: Size, batch: int, length: int) -> Callable[[], None]:
    """A step on random tokens, compiled and warmed up."""
    model = compiled(name, size)
    tokens, targets = np.random.default_rng(0).integers(0, VOCABULARY, (2, batch, length), np.int32)

    def step():
        model.train_on_batch(tokens, targets)

    step()
    step()
    return step


def compiled(name: str, size: Size):
    import keras

    from tfseq.training.optimizers import adamw

    model = language_model(name, size, VOCABULARY)
    optimizer = adamw(1e-3, steps=1_000_000, warmup=0, weight_decay=0.01, clip_norm=1.0)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    return model


def _seconds(step: Callable[[], None], least: float) -> float:
    """Of one step; processor time, as the machine may be shared."""
    count, start = 0, time.process_time()
    while count == 0 or time.process_time() - start < least:
        step()
        count += 1
    return (time.process_time() - start) / count
