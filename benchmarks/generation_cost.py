"""What a symbol costs as a text grows: an LSTM's state stays as it is, a Transformer's cache grows with each symbol.

    pip install -e ".[train-cpu]"
    python -m benchmarks.generation_cost                                    # prints a table
    python -m benchmarks.generation_cost --plot docs/generation_cost.png    # and draws it

Files that `tfseq.export` wrote generate greedily at batch 1, on two threads. Each length runs in a process of its own,
so that the highest memory of the process is that of the length.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.first_use import peak_megabytes
from benchmarks.generation import SIZES, THREADS, transformer

LENGTHS = (125, 250, 500, 1000, 2000, 4000)
VOCABULARY, UNITS, DEPTH, EMBEDDING = 96, 512, 2, 128
NAMES = {"lstm": "LSTM", "transformer": "Transformer"}
RUNS = 3


def write(folder: Path) -> None:
    import tfseq
    from tfseq.models import RecurrentLanguageModel

    lstm = RecurrentLanguageModel(VOCABULARY, units=UNITS, depth=DEPTH, embedding_dim=EMBEDDING)
    lstm(np.ones((1, 2), "int32"))
    tfseq.export(lstm, folder / "lstm.onnx", decode=tfseq.Greedy(), verify=False)
    tfseq.export(transformer(SIZES["small"]), folder / "transformer.onnx", decode=tfseq.Greedy(), verify=False)


def measure(path: Path, length: int) -> dict[str, float]:
    """Milliseconds per symbol, and what generating added to the process' highest memory, in MB."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs = {node.name for node in session.get_inputs()}
    symbols = np.array([[5, 6, 7, 8]], np.int32)
    feeds = {"source": symbols, "prompt": symbols, "prompt_length": np.array([4], np.int32)}

    def generate(length):
        new = np.array(length, np.int32)
        given = feeds | {"max_length": new, "min_length": new}
        return session.run(["tokens"], {name: value for name, value in given.items() if name in inputs})[0]

    generate(8)
    loaded, times = peak_megabytes(), []
    for _ in range(RUNS):
        start = time.perf_counter()
        tokens = generate(length)
        times.append(time.perf_counter() - start)
    assert tokens.shape == (1, length)
    return {"milliseconds": statistics.median(times) / length * 1e3, "megabytes": peak_megabytes() - loaded}


def table(results: Mapping[str, list[dict[str, float]]]) -> str:
    columns = (f"{name}: ms per symbol | min to max | MB" for name in NAMES.values())
    rows = [f"| symbols | {' | '.join(columns)} |", "|---|" + "---|---|---|" * len(NAMES)]
    for length in LENGTHS:
        cells = []
        for model in NAMES:
            times = _values(results, model, length, "milliseconds")
            memory = statistics.median(_values(results, model, length, "megabytes"))
            cells.append(f"{statistics.median(times):.3f} | {min(times):.3f} to {max(times):.3f} | {memory:.1f}")
        rows.append(f"| {length:,} | {' | '.join(cells)} |")
    return "\n".join(rows)


def plot(results: Mapping[str, list[dict[str, float]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axis, measured, label in (
        (axes[0], "milliseconds", "mean time per symbol (ms)"),
        (axes[1], "megabytes", "memory that generating adds (MB)"),
    ):
        for (model, name), marker in zip(NAMES.items(), "os"):
            medians = [statistics.median(_values(results, model, length, measured)) for length in LENGTHS]
            axis.plot(LENGTHS, medians, marker=marker, label=name, clip_on=False)
        axis.set(xlabel="symbols generated", ylabel=label, xlim=0)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _values(results, model, length, measured):
    return [run[measured] for run in results[f"{model}, {length}"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="a PNG to write")
    parser.add_argument("--run", nargs=2, metavar=("FILE", "LENGTH"), help="one length, in this process")
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps(measure(Path(arguments.run[0]), int(arguments.run[1]))))
        return
    from benchmarks.harness.rounds import machine, take_turns

    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        commands = {
            f"{model}, {length}": ["benchmarks.generation_cost", "--run", f"{folder}/{model}.onnx", str(length)]
            for model in NAMES
            for length in LENGTHS
        }
        results = take_turns(commands, arguments.rounds)
    print(f"{machine()}; {THREADS} threads", "", table(results), sep="\n")
    if arguments.plot:
        plot(results, arguments.plot)


if __name__ == "__main__":
    main()
