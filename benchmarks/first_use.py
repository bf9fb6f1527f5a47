"""What a user waits for: an export, `import tfseq`, and the first prediction of a file. Each in a process of its own.

    python -m benchmarks.first_use transformer | import | load FILE

prints one JSON object; `benchmarks.export` runs them in turn.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

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
    """Seconds from `import tfseq` on, and the process' highest memory."""
    start = time.perf_counter()
    from tfseq import runtime

    runtime.load(path).predict([[1, 2, 3, 4]])
    return {"seconds": time.perf_counter() - start, "megabytes": peak_megabytes()}


def peak_megabytes() -> float:
    """Of this process alone; `getrusage` would count its parent's memory, in which it began."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024


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
    from benchmarks.harness.rounds import take_turns

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

    def row(what: str, name: str, measure: str, unit: str) -> str:
        values = [run[measure] for run in results[name]]
        return f"| {what} | {statistics.median(values):.3g} {unit} | {min(values):.3g} to {max(values):.3g} |"

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
            row("memory of that process at its highest", "load", "megabytes", "MB"),
        ]
    )


MEASURES: dict[str, Callable[..., dict[str, float]]] = {
    "transformer": export_transformer,
    "import": import_tfseq,
    "load": load_and_predict,
}


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    print(json.dumps(MEASURES[name](*arguments)))
