"""Models of real size: what an export takes, and the first token after a long prompt, beside stock Keras' export.

    pip install -e ".[train-cpu]"
    python -m benchmarks.real_size                              # exports and prompts, five rounds
    python -m benchmarks.real_size --parts exports --sizes small gpt2
    python -m benchmarks.real_size --sizes billion --rounds 1   # 4.3 GB of weights; takes 24 GB of memory
    python -m benchmarks.real_size export gpt2 loop             # one of them, in this process, as JSON

Weights are random. An export is timed without making the model; tfseq's includes its check, Keras' has none. Memory is
the peak of the process while it exports, with Python, TensorFlow and the model's own weights in it.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.harness.machine import machine
from benchmarks.harness.process_memory import forget_peak, peak_megabytes
from benchmarks.harness.rounds import Results, failed_lines, ratios, require_any, take_turns, values

# Decoder-only Transformers: vocabulary, width, heads, layers. `quarter` is GPT-2's architecture at a quarter of its
# parameters, and `small` the size that tfseq was made for.
SIZES = {
    "small": (11_500, 512, 8, 4),
    "quarter": (25_128, 384, 12, 12),
    "gpt2": (50_257, 768, 12, 12),
    "billion": (32_000, 2048, 16, 20),
}
HOWS = ("loop", "forward", "keras")
PROMPT = 512
PROMPTED = ("gpt2", "lstm")
LSTM = (10_000, 1024, 2)  # vocabulary, width, layers
PARTS = ("exports", "prompts")


def language_model(size: str):
    import tfseq.models

    if size == "lstm":
        vocabulary, width, depth = LSTM
        model = tfseq.models.RecurrentLanguageModel(vocabulary, width, cell="lstm", depth=depth)
    else:
        vocabulary, width, heads, depth = SIZES[size]
        model = tfseq.models.TransformerLanguageModel(vocabulary, width, heads=heads, depth=depth, max_positions=1024)
    model.build()
    return model


def export(size: str, how: str) -> dict[str, float]:
    """Seconds, and megabytes: of the weights, of the files, of the process before and at its peak."""
    import tfseq

    model = language_model(size)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        before = forget_peak()
        start = time.perf_counter()
        if how == "keras":
            model.export(path, format="onnx", verbose=False)
        else:
            tfseq.export(model, path, decode=tfseq.Greedy() if how == "loop" else None)
        seconds = time.perf_counter() - start
        files = sum(file.stat().st_size for file in Path(folder).iterdir())
    weights = 4 * sum(int(weight.value.shape.num_elements()) for weight in model.weights)
    return {
        "seconds": seconds,
        "weights": weights / 2**20,
        "files": files / 2**20,
        "before": before,
        "peak": peak_megabytes(),
    }


def first_token(size: str) -> dict[str, float]:
    """Milliseconds to the first token after a prompt, and of the forward file over the same tokens, in turn."""
    import numpy as np

    import tfseq

    model = language_model(size)
    tokens = np.random.default_rng(0).integers(0, model.vocabulary_size, (1, PROMPT)).astype("int32")
    with tempfile.TemporaryDirectory() as folder:
        tfseq.export(model, Path(folder) / "loop.onnx", decode=tfseq.Greedy(), verify=False)
        tfseq.export(model, Path(folder) / "forward.onnx", verify=False)
        del model
        loop, forward = (tfseq.runtime.load(Path(folder) / f"{name}.onnx") for name in ("loop", "forward"))
        runs: dict[str, Callable] = {
            "first token": lambda: loop.generate(tokens, max_length=1),
            "forward": lambda: forward.predict(tokens),
        }
        times: dict[str, list[float]] = {name: [] for name in runs}
        for turn in range(6):
            for name, run in runs.items():
                start = time.perf_counter()
                run()
                times[name].append(1000 * (time.perf_counter() - start))
                if not turn:  # the first of each allocates
                    times[name].clear()
    return {name: statistics.median(found) for name, found in times.items()}


def exports(sizes: Sequence[str], rounds: int) -> str:
    """Every size and way in turn, as Markdown."""
    names = {f"{size}: {how}": ["benchmarks.real_size", "export", size, how] for size in sizes for how in HOWS}
    results = take_turns(names, rounds)
    require_any(results)
    rows = [
        "| | weights, MB | s | min to max | peak, MB | of the weights | above before, of the weights | files, MB |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(name, results) for name in results),
    ]
    grown = {"quarter", "gpt2"} <= set(sizes) and ratios(results["gpt2: loop"], results["quarter: loop"], "seconds")
    if grown:
        spread = f"{statistics.median(grown):.2f} ({min(grown):.2f} to {max(grown):.2f})"
        rows += ["", f"Four times the parameters in the same architecture take {spread} times as long."]
    return "\n".join([machine(), "", *rows, *failed_lines(results)])


def _row(name: str, results: Results) -> str:
    found = {measure: values(results[name], measure) for measure in ("seconds", "weights", "files", "before", "peak")}
    if not found["seconds"]:
        return f"| {name} | | could not run | | | | | |"
    seconds = found["seconds"]
    weights, files, before, peak = (statistics.median(found[m]) for m in ("weights", "files", "before", "peak"))
    return (
        f"| {name} | {weights:,.0f} | {statistics.median(seconds):.1f} | {min(seconds):.1f} to {max(seconds):.1f} | "
        f"{peak:,.0f} | {peak / weights:.2f} | {(peak - before) / weights:.2f} | {files:,.0f} |"
    )


def prompts(rounds: int) -> str:
    """First token beside forward pass, as Markdown."""
    results = take_turns({size: ["benchmarks.real_size", "prompt", size] for size in PROMPTED}, rounds)
    require_any(results)
    rows = [f"| {PROMPT} tokens | first token, ms | forward pass, ms | ratio | min to max |", "|---|---|---|---|---|"]
    for name, runs in results.items():
        if first := values(runs, "first token"):
            forward = values(runs, "forward")
            ratio = [a / b for a, b in zip(first, forward, strict=True)]
            spread = f"{statistics.median(ratio):.2f} | {min(ratio):.2f} to {max(ratio):.2f}"
            rows.append(f"| {name} | {statistics.median(first):,.0f} | {statistics.median(forward):,.0f} | {spread} |")
    return "\n".join([machine(), "", *rows, *failed_lines(results)])


ALONE: Mapping[str, Callable[..., dict[str, float]]] = {"export": export, "prompt": first_token}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("alone", nargs="*", metavar="export SIZE HOW | prompt SIZE", help="one, in this process")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="(all)")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES)[:3], help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    arguments = parser.parse_args()
    if arguments.alone:
        what, *rest = arguments.alone
        if what not in ALONE:
            parser.error(f"expected {' or '.join(ALONE)}, not {what}")
        print(json.dumps(ALONE[what](*rest)))
        return
    if "exports" in arguments.parts:
        print(exports(arguments.sizes, arguments.rounds), end="\n\n")
    if "prompts" in arguments.parts:
        print(prompts(arguments.rounds))


if __name__ == "__main__":
    main()
