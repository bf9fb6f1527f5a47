"""Tokens per second of a training step: a 2-layer LSTM language model, ours and torch.nn.LSTM's, in turn.

    pip install -e ".[train-cpu,bench]"
    python -m benchmarks.recurrent_training

512 units, embedding 128, batch 64, 100 steps of time, vocabulary 96; forward, backward, optimizer. `keras` is the same
model of Keras' own layers, as `fit` runs it by default.
"""

import argparse
import json
import time

import numpy as np

BATCH, TIME, VOCABULARY, EMBEDDING, UNITS, DEPTH = 64, 100, 96, 128, 512, 2
CONTESTANTS = {
    "PyTorch float32": ["benchmarks.peers.torch_lstm", "float32"],
    "PyTorch bfloat16 autocast": ["benchmarks.peers.torch_lstm", "bfloat16"],
    "Keras float32": ["benchmarks.recurrent_training", "--run", "keras", "float32"],
    "Keras mixed_bfloat16": ["benchmarks.recurrent_training", "--run", "keras", "mixed_bfloat16"],
    "tfseq float32": ["benchmarks.recurrent_training", "--run", "tfseq", "float32"],
    "tfseq mixed_bfloat16": ["benchmarks.recurrent_training", "--run", "tfseq", "mixed_bfloat16"],
}


def measure(library: str, precision: str, steps: int = 16) -> float:
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
    clock = Clock(warmup=2)
    model.fit(data, steps_per_epoch=2 + steps, shuffle=False, verbose=0, callbacks=[clock.callback()])
    return steps * BATCH * TIME / clock.seconds


class Clock:
    """Time from the end of step `warmup` to the end of the last step: `fit`'s own start and end are not a step's."""

    def __init__(self, warmup: int):
        self.warmup = warmup
        self.started = self.seconds = 0.0

    def callback(self):
        import keras

        def at_end(step, logs):
            if step == self.warmup - 1:
                self.started = time.perf_counter()
            self.seconds = time.perf_counter() - self.started

        return keras.callbacks.LambdaCallback(on_train_batch_end=at_end)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--run", nargs=2, metavar=("LIBRARY", "PRECISION"), help="one contestant, in this process")
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps({"tokens_per_second": measure(*arguments.run)}))
        return
    from benchmarks.harness.rounds import report, take_turns

    results = take_turns(CONTESTANTS, arguments.rounds)
    print(report(results, "tokens_per_second", "PyTorch float32", "tokens/s"))
    print()
    print(report(results, "tokens_per_second", "PyTorch bfloat16 autocast", "tokens/s"))


if __name__ == "__main__":
    main()
