"""Validation loss after equal wall-clock time: our character LSTM and nanoGPT's CPU recipe.

    pip install -e ".[train-cpu,bench]"
    python -m benchmarks.char_lm FILE        # tinyshakespeare: its last 10 % are the validation text

The peer trains its published number of iterations; ours then gets the seconds that took, compiling included. Without
the peer, `--seconds 75` trains ours alone.
"""

import argparse
import json
import time

from benchmarks.harness.equal_time import fit_for
from benchmarks.harness.failures import Failure
from benchmarks.harness.rounds import Run, report, take_turns

PEER = "nanoGPT's CPU recipe"
UNITS, BATCH, CHUNK, LEARNING_RATE, EVALUATION_STREAMS = 512, 32, 100, 4e-3, 16


def train_for(seconds: float, path: str) -> dict[str, float]:
    """Trains a character LSTM for so many seconds and returns its validation loss in nats, from a float32 copy."""
    from tfseq.training import TruncatedBPTT, evaluate, one_stream_per_core, training_precision

    one_stream_per_core()
    import keras

    from tfseq.data import character_tokenizer, contiguous_streams, evaluation_stream, load_corpus
    from tfseq.exporting import as_float32
    from tfseq.models import RecurrentLanguageModel

    corpus = load_corpus(path)
    tokenizer = character_tokenizer(corpus.train)
    streams = contiguous_streams(tokenizer.encode(corpus.train), BATCH, CHUNK, epochs=None, seed=0)
    held_out = evaluation_stream(tokenizer.encode(corpus.validation), EVALUATION_STREAMS, CHUNK)
    keras.utils.set_random_seed(0)

    started = time.perf_counter()
    model = RecurrentLanguageModel(tokenizer.vocabulary_size, units=UNITS, dtype=training_precision())
    trainer = TruncatedBPTT(model, BATCH)
    trainer.compile(
        keras.optimizers.AdamW(LEARNING_RATE, weight_decay=0.01, beta_2=0.99, global_clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    steps = fit_for(seconds, trainer, streams, LEARNING_RATE, started)
    spent = time.perf_counter() - started
    nats = evaluate(as_float32(model), held_out, EVALUATION_STREAMS)
    return {"nats": nats, "seconds": spent, "steps": steps, "tokens": steps * BATCH * CHUNK}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="UTF-8 text; the last 10 %% are the validation text")
    parser.add_argument("--rounds", type=int, default=1, help="turns of everyone (%(default)s)")
    parser.add_argument("--seconds", type=float, help="only ours, for so many seconds, in this process")
    arguments = parser.parse_args()
    if arguments.seconds:
        print(json.dumps(train_for(arguments.seconds, arguments.file)))
        return
    from tfseq.training.precision import explained_precision

    results: dict[str, list[Run]] = {PEER: [], "tfseq": []}
    for _ in range(arguments.rounds):
        (peer,) = take_turns({PEER: ["benchmarks.peers.nanogpt", arguments.file]}, 1)[PEER]
        ours: Run = Failure(f"it trains for as long as {PEER}, which failed")
        if not isinstance(peer, Failure):
            command = ["benchmarks.char_lm", arguments.file, "--seconds", str(peer["seconds"])]
            (ours,) = take_turns({"tfseq": command}, 1)["tfseq"]
        results[PEER].append(peer)
        results["tfseq"].append(ours)
    print("tfseq trains in {}: {}.".format(*explained_precision("auto")), end="\n\n")
    print(report(results, "nats", PEER, "validation nats per character"))
    print()
    print(report(results, "seconds", PEER, "seconds of training"))


if __name__ == "__main__":
    main()
