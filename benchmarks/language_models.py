"""Validation loss after equal wall-clock time: Transformer, LSTM, GRU, state spaces of about as many parameters.

    pip install -e ".[train-cpu]"
    python -m benchmarks.language_models FILE --seconds 360        # tinyshakespeare: its last 10 % are validation text
    python -m benchmarks.language_models FILE --run lstm --seconds 90 --learning-rate 4e-3    # one of them alone

Each trains in a process of its own, compiling included, in bfloat16 where the CPU multiplies it, with one of
`LEARNING_RATES`; short runs alone tell which suits. The recurrent models carry their state over the validation text;
the Transformer and the state spaces read it in blocks, each character with at least half a block before it.
"""

import argparse
import json
import time
from typing import Any, Literal

from benchmarks.harness.equal_time import fit_for
from benchmarks.harness.rounds import report, take_turns

PEER = "lstm"
LEARNING_RATES = {"transformer": 2e-3, "lstm": 4e-3, "gru": 4e-3, "state_space": 4e-3}
IN_BLOCKS = ("transformer", "state_space")
BATCH, BLOCK, CHUNK, EVALUATION_STREAMS = 16, 256, 100, 16
RECURRENT_BATCH = 32
DROPOUT = 0.1


def train_for(
    seconds: float, kind: Literal["transformer", "lstm", "gru", "state_space"], path: str, learning_rate: float
) -> dict[str, float]:
    """Trains a model for so many seconds; its validation loss in nats is that of a float32 copy."""
    import keras

    from tfseq.data import character_tokenizer, load_corpus
    from tfseq.training import one_stream_per_core

    if kind not in IN_BLOCKS:
        one_stream_per_core()
    corpus = load_corpus(path)
    tokenizer = character_tokenizer(corpus.train)
    learned, held_out = tokenizer.encode(corpus.train), tokenizer.encode(corpus.validation)
    keras.utils.set_random_seed(0)
    started = time.perf_counter()
    prepare = _in_blocks if kind in IN_BLOCKS else _recurrent
    model, trainer, batches, evaluated, tokens = prepare(kind, tokenizer.vocabulary_size, learned, held_out)
    trainer.compile(
        keras.optimizers.AdamW(learning_rate, weight_decay=0.05, beta_2=0.99, global_clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    steps = fit_for(seconds, trainer, batches, learning_rate, started)
    spent = time.perf_counter() - started
    parameters = model.count_params()
    return {"nats": evaluated(), "seconds": spent, "steps": steps, "tokens": steps * tokens, "parameters": parameters}


def _in_blocks(kind: str, vocabulary_size: int, learned: Any, held_out: Any):
    from tfseq.data import random_blocks, sliding_blocks
    from tfseq.exporting import as_float32
    from tfseq.models import Generator, StateSpaceLanguageModel, TransformerLanguageModel
    from tfseq.training import evaluate_blocks, training_precision

    both: dict[str, Any] = {"depth": 4, "dropout": DROPOUT, "dtype": training_precision()}
    model: Generator
    if kind == "transformer":
        model = TransformerLanguageModel(vocabulary_size, 192, heads=3, positions="rotary", window=128, **both)
    else:
        model = StateSpaceLanguageModel(vocabulary_size, 256, states=8, **both)  # 1.72 million parameters
    batches = random_blocks(learned, BATCH, BLOCK, steps=10**9)(0)
    validation = sliding_blocks(held_out, BATCH, BLOCK, context=BLOCK // 2)
    return model, model, batches, lambda: evaluate_blocks(as_float32(model), validation), BATCH * BLOCK


def _recurrent(kind: str, vocabulary_size: int, learned: Any, held_out: Any):
    from tfseq.data import contiguous_streams, evaluation_stream
    from tfseq.exporting import as_float32
    from tfseq.models import RecurrentLanguageModel
    from tfseq.training import TruncatedBPTT, evaluate, training_precision

    units = {"lstm": 624, "gru": 720}[kind]  # about the 1.79 million parameters of the Transformer
    model = RecurrentLanguageModel(vocabulary_size, units=units, cell=kind, dropout=DROPOUT, dtype=training_precision())
    batches = contiguous_streams(learned, RECURRENT_BATCH, CHUNK, epochs=None, seed=0)
    validation = evaluation_stream(held_out, EVALUATION_STREAMS, CHUNK)
    trainer = TruncatedBPTT(model, RECURRENT_BATCH)
    return (
        model,
        trainer,
        batches,
        lambda: evaluate(as_float32(model), validation, EVALUATION_STREAMS),
        RECURRENT_BATCH * CHUNK,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="UTF-8 text; the last 10 %% are the validation text")
    parser.add_argument("--seconds", type=float, default=360, help="of training, for each")
    parser.add_argument("--rounds", type=int, default=1, help="turns of everyone (%(default)s)")
    parser.add_argument("--run", choices=LEARNING_RATES, help="only this one, in this process")
    parser.add_argument("--learning-rate", type=float, help="of --run")
    arguments = parser.parse_args()
    if arguments.run:
        learning_rate = arguments.learning_rate or LEARNING_RATES[arguments.run]
        print(json.dumps(train_for(arguments.seconds, arguments.run, arguments.file, learning_rate)))
        return
    from tfseq.training.precision import explained_precision

    command = ["benchmarks.language_models", arguments.file, "--seconds", str(arguments.seconds)]
    results = take_turns(
        {kind: [*command, "--run", kind] for kind in LEARNING_RATES},
        arguments.rounds,
    )
    print("All train in {}: {}.".format(*explained_precision("auto")), end="\n\n")
    for measure, unit in (
        ("nats", "validation nats per character"),
        ("tokens", "characters read"),
        ("parameters", "parameters"),
        ("seconds", "seconds of training"),
    ):
        print(report(results, measure, PEER, unit), end="\n\n")


if __name__ == "__main__":
    main()
