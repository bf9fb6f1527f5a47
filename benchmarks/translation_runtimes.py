"""One translator in Keras, in ONNX Runtime, in Node and quantized to int8: BLEU, and how many translations are equal.

    pip install -e ".[train-cpu]"
    python -m pipelines.transformer full --data DIR
    (cd clients/js && npm ci --ignore-scripts)
    python -m benchmarks.translation_runtimes exported/transformer_multi30k --data DIR

The folder is one that a pipeline wrote. Where it has no model.int8.onnx, that is written there first, with an
accuracy check on the validation part. BLEU is sacrebleu's with its tokenizer 13a.
"""

import argparse
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import tfseq
from benchmarks.harness.failures import Failure, attempt
from benchmarks.harness.machine import machine
from benchmarks.harness.rounds import Run, require_any
from benchmarks.translation import translations
from tfseq import runtime
from tfseq.analysis.bleu import bleu
from tfseq.data import DataSet, parallel_texts
from tfseq.errors import InputError
from tfseq.terminal import one_line_errors

NODE = Path(__file__).parents[1] / "clients" / "js"
JUDGED_ON = 200  # sentences of the accuracy check that accepts or refuses int8


def in_keras(folder: Path, texts: list[str]) -> list[str]:
    """What model.keras makes of the texts, with the tokenizer and the decoding strategy of model.onnx."""
    import keras

    from pipelines.parts.translation import translations as translations_in_keras
    from tfseq.exporting.generation.loop_graph import strategy_of

    file = runtime.load(folder / "model.onnx")
    if file.tokenizer is None:
        raise InputError(f"{folder / 'model.onnx'} has no tokenizer; expected the folder of a translator.")
    model, decode = keras.models.load_model(folder / "model.keras"), strategy_of(file.manifest.decoding or {})
    return translations_in_keras(model, texts, file.tokenizer, decode)


def in_node(file: Path, texts: list[str]) -> list[str]:
    """What clients/js makes of the texts.

    Raises:
        InputError: Node is missing, or fails.
    """
    command = ["node", str(NODE / "examples" / "lines.mjs"), str(file.resolve())]
    try:
        done = subprocess.run(command, input="\n".join(texts), capture_output=True, encoding="utf-8", cwd=NODE)
    except FileNotFoundError:
        raise InputError("Node is not installed; expected 20 or later, with `npm ci` run in clients/js.") from None
    if done.returncode:
        raise InputError(f"Node failed; is clients/js installed (npm ci)? It said: {done.stderr.strip()[-300:]}")
    return done.stdout.removesuffix("\n").split("\n")


def in_int8(folder: Path, data: DataSet) -> runtime.Model:
    smaller = folder / "model.int8.onnx"
    if not smaller.is_file():
        pairs = list(zip(data.validation.inputs, data.validation.targets))[:JUDGED_ON]
        tfseq.quantize(folder / "model.onnx", smaller, samples=pairs)
    return runtime.load(smaller)


def measure(folder: Path, data: DataSet, part: str) -> None:
    texts, right = (list(side) for side in (getattr(data, part).inputs, getattr(data, part).targets))
    file = folder / "model.onnx"
    ways: dict[str, Callable[[], list[str]]] = {
        "Keras": lambda: in_keras(folder, texts),
        "ONNX Runtime": lambda: translations(runtime.load(file), texts),
        "Node": lambda: in_node(file, texts),
        "int8, ONNX Runtime": lambda: translations(in_int8(folder, data), texts),
    }
    failed: dict[str, list[Run]] = {}
    print(machine(), end="\n\n")
    print("| runs in | BLEU | cased | same as in Keras | seconds |\n|---|---|---|---|---|")
    of_keras: list[str] | None = None
    for name, run in ways.items():
        began = time.perf_counter()
        written = attempt(run)
        seconds = time.perf_counter() - began
        if isinstance(written, Failure):
            failed[name] = [written]
            print(f"| {name} | could not run: {written.reason} | | | |", flush=True)
            continue
        of_keras = written if name == "Keras" else of_keras
        same = f"{sum(a == b for a, b in zip(written, of_keras)):,} of {len(texts):,}" if of_keras else ""
        scores = f"{bleu(written, right):.2f} | {bleu(written, right, lowercase=False):.2f}"
        print(f"| {name} | {scores} | {same} | {seconds:.0f} |", flush=True)
    if failed.keys() == ways.keys():
        require_any(failed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with model.keras and model.onnx")
    parser.add_argument("--data", required=True, type=Path, help="directory of parallel texts")
    parser.add_argument("--source", default="en")
    parser.add_argument("--target", default="fr")
    parser.add_argument("--part", choices=("validation", "test"), default="test")
    arguments = parser.parse_args()
    with one_line_errors("translation_runtimes"):
        data = parallel_texts(arguments.data, arguments.source, arguments.target)
        measure(arguments.folder, data, arguments.part)


if __name__ == "__main__":
    main()
