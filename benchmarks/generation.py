"""Symbols per second of generation: one file of ours, CTranslate2, and two files with the loop in Python.

    pip install -e ".[train-cpu,bench]"
    python -m benchmarks.generation            # two sizes of Transformer, five rounds: a quarter of an hour
    python -m benchmarks.generation --quick    # the small one, one round, under a minute

All have the same random weights and sources of 20 symbols, and all write 40 symbols (END is ruled out) on two threads.
CTranslate2 runs with each of its settings in `CTRANSLATE2`; the ratio is to the one that is best for the case.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

THREADS = 2
SOURCE_TIME, NEW_TIME, WIDTH = 20, 40, 4
BATCHES = (1, 32)
LEAST_RUNS, LEAST_SECONDS = 3, 0.5  # of a case in one turn

CTRANSLATE2 = {  # threads in a product, translators that share the batch, environment
    "2 threads": ("2", "1"),
    "2 awake threads": ("2", "1", "OMP_WAIT_POLICY=active"),
    "1 thread": ("1", "1"),
    "2 translators": ("1", "2"),
}
ENVIRONMENTS = {  # variables that its libraries read; see `--tune`
    "as it comes": (),
    "CT2_USE_MKL=1": ("CT2_USE_MKL=1",),
    "CT2_USE_MKL=1 CT2_PACKED_GEMM=1": ("CT2_USE_MKL=1", "CT2_PACKED_GEMM=1"),
    "OMP_WAIT_POLICY=active": ("OMP_WAIT_POLICY=active",),
    "OMP_WAIT_POLICY=passive": ("OMP_WAIT_POLICY=passive",),
    "OMP_PROC_BIND=true": ("OMP_PROC_BIND=true",),
}
PRECISIONS = ("float32", "int8")
GOALS = {"float32": 1.5, "int8": 1.2, "two files": 1.5}


Results = Mapping[str, list[dict[str, float]]]


@dataclass(frozen=True)
class Size:
    """Of a Transformer, `depth` blocks in the encoder and as many in the decoder."""

    depth: int
    units: int
    heads: int
    hidden: int
    vocabulary: int


SIZES = {"large": Size(6, 512, 8, 2048, 8000), "small": Size(3, 256, 4, 512, 4000)}


@dataclass(frozen=True)
class Task:
    """What contestants have to know beside their file."""

    vocabulary: int
    start: int
    end: int
    new_time: int
    runs: int

    def sources(self, batch: int) -> np.ndarray:
        """(batch, SOURCE_TIME) int32; a smaller batch is the beginning of a larger one."""
        return np.random.default_rng(1).integers(4, self.vocabulary, (max(BATCHES), SOURCE_TIME), np.int32)[:batch]


def write_task(task: Task, folder: Path) -> None:
    (folder / "task.json").write_text(json.dumps(asdict(task)))


def read_task(folder: Path) -> Task:
    return Task(**json.loads((folder / "task.json").read_text()))


def cases(batches: Sequence[int] = BATCHES) -> dict[str, tuple[int, int]]:
    """Name -> batch size and beams."""
    return {f"{'greedy' if w == 1 else f'beam {w}'}, batch {b}": (b, w) for b in batches for w in (1, WIDTH)}


def measure(run: Callable, folder: Path, name: str, batches: Sequence[int] = BATCHES) -> None:
    """Prints symbols per second by case as JSON, and leaves the symbols in NAME.npz.

    Args:
        run: (source, width, length) -> symbols, (batch, length) integers.
    """
    task = read_task(folder)
    speeds: dict[str, float] = {}
    symbols: dict[str, Any] = {}
    for case, (batch, width) in cases(batches).items():
        source = task.sources(batch)
        times: list[float] = []
        symbols[case] = run(source, width, task.new_time)  # and warms up
        while len(times) < task.runs or (sum(times) < LEAST_SECONDS and task.runs > 1):
            start = time.perf_counter()
            run(source, width, task.new_time)
            times.append(time.perf_counter() - start)
        speeds[case] = batch * task.new_time / statistics.median(times)
    np.savez(folder / f"{name}.npz", **symbols)
    print(json.dumps(speeds))


def prepare(size: Size, folder: Path, new_time: int, runs: int) -> None:
    """Writes everyone's files, and what Keras generates."""
    import onnx

    import tfseq
    from benchmarks.peers import ctranslate2_transformer, two_files
    from tfseq.decoding import generate
    from tfseq.exporting.smaller.weight_quantization import to_int8

    model = transformer(size)
    task = Task(size.vocabulary, model.start, model.end, new_time, runs)
    write_task(task, folder)
    expected: dict[str, Any] = {}
    for case, (batch, width) in cases().items():
        decode = strategy(width)
        made = generate(model, source=task.sources(batch), decode=decode, max_length=new_time, min_length=new_time)
        expected[case] = np.asarray(made.tokens)
    np.savez(folder / "keras.npz", **expected)
    for width in (1, WIDTH):
        path = folder / f"width_{width}.float32.onnx"
        tfseq.export(model, path, decode=strategy(width), verify=False)  # its symbols are compared here
        graph = onnx.load(path)
        to_int8(graph)
        onnx.save(graph, folder / f"width_{width}.int8.onnx")
    two_files.write(model, folder)
    ctranslate2_transformer.write(model, folder / "ctranslate2")


