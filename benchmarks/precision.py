"""Loss of training in mixed_bfloat16 beside float32: the quick recipe of the character model, by seed.

    pip install -e ".[train-cpu]"
    python -m benchmarks.precision

Both are evaluated in float32, which is what is exported.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Literal

from benchmarks.harness.rounds import Run, report, take_turns

PRECISIONS = ("float32", "mixed_bfloat16")


def train(precision: Literal["float32", "mixed_bfloat16"], seed: int) -> dict[str, float]:
    """Validation loss in nats and the seconds of training."""
    from pipelines.char_lm import EVALUATION_STREAMS, QUICK, build
    from tfseq.data import character_tokenizer, contiguous_streams, evaluation_stream, load_corpus
    from tfseq.exporting import as_float32
    from tfseq.training import evaluate, fit, one_stream_per_core

    one_stream_per_core()
    training = replace(QUICK.training, seed=seed)
    corpus = load_corpus()
    tokenizer = character_tokenizer(corpus.train)
    tokens = tokenizer.encode(corpus.train)
    held_out = evaluation_stream(tokenizer.encode(corpus.validation), EVALUATION_STREAMS, training.chunk)
    model = build(replace(QUICK, precision=precision, training=training), tokenizer.vocabulary_size)

    def streams(step):
        return contiguous_streams(tokens, training.batch, training.chunk, start=step, epochs=None, seed=seed)

    with tempfile.TemporaryDirectory() as run:
        history = fit(model, streams, held_out, training, Path(run), evaluation_batch=EVALUATION_STREAMS, verbose=0)
    return {"nats": evaluate(as_float32(model), held_out, EVALUATION_STREAMS), "seconds": history[-1]["seconds"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="trainings in each precision (%(default)s)")
    parser.add_argument("--run", choices=PRECISIONS, help="one training, in this process")
    parser.add_argument("--seed", type=int, default=0, help="of --run (%(default)s)")
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps(train(arguments.run, arguments.seed)))
        return
    results: dict[str, list[Run]] = {precision: [] for precision in PRECISIONS}
    for seed in range(arguments.seeds):
        commands = {p: ["benchmarks.precision", "--run", p, "--seed", str(seed)] for p in PRECISIONS}
        for precision, runs in take_turns(commands, 1).items():
            results[precision] += runs
    print(report(results, "nats", "float32", "validation nats per character"))
    print()
    print(report(results, "seconds", "float32", "seconds of training"))


if __name__ == "__main__":
    main()
