"""Tokens per second of a training step: a 2-layer LSTM language model in tfseq, in Keras and with `torch.nn.LSTM`.

    pip install -e ".[train-cpu,bench]"
    python -m benchmarks.recurrent_training
    python -m benchmarks.recurrent_training --quick    # one round of two steps, to see that everything runs

512 units, embedding 128, batch 64, 100 time steps, vocabulary 96; forward, backward, optimizer. `keras` is the same
model of Keras' own layers, as `fit` runs it by default. What has no kernels on this CPU, as PyTorch's LSTM has none for
bfloat16 without AVX-512, is a row that says so.
"""

import argparse
import json

import numpy as np

from benchmarks.harness.clock import Clock
from benchmarks.harness.recurrent_task import BATCH, DEPTH, EMBEDDING, TIME, UNITS, VOCABULARY
from benchmarks.harness.rounds import report, take_turns

STEPS, WARMUP = 16, 2  # of the second `fit`: timed, and before these


def contestants(steps: int) -> dict[str, list[str]]:
    """Commands by name; each times so many steps."""
    ours = ["benchmarks.recurrent_training", "--steps", str(steps), "--run"]
    return {
        "PyTorch float32": ["benchmarks.peers.torch_lstm", "float32", str(steps)],
        "PyTorch bfloat16 autocast": ["benchmarks.peers.torch_lstm", "bfloat16", str(steps)],
        "Keras float32": [*ours, "keras", "float32"],
        "Keras mixed_bfloat16": [*ours, "keras", "mixed_bfloat16"],
        "tfseq float32": [*ours, "tfseq", "float32"],
        "tfseq mixed_bfloat16": [*ours, "tfseq", "mixed_bfloat16"],
    }


def measure(library: str, precision: str, steps: int) -> float:
    """Tokens per second of `fit`, after it has been compiled and warmed up."""
    from tfseq.training import TruncatedBPTT, one_stream_per_core

    if library == "tfseq":
        one_stream_per_core()
    import keras
    import tensorflow as tf

    rng = np.random.default_rng(0)
    tokens, targets = rng.integers(0, VOCABULARY, (2, BATCH, TIME)).astype("int32")
    if library == "tfseq":
        from tfseq.models import RecurrentLanguageModel

        language_model = RecurrentLanguageModel(
            VOCABULARY, units=UNITS, depth=DEPTH, embedding_dim=EMBEDDING, dtype=precision
        )
        model = TruncatedBPTT(language_model, BATCH)
        inputs = {"tokens": tokens, "starts": np.zeros(BATCH, bool)}
    else:
        keras.config.set_dtype_policy(precision)
        layers = [keras.layers.Embedding(VOCABULARY, EMBEDDING)]
        layers += [keras.layers.LSTM(UNITS, return_sequences=True) for _ in range(DEPTH)]
        model = keras.Sequential([*layers, keras.layers.Dense(VOCABULARY, dtype="float32")])
        inputs = tokens
    model.compile(
        keras.optimizers.Adam(1e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False if library == "tfseq" else "auto",
    )
    data = tf.data.Dataset.from_tensors((inputs, targets)).cache().repeat()
    model.fit(data, steps_per_epoch=4, shuffle=False, verbose=0)
    clock = Clock(WARMUP)
    model.fit(data, steps_per_epoch=WARMUP + steps, shuffle=False, verbose=0, callbacks=[clock.callback()])
    return steps * BATCH * TIME / clock.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns of everyone (%(default)s)")
    parser.add_argument("--run", nargs=2, metavar=("LIBRARY", "PRECISION"), help="one contestant, in this process")
    parser.add_argument("--steps", type=int, default=STEPS, help="to time in a turn (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="one round of 2 steps, to see that everything runs")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.steps = 1, 2
    if arguments.run:
        library, precision = arguments.run
        print(json.dumps({"tokens_per_second": measure(library, precision, arguments.steps)}))
        return
    results = take_turns(contestants(arguments.steps), arguments.rounds)
    print(report(results, "tokens_per_second", "PyTorch float32", "tokens/s"))
    print()
    print(report(results, "tokens_per_second", "PyTorch bfloat16 autocast", "tokens/s"))


if __name__ == "__main__":
    main()