def strategy(width: int):
    import tfseq

    return tfseq.Greedy() if width == 1 else tfseq.Beam(width=width)


def transformer(size: Size):
    """With random weights: no scale is 1 and no bias 0, or graphs would come out simpler than after training."""
    import keras

    from tfseq.models import Transformer

    keras.utils.set_random_seed(0)
    model = Transformer(size.vocabulary, units=size.units, heads=size.heads, hidden=size.hidden, depth=size.depth)
    model({"source": np.ones((1, 2), "int32"), "target": np.ones((1, 2), "int32")})
    random = np.random.default_rng(0)
    for weight in model.weights:
        if len(weight.shape) == 1:
            weight.assign(weight + random.normal(0, 0.1, weight.shape))
    gamma = model.decoder.last_norm.gamma  # signs keep the tied embeddings from writing just what they have read
    gamma.assign(gamma * random.choice([-1, 1], gamma.shape))
    return model


def run_ours(folder: Path, precision: str) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    sessions = {
        width: onnxruntime.InferenceSession(
            folder / f"width_{width}.{precision}.onnx", options, providers=["CPUExecutionProvider"]
        )
        for width in (1, WIDTH)
    }

    def run(source, width, length):
        feeds = {"source": source, "max_length": np.array(length, np.int32), "min_length": np.array(length, np.int32)}
        if width > 1:
            feeds["length_penalty"] = np.array(1, np.float32)
        return sessions[width].run(["tokens"], feeds)[0]

    measure(run, folder, f"tfseq_{precision}")


def contestants(folder: Path) -> dict[str, list[str]]:
    everyone = {}
    for precision in PRECISIONS:
        for setting, arguments in CTRANSLATE2.items():
            command = ["benchmarks.peers.ctranslate2_transformer", str(folder), precision, *arguments]
            everyone[f"CTranslate2 {precision}, {setting}"] = command
        everyone[f"tfseq {precision}"] = ["benchmarks.generation", "--run", str(folder), precision]
    for way in ("numpy", "bound"):
        everyone[f"two files, {way}"] = ["benchmarks.peers.two_files", str(folder), way]
    return everyone


def compare(results: Results, precision: str) -> str:
    """Markdown: ours beside CTranslate2 on as many threads, and in the setting that is best for the case."""
    goal = GOALS[precision]
    rows = [
        f"| {precision} | tfseq, symbols/s | CTranslate2, 2 threads | ratio, round by round "
        f"| CTranslate2 at its best | ratio, round by round (goal: {goal}) |",
        "|---|---|---|---|---|---|",
    ]
    ours = results[f"tfseq {precision}"]
    for case in cases():
        medians = {setting: _median(results[f"CTranslate2 {precision}, {setting}"], case) for setting in CTRANSLATE2}
        best = max(medians, key=medians.__getitem__)
        same, quickest = (results[f"CTranslate2 {precision}, {setting}"] for setting in ("2 threads", best))
        rows.append(
            f"| {case} | {_median(ours, case):,.0f} | {medians['2 threads']:,.0f} | {_ratios(ours, same, case)} "
            f"| {medians[best]:,.0f} ({best}) | {_ratios(ours, quickest, case)} |"
        )
    return "\n".join(rows)


