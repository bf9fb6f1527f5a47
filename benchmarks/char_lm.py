"""Validation loss after the same wall-clock seconds: our recurrent character model and nanoGPT's CPU recipe, in turn.

    pip install -e ".[train-cpu,bench]"
    python -m benchmarks.char_lm FILE        # tinyshakespeare: its last 10 % are the validation text

The peer trains its published number of iterations; ours then gets the seconds that took, compiling included.
"""

import argparse
import json
import math
import time

UNITS, BATCH, CHUNK, LEARNING_RATE, EVALUATION_STREAMS = 512, 32, 100, 4e-3, 16


def train_for(seconds: float, path: str) -> dict[str, float]:
    """Trains a character LSTM for so many seconds and returns its validation loss in nats, from a float32 copy."""
    from tfseq.training import TruncatedBPTT, evaluate, one_stream_per_core

    one_stream_per_core()
    import keras

    from tfseq.data import character_tokenizer, contiguous_streams, evaluation_stream, load_corpus
    from tfseq.exporting.precision import as_float32
    from tfseq.models import RecurrentLanguageModel

    corpus = load_corpus(path)
    tokenizer = character_tokenizer(corpus.train)
    streams = contiguous_streams(tokenizer.encode(corpus.train), BATCH, CHUNK, epochs=None, seed=0)
    held_out = evaluation_stream(tokenizer.encode(corpus.validation), EVALUATION_STREAMS, CHUNK)
    keras.utils.set_random_seed(0)

    started = time.perf_counter()
    model = RecurrentLanguageModel(tokenizer.vocabulary_size, units=UNITS, dtype="mixed_bfloat16")
    trainer = TruncatedBPTT(model, BATCH)
    trainer.compile(
        keras.optimizers.AdamW(LEARNING_RATE, weight_decay=0.01, beta_2=0.99, global_clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    steps = 0

    def after_step(step, logs):
        nonlocal steps
        steps += 1
        spent = (time.perf_counter() - started) / seconds
        trainer.optimizer.learning_rate = LEARNING_RATE * min(steps / 50, 0.5 * (1 + math.cos(math.pi * min(spent, 1))))
        if spent >= 1:
            raise TimeUp

    try:
        callback = keras.callbacks.LambdaCallback(on_train_batch_end=after_step)
        trainer.fit(streams, steps_per_epoch=10**9, shuffle=False, verbose=0, callbacks=[callback])
    except TimeUp:
        pass
    spent = time.perf_counter() - started
    nats = evaluate(as_float32(model), held_out, EVALUATION_STREAMS)
    return {"nats": nats, "seconds": spent, "steps": steps, "tokens": steps * BATCH * CHUNK}


class TimeUp(Exception):
    """The seconds are spent; raised out of `fit`, whose own way to stop waits for the end of an epoch."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="UTF-8 text; the last 10 % are the validation text")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seconds", type=float, help="only ours, for so many seconds, in this process")
    arguments = parser.parse_args()
    if arguments.seconds:
        print(json.dumps(train_for(arguments.seconds, arguments.file)))
        return
    from benchmarks.turns import report, take_turns

    results: dict[str, list[dict[str, float]]] = {"nanoGPT's CPU recipe": [], "tfseq": []}
    for _ in range(arguments.rounds):
        peer = take_turns({"nanoGPT's CPU recipe": ["benchmarks.peers.nanogpt", arguments.file]}, 1)
        (its,) = peer["nanoGPT's CPU recipe"]
        seconds = str(its["seconds"])
        ours = take_turns({"tfseq": ["benchmarks.char_lm", arguments.file, "--seconds", seconds]}, 1)
        for name, runs in (peer | ours).items():
            results[name] += runs
    print(report(results, "nats", "nanoGPT's CPU recipe", "validation nats per character"))
    print()
    print(report(results, "seconds", "nanoGPT's CPU recipe", "seconds of training"))


if __name__ == "__main__":
    main()
