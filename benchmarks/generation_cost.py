"""Time and memory per token as a generated text grows: an LSTM's state keeps its size, a Transformer's KV cache grows.

    pip install -e ".[train-cpu]"
    python -m benchmarks.generation_cost                                    # prints a table
    python -m benchmarks.generation_cost --plot docs/generation_cost.png    # and draws it

Files that `tfseq.export` wrote generate greedily at batch 1, on two threads. Each length runs in a process of its own,
so that the peak memory of the process is that of the length.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.harness.generation_task import SIZES, THREADS, transformer
from benchmarks.harness.machine import machine
from benchmarks.harness.process_memory import peak_megabytes
from benchmarks.harness.rounds import Results, failed_lines, require_any, take_turns, values

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
    """Milliseconds per token, and what generating added to the process' peak memory, in MB."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs = {node.name for node in session.get_inputs()}
    given = np.array([[5, 6, 7, 8]], np.int32)
    feeds = {"source": given, "prompt": given, "prompt_length": np.array([4], np.int32)}

    def generate(length):
        new = np.array(length, np.int32)
        settings = {"max_length": new, "min_length": new}
        return session.run(["tokens"], {name: x for name, x in (feeds | settings).items() if name in inputs})[0]

    generate(8)
    loaded, times = peak_megabytes(), []
    for _ in range(RUNS):
        start = time.perf_counter()
        tokens = generate(length)
        times.append(time.perf_counter() - start)
    assert tokens.shape == (1, length)
    return {"milliseconds": statistics.median(times) / length * 1e3, "megabytes": peak_megabytes() - loaded}


def table(results: Results) -> str:
    """Markdown: medians of the rounds, and why a length has none."""
    columns = (f"{name}: ms per token | min to max | MB" for name in NAMES.values())
    rows = [f"| tokens | {' | '.join(columns)} |", "|---|" + "---|---|---|" * len(NAMES)]
    for length in LENGTHS:
        cells = []
        for model in NAMES:
            times, memory = (_values(results, model, length, of) for of in ("milliseconds", "megabytes"))
            cells += [f"{statistics.median(times):.3f}", f"{min(times):.3f} to {max(times):.3f}"] if times else ["", ""]
            cells.append(f"{statistics.median(memory):.1f}" if memory else "")
        rows.append(f"| {length:,} | {' | '.join(cells)} |")
    return "\n".join([*rows, *failed_lines(results)])


def plot(results: Results, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axis, measured, label in (
        (axes[0], "milliseconds", "mean time per token (ms)"),
        (axes[1], "megabytes", "memory that generating adds (MB)"),
    ):
        for (model, name), marker in zip(NAMES.items(), "os"):
            runs = {length: _values(results, model, length, measured) for length in LENGTHS}
            medians = {length: statistics.median(found) for length, found in runs.items() if found}
            axis.plot(list(medians), list(medians.values()), marker=marker, label=name, clip_on=False)
        axis.set(xlabel="tokens generated", ylabel=label, xlim=0)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _values(results, model, length, measured):
    return values(results[f"{model}, {length}"], measured)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns of everyone (%(default)s)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="a PNG to write")
    parser.add_argument("--run", nargs=2, metavar=("FILE", "LENGTH"), help="one length, in this process")
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps(measure(Path(arguments.run[0]), int(arguments.run[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        commands = {
            f"{model}, {length}": ["benchmarks.generation_cost", "--run", f"{folder}/{model}.onnx", str(length)]
            for model in NAMES
            for length in LENGTHS
        }
        results = take_turns(commands, arguments.rounds)
    require_any(results)
    print(f"{machine()}; {THREADS} threads", "", table(results), sep="\n")
    if arguments.plot:
        plot(results, arguments.plot)


if __name__ == "__main__":
    main()
