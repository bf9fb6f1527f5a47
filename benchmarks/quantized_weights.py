"""What weights of fewer bits save: size of the file, memory and time of ONNX Runtime, inside and outside of a loop.

    pip install -e ".[train-cpu]"
    python -m benchmarks.quantized_weights

A graph multiplies as a language model does: a prompt of many rows at once, and then in a loop one row, step by step, by
the same matrices of random weights. They are quantized in each way that `tfseq.quantize` has. Every file runs in a
process of its own; memory is the peak of what opening and running it adds.
"""

import argparse
import functools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.harness.machine import machine
from benchmarks.harness.process_memory import peak_megabytes
from benchmarks.harness.rounds import Results, failed_lines, ratios, require_any, take_turns, values

UNITS, LAYERS = 2048, 8
PROMPT, STEPS = 32, 16
THREADS = 2
RUNS = 5
WAYS = ("float32", "float16", "int8", "int8 in blocks", "int4", "int4 with contrib")


def write(folder: Path) -> None:
    from tfseq.exporting.quantization.block_quantization import to_blocks
    from tfseq.exporting.quantization.weight_quantization import to_float16, to_int8
    from tfseq.exporting.writing.hollow_graph import read_hollow
    from tfseq.exporting.writing.onnx_file import OnnxFile

    changes: dict[str, Callable] = {
        "float32": lambda model, weights: None,
        "float16": to_float16,
        "int8": lambda model, weights: to_int8(model, values=weights),
        "int8 in blocks": lambda model, weights: to_blocks(model, "int8", 32, values=weights),
        "int4": lambda model, weights: to_blocks(model, "int4", 32, values=weights),
        "int4 with contrib": lambda model, weights: to_blocks(model, "int4", 32, contrib=True, values=weights),
    }
    _write_float32(folder / "random.onnx")
    for way in WAYS:
        model, weights = read_hollow(folder / "random.onnx", None)
        changes[way](model, weights)
        OnnxFile(folder / f"{way}.onnx", weights, external=False).write(model)


def _write_float32(path: Path) -> None:
    """prompt (rows, units) and steps () to the prompt behind all layers, and its last row behind them `steps` times."""
    from onnx import TensorProto, helper, numpy_helper

    from tfseq.exporting.rewriting.weights import Weights
    from tfseq.exporting.writing.onnx_file import OnnxFile

    weights = Weights()

    def matrix(seed: int) -> np.ndarray:
        return np.random.default_rng(seed).standard_normal((UNITS, UNITS), "float32") / np.float32(UNITS**0.5)

    def layers(name: str) -> list:
        nodes = []
        for i in range(LAYERS):
            nodes.append(helper.make_node("MatMul", [f"{name}/{i}", f"w{i}"], [f"{name}/{i}/product"]))
            nodes.append(helper.make_node("Tanh", [f"{name}/{i}/product"], [f"{name}/{i + 1}"]))
        return nodes

    def info(name: str, kind: int, shape: list) -> object:
        return helper.make_tensor_value_info(name, kind, shape)

    row = ["one", UNITS]
    body = helper.make_graph(
        [*layers("step"), helper.make_node("Identity", ["go"], ["still"])],
        "body",
        [info("i", TensorProto.INT64, []), info("go", TensorProto.BOOL, []), info("step/0", TensorProto.FLOAT, row)],
        [info("still", TensorProto.BOOL, []), info(f"step/{LAYERS}", TensorProto.FLOAT, row)],
    )
    nodes = [
        *layers("prompt"),
        helper.make_node("Slice", [f"prompt/{LAYERS}", "last", "end", "axis"], ["last_row"]),
        helper.make_node("Loop", ["steps", "yes", "last_row"], ["generated"], body=body),
    ]
    constants = {"last": [-1], "end": [2**31], "axis": [0], "yes": True}
    small = [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()]
    large = [
        weights.hollow(f"w{i}", np.dtype("float32"), (UNITS, UNITS), functools.partial(matrix, i))
        for i in range(LAYERS)
    ]
    inputs = [info("prompt/0", TensorProto.FLOAT, ["rows", UNITS]), info("steps", TensorProto.INT64, [])]
    outputs = [info(name, TensorProto.FLOAT, ["some", UNITS]) for name in (f"prompt/{LAYERS}", "generated")]
    graph = helper.make_graph(nodes, "layers", inputs, outputs, [*small, *large])
    OnnxFile(path, weights, external=False).write(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    )


def measure(path: Path) -> dict[str, float]:
    """Megabytes of the file and of memory, milliseconds of the prompt and of a step."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    before = peak_megabytes()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    prompt = np.random.default_rng(0).standard_normal((PROMPT, UNITS), "float32")

    def typical(steps: int) -> float:
        times = []
        for _ in range(RUNS + 1):
            start = time.perf_counter()
            session.run(None, {"prompt/0": prompt, "steps": np.array(steps)})
            times.append(time.perf_counter() - start)
        return 1e3 * statistics.median(times[1:])

    reading, all_ = typical(0), typical(STEPS)
    return {
        "file": path.stat().st_size / 1e6,
        "memory": peak_megabytes() - before,
        "prompt": reading,
        "step": (all_ - reading) / STEPS,
    }


def table(results: Results) -> str:
    """Markdown: medians, and of times the median of their ratios to float32, taken round by round."""
    rows = ["| | file, MB | memory, MB | prompt, ms | times as fast | step, ms | times as fast |", "|---|" + "---|" * 6]
    for name, runs in results.items():
        cells = [f"{statistics.median(values(runs, of)):.0f}" for of in ("file", "memory") if values(runs, of)]
        for of in ("prompt", "step"):
            if measured := values(runs, of):
                faster = ratios(results["float32"], runs, of)
                spread = f"{statistics.median(faster):.2f} ({min(faster):.2f} to {max(faster):.2f})" if faster else ""
                cells += [f"{statistics.median(measured):.1f}", spread]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*rows, *failed_lines(results)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns of everyone (%(default)s)")
    parser.add_argument("--run", metavar="FILE", help="one file, in this process")
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps(measure(Path(arguments.run))))
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        commands = {way: ["benchmarks.quantized_weights", "--run", f"{folder}/{way}.onnx"] for way in WAYS}
        results = take_turns(commands, arguments.rounds)
    require_any(results)
    about = f"{LAYERS} matrices of {UNITS} x {UNITS}; a prompt of {PROMPT} rows, {STEPS} steps of one"
    print(f"{machine()}; {THREADS} threads; {about}", "", table(results), sep="\n")


if __name__ == "__main__":
    main()
