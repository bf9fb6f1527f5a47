"""Tokens per second of generation: one file of ours, CTranslate2, and two files with the loop in Python.

    pip install -e ".[train-cpu,bench]"
    python -m benchmarks.generation            # two sizes of Transformer, five rounds: a quarter of an hour
    python -m benchmarks.generation --quick    # the small one, one round, under a minute

All have the same random weights and sources of 20 tokens, and generate 40 tokens (END is ruled out) on two threads.
CTranslate2 runs with each of its settings in `CTRANSLATE2`; the ratio is to the one that is best for the case.
"""

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.harness.generation_task import (
    LEAST_RUNS,
    NEW_TIME,
    SIZES,
    THREADS,
    WIDTH,
    Size,
    Task,
    cases,
    measure,
    transformer,
    write_task,
)
from benchmarks.harness.machine import machine
from benchmarks.harness.rounds import Results, Run, failed_lines, ratios, require_any, take_turns, values

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
WAYS = ("numpy", "bound")  # of two files: what their tensors travel in
GOALS = {"float32": 1.5, "int8": 1.2, "two files": 1.5}


def prepare(size: Size, folder: Path, new_time: int, runs: int) -> None:
    """Writes everyone's files, and what Keras generates.

    CTranslate2's are missing where it is not installed; its contestants then say so.
    """
    import onnx

    import tfseq
    from benchmarks.peers import ctranslate2_transformer, two_files
    from tfseq.decoding import generate
    from tfseq.exporting.quantization.weight_quantization import to_int8

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
        tfseq.export(model, path, decode=strategy(width), verify=False)  # its tokens are compared here
        graph = onnx.load(path)
        to_int8(graph)
        onnx.save(graph, folder / f"width_{width}.int8.onnx")
    two_files.write(model, folder)
    with contextlib.suppress(ImportError):
        ctranslate2_transformer.write(model, folder / "ctranslate2")


def strategy(width: int):
    import tfseq

    return tfseq.Greedy() if width == 1 else tfseq.Beam(width=width)


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
    for way in WAYS:
        everyone[f"two files, {way}"] = ["benchmarks.peers.two_files", str(folder), way]
    return everyone


def compare(results: Results, precision: str) -> str:
    """Markdown: ours beside CTranslate2 on as many threads, and in the setting that is best for the case."""
    rows = [
        f"| {precision} | tfseq, tokens/s | CTranslate2, 2 threads | ratio, round by round "
        f"| CTranslate2 at its best | ratio, round by round (goal: {GOALS[precision]}) |",
        "|---|---|---|---|---|---|",
    ]
    ours = results[f"tfseq {precision}"]
    peers = {setting: results[f"CTranslate2 {precision}, {setting}"] for setting in CTRANSLATE2}
    same = peers["2 threads"]
    for case in cases():
        medians = {setting: statistics.median(found) for setting in peers if (found := values(peers[setting], case))}
        best = max(medians, key=medians.__getitem__, default="2 threads")
        at_best = f"{medians[best]:,.0f} ({best})" if medians else ""
        rows.append(
            f"| {case} | {_median(ours, case)} | {_median(same, case)} | {_ratios(ours, same, case)} "
            f"| {at_best} | {_ratios(ours, peers[best], case)} |"
        )
    return "\n".join([*rows, *failed_lines({name: runs for name, runs in results.items() if precision in name})])


def compare_two_files(results: Results) -> str:
    """Markdown: ours beside the loop in Python, with NumPy arrays and with bound values."""
    rows = [
        f"| float32 | tfseq, tokens/s | two files, NumPy | ratio, round by round (goal: {GOALS['two files']}) "
        "| two files, bound | ratio, round by round |",
        "|---|---|---|---|---|---|",
    ]
    ours, peers = results["tfseq float32"], {f"two files, {way}": results[f"two files, {way}"] for way in WAYS}
    for case in cases((1,)):
        cells = [_median(ours, case)]
        for runs in peers.values():
            cells += [_median(runs, case), _ratios(ours, runs, case)]
        rows.append(f"| {case} | {' | '.join(cells)} |")
    return "\n".join([*rows, *failed_lines(peers)])


def _median(runs: Sequence[Run], case: str) -> str:
    found = values(runs, case)
    return f"{statistics.median(found):,.0f}" if found else ""


def _ratios(ours: Sequence[Run], peer: Sequence[Run], case: str) -> str:
    found = ratios(ours, peer, case)
    return f"**{statistics.median(found):.2f}** ({', '.join(f'{ratio:.2f}' for ratio in found)})" if found else ""


def tune(folder: Path, rounds: int) -> str:
    """Markdown: CTranslate2 under settings of its environment, tokens per second."""
    commands = {
        f"{precision}, {name}": [
            "benchmarks.peers.ctranslate2_transformer",
            *(str(folder), precision, str(THREADS), "1", *environment),
        ]
        for precision in PRECISIONS
        for name, environment in ENVIRONMENTS.items()
    }
    results = take_turns(commands, rounds)
    require_any(results)
    rows = [f"| 2 threads | {' | '.join(cases())} |", "|---|" + "---|" * len(cases())]
    for name, runs in results.items():
        rows.append(f"| {name} | {' | '.join(_median(runs, case) for case in cases())} |")
    return "\n".join([*rows, *failed_lines(results)])


def agreement(folder: Path) -> str:
    """Markdown: how many sequences, and tokens, are Keras'."""
    expected = np.load(folder / "keras.npz")
    rows = [f"| the same as Keras' | {' | '.join(cases())} |", "|---|" + "---|" * len(cases())]
    for file in sorted(folder.glob("*.npz")):
        if file.stem == "keras":
            continue
        tokens = np.load(file)
        cells = []
        for case in cases():
            if case not in tokens:
                cells.append("")
                continue
            same = tokens[case] == expected[case]
            cells.append(f"{same.all(1).sum()} of {len(same)} sequences, {same.mean():.1%} of tokens")
        rows.append(f"| {file.stem.replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns of everyone (%(default)s)")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES), help="of the Transformer")
    parser.add_argument("--quick", action="store_true", help="the small size, one round, 10 tokens")
    parser.add_argument("--tune", action="store_true", help="only CTranslate2, in several environments")
    parser.add_argument("--run", nargs=2, metavar=("FOLDER", "PRECISION"), help="ours alone, in this process")
    arguments = parser.parse_args()
    if arguments.run:
        run_ours(Path(arguments.run[0]), arguments.run[1])
        return
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
            require_any(results)
            for precision in PRECISIONS:
                print("", compare(results, precision), sep="\n")
            print("", compare_two_files(results), "", agreement(folder), sep="\n", flush=True)


if __name__ == "__main__":
    main()
