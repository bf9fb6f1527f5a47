"""Models of real size: seconds, memory and file size of an export, beside stock Keras' forward export; then in int4.

    pip install -e ".[train-cpu]"
    python -m benchmarks.real_size                              # five rounds
    python -m benchmarks.real_size --sizes billion --hows loop forward int4 --rounds 1   # 4.3 GB of weights; 17 GB
    python -m benchmarks.real_size gpt2 loop                    # one of them, in this process, as JSON

Weights are random. An export is timed without making the model; tfseq's includes its check, Keras' has none. Memory is
the peak of the process while it exports, with Python, TensorFlow and the model's own weights in it. `int4` loads an
exported loop, generates, quantizes it, which is what is timed and weighed, and generates again.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

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
HOWS = ("loop", "forward", "keras", "int4")
TOKENS = 4  # that a file generates, for the size of the files alone


def language_model(size: str):
    import tfseq.models

    vocabulary, width, heads, depth = SIZES[size]
    model = tfseq.models.TransformerLanguageModel(vocabulary, width, heads=heads, depth=depth, max_positions=1024)
    model.build()
    return model


def export(size: str, how: str) -> dict[str, float]:
    """Seconds, and megabytes: of the weights, of the files, of the process before and at its peak."""
    import keras

    import tfseq

    model = language_model(size)
    weights = 4 * sum(int(weight.value.shape.num_elements()) for weight in model.weights)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        if how == "keras":
            model(np.zeros((1, 8), "int32"))  # it exports only what has been called
        elif how == "int4":
            tfseq.export(model, path, decode=tfseq.Greedy(), verify=False)
            del model
            generate(path)
        before = forget_peak()
        start = time.perf_counter()
        if how == "keras":
            tokens = keras.InputSpec(shape=(None, None), dtype="int32")
            model.export(path, format="onnx", verbose=False, input_signature=[tokens])
        elif how == "int4":
            tfseq.quantize(path, Path(folder) / "int4.onnx", to="int4")
        else:
            tfseq.export(model, path, decode=tfseq.Greedy() if how == "loop" else None)
        seconds = time.perf_counter() - start
        made = "int4.onnx*" if how == "int4" else "*"
        files = sum(file.stat().st_size for file in Path(folder).glob(made))
        peak = peak_megabytes()
        if how == "int4":
            generate(Path(folder) / "int4.onnx")
    return {
        "seconds": seconds,
        "weights": weights / 2**20,
        "files": files / 2**20,
        "before": before,
        "peak": peak,
    }


def generate(path: Path) -> None:
    """A few tokens, in a session that is closed again."""
    import tfseq.runtime

    prompt, length = np.array([[1, 2, 3]], "int32"), np.array([3], "int32")
    written = tfseq.runtime.load(path).run({"prompt": prompt, "prompt_length": length, "max_length": TOKENS})
    assert written["tokens"].shape == (1, TOKENS), written["tokens"].shape


def exports(sizes: Sequence[str], hows: Sequence[str], rounds: int) -> str:
    """Every size and way in turn, as Markdown."""
    names = {f"{size}: {how}": ["benchmarks.real_size", size, how] for size in sizes for how in hows}
    results = take_turns(names, rounds)
    require_any(results)
    rows = [
        "| | weights, MB | s | min to max | peak, MB | of the weights | above before, of the weights | files, MB |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(name, results) for name in results),
    ]
    grown = {"quarter: loop", "gpt2: loop"} <= set(results) and ratios(
        results["gpt2: loop"], results["quarter: loop"], "seconds"
    )
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("alone", nargs="*", metavar="SIZE HOW", help=f"one, in this process; HOW: {', '.join(HOWS)}")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES)[:3], help="(%(default)s)")
    parser.add_argument("--hows", nargs="+", choices=HOWS, default=HOWS, help="all of these if not given")
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    arguments = parser.parse_args()
    if not arguments.alone:
        print(exports(arguments.sizes, arguments.hows, arguments.rounds))
    elif len(arguments.alone) == 2 and arguments.alone[0] in SIZES and arguments.alone[1] in HOWS:
        print(json.dumps(export(*arguments.alone)))
    else:
        parser.error(f"expected one of {', '.join(SIZES)} and one of {', '.join(HOWS)}")


if __name__ == "__main__":
    main()
