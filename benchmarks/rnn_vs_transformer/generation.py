"""Milliseconds per generated symbol, by how many come before it: greedy, batch 1, from exported files."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.rnn_vs_transformer.contestants import LARGE, Results, Size, language_model, session
from benchmarks.rnn_vs_transformer.throughput import NAMES, VOCABULARY

LEAST_SYMBOLS = 1024  # in a turn: short texts are written several times


def measure(lengths: Sequence[int], rounds: int, size: Size = LARGE, names: Sequence[str] = NAMES) -> Results:
    """Milliseconds of processor time per symbol, mean over the second half of a text of `length` symbols.

    That is the time of the whole text less that of its first half, over half its symbols: the loop is inside of the
    file, which tells no time of its steps.
    """
    results: Results = {name: {length: [] for length in lengths} for name in names}
    with tempfile.TemporaryDirectory() as folder:
        writers = {name: _writer(write(name, size, Path(folder))) for name in names}
        for _ in range(rounds):
            for length in lengths:
                for name, seconds in writers.items():
                    second_half = seconds(length) - seconds(length // 2)
                    results[name][length].append(second_half / (length - length // 2) * 1e3)
    return results


def write(name: str, size: Size, folder: Path) -> Path:
    import tfseq

    path = folder / f"{name}.onnx"
    model = language_model(name, size, VOCABULARY, "float32")
    tfseq.export(model, path, decode=tfseq.Greedy(), verify=False)  # it has random weights, which nobody reads
    return path


def _writer(path: Path):
    """From a length to the seconds that a text of it takes."""
    opened = session(path)
    prompt = {"prompt": np.array([[1]], np.int32), "prompt_length": np.array([1], np.int32)}

    def seconds(length: int) -> float:
        texts = max(1, LEAST_SYMBOLS // length)
        start = time.process_time()
        for _ in range(texts):
            (tokens,) = opened.run(["tokens"], prompt | {"max_length": np.array(length, np.int32)})
        elapsed = time.process_time() - start
        assert tokens.shape == (1, length)
        return elapsed / texts

    seconds(64)
    return seconds
