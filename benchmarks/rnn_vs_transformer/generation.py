"""Milliseconds per generated token, by how many come before it: greedy, batch 1, from exported files."""

import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.rnn_vs_transformer.contestants import (
    LARGE,
    NAMES,
    Outcomes,
    Results,
    Size,
    language_model,
    session,
    tried,
)
from benchmarks.rnn_vs_transformer.throughput import CONTESTANTS, VOCABULARY

LEAST_TOKENS = 1024  # in a turn: short texts are written several times


def measure(
    lengths: Sequence[int],
    rounds: int,
    outcomes: Outcomes,
    size: Size = LARGE,
    names: Sequence[str] = CONTESTANTS,
) -> Results:
    """Milliseconds of processor time per token, mean over the second half of a text of `length` tokens.

    That is the time of the whole text less that of its first half, over half its tokens: the loop is inside of the
    file, which tells no time of its decode steps.

    Args:
        lengths: of the texts.
        rounds: at each length; everyone has one turn in each.
        outcomes: is told who could not run; the results lack them.
        size: of the contestants.
        names: of the contestants.
    """
    results: Results = {name: {} for name in names}
    with tempfile.TemporaryDirectory() as folder:
        writers = {}
        for name in names:
            writer = tried(f"generation, {NAMES[name]}", partial(_writer, name, size, Path(folder)), outcomes)
            if writer is not None:
                writers[name] = writer
        for _ in range(rounds):
            for length in lengths:
                for name, seconds in writers.items():
                    second_half = seconds(length) - seconds(length // 2)
                    results[name].setdefault(length, []).append(second_half / (length - length // 2) * 1e3)
    return results


def write(name: str, size: Size, folder: Path) -> Path:
    import tfseq

    path = folder / f"{name}.onnx"
    model = language_model(name, size, VOCABULARY, "float32")
    tfseq.export(model, path, decode=tfseq.Greedy(), verify=False)  # it has random weights, which nobody reads
    return path


def _writer(name: str, size: Size, folder: Path) -> Callable[[int], float]:
    """From a length to the seconds that generating as many tokens takes."""
    opened = session(write(name, size, folder))
    prompt = {"prompt": np.array([[1]], np.int32), "prompt_length": np.array([1], np.int32)}

    def seconds(length: int) -> float:
        texts = max(1, LEAST_TOKENS // length)
        start = time.process_time()
        for _ in range(texts):
            (tokens,) = opened.run(["tokens"], prompt | {"max_length": np.array(length, np.int32)})
        elapsed = time.process_time() - start
        assert tokens.shape == (1, length)
        return elapsed / texts

    seconds(64)
    return seconds