def compare_two_files(results: Results) -> str:
    """Markdown: ours beside the loop in Python, with NumPy arrays and with bound values."""
    rows = [
        f"| float32 | tfseq, symbols/s | two files, NumPy | ratio, round by round (goal: {GOALS['two files']}) "
        "| two files, bound | ratio, round by round |",
        "|---|---|---|---|---|---|",
    ]
    ours = results["tfseq float32"]
    for case in cases((1,)):
        cells = [f"{_median(ours, case):,.0f}"]
        for way in ("numpy", "bound"):
            peer = results[f"two files, {way}"]
            cells += [f"{_median(peer, case):,.0f}", _ratios(ours, peer, case)]
        rows.append(f"| {case} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _median(runs: list[dict[str, float]], case: str) -> float:
    return statistics.median(run[case] for run in runs)


def _ratios(ours: list[dict[str, float]], peer: list[dict[str, float]], case: str) -> str:
    ratios = [a[case] / b[case] for a, b in zip(ours, peer, strict=True)]
    return f"**{statistics.median(ratios):.2f}** ({', '.join(f'{ratio:.2f}' for ratio in ratios)})"


def tune(folder: Path, rounds: int) -> str:
    """Markdown: CTranslate2 under settings of its environment, symbols per second."""
    from benchmarks.harness.rounds import take_turns

    commands = {
        f"{precision}, {name}": [
            "benchmarks.peers.ctranslate2_transformer",
            *(str(folder), precision, str(THREADS), "1", *environment),
        ]
        for precision in PRECISIONS
        for name, environment in ENVIRONMENTS.items()
    }
    results = take_turns(commands, rounds)
    rows = [f"| 2 threads | {' | '.join(cases())} |", "|---|" + "---|" * len(cases())]
    for name, runs in results.items():
        rows.append(f"| {name} | {' | '.join(f'{_median(runs, case):,.0f}' for case in cases())} |")
    return "\n".join(rows)


def agreement(folder: Path) -> str:
    """Markdown: how many sequences, and symbols, are Keras'."""
    expected = np.load(folder / "keras.npz")
    rows = [f"| the same as Keras' | {' | '.join(cases())} |", "|---|" + "---|" * len(cases())]
    for file in sorted(folder.glob("*.npz")):
        if file.stem == "keras":
            continue
        symbols = np.load(file)
        cells = []
        for case in cases():
            if case not in symbols:
                cells.append("")
                continue
            same = symbols[case] == expected[case]
            cells.append(f"{same.all(1).sum()} of {len(same)} sequences, {same.mean():.1%} of symbols")
        rows.append(f"| {file.stem.replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--quick", action="store_true", help="the small size, one round, 10 symbols")
    parser.add_argument("--tune", action="store_true", help="only CTranslate2, in several environments")
    parser.add_argument("--run", nargs=2, metavar=("FOLDER", "PRECISION"), help="ours alone, in this process")
    arguments = parser.parse_args()
    if arguments.run:
        run_ours(Path(arguments.run[0]), arguments.run[1])
        return
    from benchmarks.harness.rounds import machine, take_turns

    if arguments.quick:
        arguments.sizes, arguments.rounds = ["small"], 1
    print(machine(), f"{THREADS} threads", sep="; ")
    for name in arguments.sizes:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            print(f"preparing the {name} model", file=sys.stderr, flush=True)
            prepare(SIZES[name], folder, 10 if arguments.quick else NEW_TIME, 1 if arguments.quick else LEAST_RUNS)
            print("", f"**{name}**: {asdict(SIZES[name])}", sep="\n")
            if arguments.tune:
                print("", tune(folder, arguments.rounds), sep="\n")
                continue
            results = take_turns(contestants(folder), arguments.rounds)
            for precision in PRECISIONS:
                print("", compare(results, precision), sep="\n")
            print("", compare_two_files(results), "", agreement(folder), sep="\n", flush=True)


if __name__ == "__main__":
    main()
