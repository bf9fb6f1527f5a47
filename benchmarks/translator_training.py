"""Sentence pairs per second of a translator's training step: one batch, or two of half the size on a core each.

    pip install -e ".[train-cpu]"
    python -m benchmarks.translator_training

The model, loss and optimizer of `pipelines.transformer full` on random tokens: 64 pairs per step, each read twice for
R-Drop, 15 tokens of the source and 16 of the target.
"""

import argparse
import json

import numpy as np

from benchmarks.harness.clock import Clock
from benchmarks.harness.rounds import report, take_turns

PAIRS, SOURCE, TARGET = 64, 15, 16
PEER = "one batch, each product shared between cores"
CONTESTANTS = {
    PEER: ["benchmarks.translator_training", "--run", "whole"],
    "two batches, one core each": ["benchmarks.translator_training", "--run", "halves"],
}


def measure(way: str, steps: int = 30) -> float:
    """Pairs per second of `fit`, after it has been compiled and warmed up."""
    from pipelines.transformer import FULL
    from tfseq.training import one_stream_per_core, training_precision

    if way == "halves":
        one_stream_per_core()
    import keras
    import tensorflow as tf

    from tfseq.models import Transformer
    from tfseq.training.optimizers import OPTIMIZERS
    from tfseq.training.parallel_batches import SideBySide, batches_side_by_side
    from tfseq.training.r_drop import RDropCrossEntropy, twice

    count = {"whole": 1, "halves": 2}[way]
    tokens = np.random.default_rng(0).integers(3, FULL.subwords, (PAIRS // count, SOURCE + 2 * TARGET)).astype("int32")
    source, target, answers = np.split(tokens, [SOURCE, SOURCE + TARGET], axis=1)
    batch = ({"source": source, "target": target}, answers, np.ones(answers.shape, "float32"))
    data = twice(tf.data.Dataset.from_tensors(batch).cache().repeat())
    model = Transformer(
        FULL.subwords,
        units=FULL.units,
        heads=FULL.heads,
        hidden=FULL.hidden,
        depth=FULL.depth,
        dropout=FULL.dropout,
        positions=FULL.positions,
        dtype=training_precision(FULL.precision),
    )
    model({name: array[:1] for name, array in batch[0].items()})
    trainer = model if count == 1 else SideBySide(model)
    training = FULL.training
    trainer.compile(
        OPTIMIZERS[training.optimizer](training.learning_rate, 10_000, 0, training.weight_decay, training.clip_norm),
        RDropCrossEntropy(FULL.r_drop, FULL.smoothing, reduction="mean_with_sample_weight"),
        jit_compile=False,
    )
    data = data if count == 1 else batches_side_by_side(data, count)
    clock = Clock(warmup=10)
    callbacks: list[keras.callbacks.Callback] = [clock.callback()]
    trainer.fit(data, steps_per_epoch=10 + steps, shuffle=False, verbose=0, callbacks=callbacks)
    return steps * PAIRS / clock.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns of everyone (%(default)s)")
    parser.add_argument("--run", choices=("whole", "halves"), help="one contestant, in this process")
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps({"pairs_per_second": measure(arguments.run)}))
        return
    from tfseq.training.precision import explained_precision

    results = take_turns(CONTESTANTS, arguments.rounds)
    print("Both train in {}: {}.".format(*explained_precision("auto")), end="\n\n")
    print(report(results, "pairs_per_second", PEER, "pairs/s"))


if __name__ == "__main__":
    main()
