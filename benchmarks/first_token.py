"""Time to the first token after a long prompt: read at once, beside a parallel forward pass and reading token by token.

    pip install -e ".[train-cpu]"
    python -m benchmarks.first_token             # prints a table
    python -m benchmarks.first_token gpt2        # of one model

Three files of one model that `tfseq.export` wrote read the same 512 tokens at batch 1, on two threads, in turn: `call`,
which gives the logits at every position, and the greedy loop for one new token, of the model as it is and, once, of the
model without `read`.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.harness.generation_task import THREADS
from benchmarks.harness.machine import machine

PROMPT = 512
FILES = {"forward": "parallel forward pass", "at_once": "read at once", "by_token": "read token by token"}


def lstm():
    from tfseq.models import RecurrentLanguageModel

    return RecurrentLanguageModel(96, units=512, depth=2, embedding_dim=128)


def gpt2():
    from tfseq.models import TransformerLanguageModel

    return TransformerLanguageModel(50257, units=768, heads=12, depth=12, max_positions=1024)


MODELS = {"lstm": lstm, "gpt2": gpt2}


def write(model, folder: Path) -> None:
    import tfseq
    from tfseq.models import Generator

    model(np.ones((1, 2), "int32"))
    tfseq.export(model, folder / "forward.onnx", verify=False)
    tfseq.export(model, folder / "at_once.onnx", decode=tfseq.Greedy(), verify=False)
    with mock.patch.object(type(model), "read", Generator.read):
        tfseq.export(model, folder / "by_token.onnx", decode=tfseq.Greedy(), verify=False)


def measure(folder: Path, vocabulary_size: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each round, by file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    sessions = {
        name: onnxruntime.InferenceSession(folder / f"{name}.onnx", options, providers=["CPUExecutionProvider"])
        for name in FILES
    }
    tokens = np.random.default_rng(0).integers(0, vocabulary_size, (1, PROMPT)).astype("int32")
    feeds = {"prompt": tokens, "prompt_length": np.array([PROMPT], np.int32), "max_length": np.array(1, np.int32)}
    times: dict[str, list[float]] = {name: [] for name in FILES}
    first: dict[str, int] = {}
    for round_ in range(rounds + 1):
        for name, session in sessions.items():
            if name == "by_token" and round_ > 1:
                continue  # it takes a hundred times as long, and is no peer
            given = {"tokens": tokens} if name == "forward" else feeds
            start = time.perf_counter()
            (result, *_) = session.run(None, given)
            if round_:  # the first one warms up
                times[name].append((time.perf_counter() - start) * 1e3)
            first[name] = int(result[0, -1].argmax() if name == "forward" else result[0, 0])
    assert len(set(first.values())) == 1, first
    return times


def table(results: dict[str, dict[str, list[float]]]) -> str:
    """Markdown: medians, and the ratio to the forward pass round by round: median, least and greatest."""
    lines = ["| model | " + " | ".join(f"{name} (ms)" for name in FILES.values()) + " | at once / forward |"]
    lines.append("|---|" + "---|" * (len(FILES) + 1))
    for model, times in results.items():
        ratios = [at_once / forward for at_once, forward in zip(times["at_once"], times["forward"])]
        cells = [f"{statistics.median(times[name]):.1f}" for name in FILES]
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        lines.append(f"| {model} | {' | '.join(cells)} | {ratio} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        choices=[*MODELS, []],
        help=f"of {', '.join(MODELS)}; all if none is named",
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of everyone (%(default)s)")
    arguments = parser.parse_args()
    results = {}
    for name in arguments.models or MODELS:
        model = MODELS[name]()
        with tempfile.TemporaryDirectory() as folder:
            write(model, Path(folder))
            results[name] = measure(Path(folder), model.vocabulary_size, arguments.rounds)
    print(f"{machine()}; {THREADS} threads", "", table(results), sep="\n")


if __name__ == "__main__":
    main()
