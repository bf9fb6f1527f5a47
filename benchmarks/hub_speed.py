"""Tokens per second of GPT-2: one file of ours, KerasHub's `generate` on TensorFlow and JAX, and CTranslate2.

    pip install -e ".[train-cpu,hub,bench]"
    python -m benchmarks.hub_speed             # GPT-2's size, three rounds: half an hour
    python -m benchmarks.hub_speed --quick     # a small one, one round

All have the same random weights and prompts, and continue them greedily on two threads. A speed counts everything from
the prompt to the last of 64 new tokens. The first token of a long prompt is also compared with a parallel forward pass,
the logits at every position, by the same runtime.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.harness.gpt2_task import FIRST, SIZES, THREADS, GPT2Task, gpt2, random_weights
from benchmarks.harness.machine import machine
from benchmarks.harness.rounds import Results, failed_lines, ratios, require_any, take_turns, values

OURS = ("float32", "int8")
FORWARD = "parallel forward pass of 512"
PEERS = {
    "KerasHub, TensorFlow": ["keras_hub_gpt2", "--backend", "tensorflow"],
    "KerasHub, TensorFlow, no XLA": ["keras_hub_gpt2", "--backend", "tensorflow", "--no-jit"],
    "KerasHub, JAX": ["keras_hub_gpt2", "--backend", "jax"],
    "CTranslate2 float32": ["ctranslate2_gpt2", "float32"],
    "CTranslate2 int8": ["ctranslate2_gpt2", "int8"],
}


def prepare(task: GPT2Task, folder: Path) -> None:
    import keras
    import onnx

    import tfseq
    from benchmarks.peers import ctranslate2_gpt2
    from tfseq.exporting.quantization.weight_quantization import to_int8

    model = gpt2(task.size)
    random_weights(model)
    task.write(folder)
    model.save_weights(folder / "gpt2.weights.h5")
    tfseq.export(model, folder / "forward.onnx", verify=False)
    tfseq.export(model, folder / "float32.onnx", decode=tfseq.Greedy(), verify=False)  # tokens are compared here
    graph = onnx.load(folder / "float32.onnx")
    to_int8(graph)
    onnx.save(graph, folder / "int8.onnx")
    try:
        ctranslate2_gpt2.write(model, folder / "ctranslate2")
    except ImportError:
        print("CTranslate2 is not installed; its rows will say so.", file=sys.stderr)
    keras.backend.clear_session()


def run_ours(folder: Path, precision: str) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1

    def opened(name: str) -> onnxruntime.InferenceSession:
        return onnxruntime.InferenceSession(folder / f"{name}.onnx", options, providers=["CPUExecutionProvider"])

    task, session = GPT2Task.read(folder), opened(precision)

    def generate(prompts, new):
        lengths = np.full(len(prompts), prompts.shape[1], np.int32)
        limits = {name: np.array(new, np.int32) for name in ("min_length", "max_length")}
        taken = {value.name for value in session.get_inputs()}
        feeds = {"prompt": prompts, "prompt_length": lengths} | limits
        return session.run(["tokens"], {name: feeds[name] for name in taken & feeds.keys()})[0]

    task.measure(generate, folder / f"tfseq_{precision}.npz")


def run_forward(folder: Path) -> None:
    """As a speed of one token."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    session = onnxruntime.InferenceSession(folder / "forward.onnx", options, providers=["CPUExecutionProvider"])
    task = GPT2Task.read(folder)
    tokens = task.prompts(1, 512)
    feeds = {"token_ids": tokens, "padding_mask": np.ones_like(tokens)}
    times = []
    for _ in range(task.runs + 1):
        start = time.perf_counter()
        session.run(None, feeds)
        times.append(time.perf_counter() - start)
    print(json.dumps({FIRST: 1 / statistics.median(times[1:])}))


def contestants(folder: Path) -> dict[str, list[str]]:
    everyone = {f"tfseq {precision}": ["benchmarks.hub_speed", "--run", str(folder), precision] for precision in OURS}
    everyone[FORWARD] = ["benchmarks.hub_speed", "--run", str(folder), "forward"]
    return everyone | {
        name: [f"benchmarks.peers.{module}", str(folder), *arguments] for name, (module, *arguments) in PEERS.items()
    }


def speeds(task: GPT2Task, results: Results) -> str:
    """Markdown: medians, and the ratios of both our files to each peer, round by round."""
    lines = [f"| tokens/s | {' | '.join(task.cases)} |", "|---" * (len(task.cases) + 1) + "|"]

    def median(name: str, case: str) -> str:
        found = values(results[name], case)
        return f"{statistics.median(found):,.1f}" if found else ""

    for name in results:
        if name != FORWARD:
            lines.append(f"| {name} | {' | '.join(median(name, case) for case in task.cases)} |")
    for precision in OURS:
        ours = results[f"tfseq {precision}"]
        for peer in (*PEERS, FORWARD):
            cells = [_ratio(ratios(ours, results[peer], case)) for case in task.cases]
            if any(cells):
                lines.append(f"| tfseq {precision} / {peer} | {' | '.join(cells)} |")
    return "\n".join([*lines, *failed_lines(results)])


def _ratio(found: list[float]) -> str:
    return f"**{statistics.median(found):.2f}** ({min(found):.2f} to {max(found):.2f})" if found else ""


def agreement(task: GPT2Task, folder: Path) -> str:
    """Markdown: how many tokens are those of our float32 file, up to the first of a row that differs."""
    ours = np.load(folder / "tfseq_float32.npz")
    lines = [f"| tokens equal to tfseq float32 | {' | '.join(task.cases)} |", "|---" * (len(task.cases) + 1) + "|"]
    for file in sorted(folder.glob("*.npz")):
        theirs = np.load(file)
        same = [np.logical_and.accumulate(theirs[case] == ours[case], axis=1).mean() for case in task.cases]
        lines.append(f"| {file.stem.replace('_', ' ')} | {' | '.join(f'{share:.0%}' for share in same)} |")
    varied = {case: len(np.unique(ours[case])) for case in task.cases}
    return "\n".join([*lines, "", f"Different tokens in what is written, by case: {varied}."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="turns of everyone (%(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="of each case in a turn, at least (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="a small model, one round, one run of each case")
    parser.add_argument("--run", nargs=2, metavar=("FOLDER", "WHAT"), help="ours alone, in this process")
    arguments = parser.parse_args()
    if arguments.run:
        folder, what = Path(arguments.run[0]), arguments.run[1]
        run_forward(folder) if what == "forward" else run_ours(folder, what)
        return
    task = GPT2Task(SIZES["quick" if arguments.quick else "base"], 64, 1 if arguments.quick else arguments.runs)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(task, folder)
        results = take_turns(contestants(folder), 1 if arguments.quick else arguments.rounds)
        require_any(results)
        print(
            f"{machine()}; {THREADS} threads; {task.size}", speeds(task, results), agreement(task, folder), sep="\n\n"
        )


if __name__ == "__main__":
    main()
