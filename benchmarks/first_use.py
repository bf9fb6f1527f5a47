"""Seconds that a user waits: an export, `import tfseq`, and the first prediction of a file, each in its own process.

    pip install -e ".[train-cpu]"
    python -m benchmarks.first_use                                    # prints the table that benchmarks.export has, too
    python -m benchmarks.first_use transformer | import | load FILE   # one of them, in this process, as JSON

Exporting includes the parity check; importing and loading start from a fresh process.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness.process_memory import peak_megabytes

DEPTH, WIDTH, HEADS, VOCABULARY = 6, 512, 8, 8000


def export_transformer() -> dict[str, float]:
    """Seconds to export, parity included, a decoder of 6 layers, width 512."""
    import tfseq

    model = transformer()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        tfseq.export(model, Path(folder) / "model.onnx")
        return {"seconds": time.perf_counter() - start}


def import_tfseq() -> dict[str, float]:
    start = time.perf_counter()
    import tfseq  # noqa: F401

    return {"seconds": time.perf_counter() - start}


def load_and_predict(path: str) -> dict[str, float]:
    """Seconds from `import tfseq` on, and the process' peak memory."""
    start = time.perf_counter()
    from tfseq import runtime

    runtime.load(path).predict([[1, 2, 3, 4]])
    return {"seconds": time.perf_counter() - start, "megabytes": peak_megabytes()}


def transformer():
    import keras
    from keras import layers

    from benchmarks.harness.sequence_layers import Positions

    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = layers.Embedding(VOCABULARY, WIDTH)(tokens)
    x = Positions(512, WIDTH)(x)
    for _ in range(DEPTH):
        y = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(HEADS, WIDTH // HEADS)(y, y, use_causal_mask=True)
        y = layers.Dense(4 * WIDTH, activation="gelu")(layers.LayerNormalization()(x))
        x = x + layers.Dense(WIDTH)(y)
    return keras.Model(tokens, layers.Dense(VOCABULARY, name="logits")(layers.LayerNormalization()(x)))


def write_small_model(path: Path) -> None:
    """An LSTM language model of 5 MB."""
    import keras
    from keras import layers

    import tfseq

    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = layers.LSTM(320, return_sequences=True)(layers.Embedding(1000, 320)(tokens))
    tfseq.export(keras.Model(tokens, layers.Dense(500, name="logits")(x)), path)


def durations(rounds: int) -> str:
    """The three in turn, as Markdown."""
    from benchmarks.harness.rounds import failed_lines, require_any, take_turns, values

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "small.onnx"
        write_small_model(file)
        size = file.stat().st_size / 1e6
        results = take_turns(
            {
                "transformer": ["benchmarks.first_use", "transformer"],
                "import": ["benchmarks.first_use", "import"],
                "load": ["benchmarks.first_use", "load", str(file)],
            },
            rounds,
        )
    require_any(results)

    def row(what: str, name: str, measure: str, unit: str) -> str:
        found = values(results[name], measure)
        if not found:
            return f"| {what} | | |"
        return f"| {what} | {statistics.median(found):.3g} {unit} | {min(found):.3g} to {max(found):.3g} |"

    first = f"`runtime.load` and first prediction, {size:.1f} MB, imports included"
    return "\n".join(
        [
            "| | median | min to max |",
            "|---|---|---|",
            row(
                f"export, parity included, of a Transformer of {DEPTH} layers, width {WIDTH}",
                "transformer",
                "seconds",
                "s",
            ),
            row("`import tfseq`", "import", "seconds", "s"),
            row(first, "load", "seconds", "s"),
            row("peak memory of that process", "load", "megabytes", "MB"),
            *failed_lines(results),
        ]
    )


MEASURES: dict[str, Callable[..., dict[str, float]]] = {
    "transformer": export_transformer,
    "import": import_tfseq,
    "load": load_and_predict,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=MEASURES, help="one of them, in this process")
    parser.add_argument("file", nargs="?", help="an exported file of tokens, for load")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (%(default)s)")
    arguments = parser.parse_args()
    if (arguments.what == "load") != (arguments.file is not None):
        parser.error("load wants a FILE, and nothing else does")
    if arguments.what:
        print(json.dumps(MEASURES[arguments.what](*([arguments.file] if arguments.file else []))))
        return
    from benchmarks.harness.machine import machine

    print(machine(), "", durations(arguments.rounds), sep="\n")


if __name__ == "__main__":
    main()
