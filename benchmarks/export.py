"""Keras' own `model.export(format="onnx")` beside `tfseq.export`, layer by layer; and how long it all takes.

    pip install -e ".[train-cpu]"
    python -m benchmarks.export                          # prints the tables
    python -m benchmarks.export --write docs/export.md   # and puts them between its markers
    python -m benchmarks.export --parts sizes            # only one of them: layers, sizes (recurrent ones), durations

Both files of a layer run in turn in one process, with the same session options, on 8 sequences of 64 steps (128 units).
"""

import argparse
import contextlib
import io
import logging
import os
import re
import statistics
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

THREADS = 2
SIZES = ((8, 64), (1, 64), (3, 17))  # batch and time; the first is timed
TOLERANCE = 1e-4
PARTS = ("layers", "sizes", "durations")
OPENINGS, LEAST_TURNS, BURST, SLOW = 8, 5, 5, 0.02  # of a file; of an opening; runs in a turn; one run if it is slow, s
LOOPS = ("Loop", "Scan")
TELLING = (  # the operators that a table names, the most telling first
    LOOPS,
    ("RNN", "GRU", "LSTM", "Attention", "DFT", "STFT", "LayerNormalization", "RMSNormalization", "GroupNormalization"),
    ("Gelu", "Mish", "HardSwish", "Softmax", "LogSoftmax", "PRelu", "BatchNormalization", "InstanceNormalization"),
    ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Resize"),
    ("Conv", "ConvTranspose", "Einsum"),
    ("MatMul", "Gemm"),
    ("Gather", "ReduceMean", "ReduceMax", "ReduceSum"),
)


@dataclass
class Outcome:
    """How one exporter did on one layer.

    Attributes:
        problem: why there is no file, or none that runs; empty if it does.
        error: worst difference from Keras over sizes, relative where Keras gives more than 1.
        operators: of the file, loop bodies included.
        milliseconds: median over turns, of the best opening.
    """

    problem: str = ""
    error: float = 0.0
    operators: Mapping[str, int] | None = None
    milliseconds: float = float("nan")

    @property
    def works(self) -> bool:
        return not self.problem and self.error <= TOLERANCE

    def cells(self) -> list[str]:
        if self.problem:
            return [self.problem, "", ""]
        wrong = "wrong shape" if np.isinf(self.error) else f"wrong: {self.error:.2g}"
        error = f"{self.error:.0e}" if self.works else f"**{wrong}**"
        return [error, _operators(self.operators or {}), f"{self.milliseconds:.3f}" if self.works else ""]


@dataclass
class Contestant:
    """A file, what to run it on, and how it does."""

    outcome: Outcome
    file: bytes | None
    arrays: list[np.ndarray]


def compare(build: Callable, seconds: float) -> tuple[Outcome, Outcome]:
    """Exports a model both ways and runs the files in turn; Keras' outcome, and ours."""
    stock, ours = exported(build, SIZES)
    take_turns([stock, ours], seconds)
    return stock.outcome, ours.outcome


def exported(build: Callable, sizes: Sequence[tuple[int, int]]) -> tuple[Contestant, Contestant]:
    """Keras' file of a model and ours, checked at some sizes (batch and time), to be run at the first."""
    import keras

    keras.utils.set_random_seed(0)
    with _silence():
        model = build()
    random = np.random.default_rng(0)
    for weight in model.weights:
        if keras.backend.is_float_dtype(weight.dtype) and not np.std(weight):  # zeros and ones would hide mistakes
            weight.assign(weight + np.abs(random.normal(scale=0.05, size=weight.shape)))
    cases = [_draw(model, random, *size) for size in sizes]
    expected = [_run_keras(model, case) for case in cases]
    with tempfile.TemporaryDirectory() as folder:
        stock = _attempt(_export_stock, model, Path(folder) / "stock.onnx", cases, expected)
        ours = _attempt(_export_ours, model, Path(folder) / "ours.onnx", cases, expected)
    return stock, ours


def _export_stock(model, path):
    model.export(str(path), format="onnx", verbose=False)


def _export_ours(model, path):
    import tfseq

    tfseq.export(model, path, verify=False)  # the error here is measured independently


def _attempt(export, model, path, cases, expected):
    import onnx

    outcome = Outcome()
    try:
        with _silence():
            export(model, path)
            outcome.operators = _count(onnx.load(path).graph)
            file = path.read_bytes()
            session = _session(file)
            for case, arrays in zip(cases, expected):
                outcome.error = max(outcome.error, _difference(session(case), arrays))
    except Exception as error:
        outcome.problem = _reason(error)
        return Contestant(outcome, None, cases[0])
    return Contestant(outcome, file, cases[0])


def _session(file: bytes | None):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    options.add_session_config_entry("session.force_spinning_stop", "1")  # or idle threads would slow the other file
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    return lambda arrays: session.run(None, dict(zip(names, arrays)))


def take_turns(contestants: Sequence[Contestant], seconds: float) -> None:
    """Runs the files that work in turn, and notes their milliseconds.

    They are opened anew several times, in either order, since a session keeps its luck with memory and cores.
    """
    running = [contestant for contestant in contestants if contestant.file]
    medians: dict[int, list[float]] = {id(contestant): [] for contestant in running}
    for _ in range(OPENINGS if running else 0):
        running.reverse()
        runs = [partial(_session(contestant.file), contestant.arrays) for contestant in running]
        slow = any(_best(run, 2) > SLOW for run in runs)
        times: list[list[float]] = [[] for _ in runs]
        end = time.perf_counter() + seconds * len(runs) / OPENINGS
        while time.perf_counter() < end or len(times[0]) < LEAST_TURNS:
            for run, own in zip(runs, times):
                own.append(_best(run, 1 if slow else BURST))
        for contestant, own in zip(running, times):
            medians[id(contestant)].append(statistics.median(own))
    for contestant in running:
        contestant.outcome.milliseconds = min(medians[id(contestant)]) * 1e3


def _best(run: Callable[[], object], count: int) -> float:
    """Seconds of the quickest of some runs: others had to wait for a core that something else held."""
    times = []
    for _ in range(count):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def _draw(model, random, batch, length):
    """Right-padded tokens, normal floats whose last steps are zeros in some rows, masks with holes; one row is full."""
    arrays = []
    for spec in model.inputs:
        shape = tuple(batch if i == 0 else length if size is None else size for i, size in enumerate(spec.shape))
        if "int" in spec.dtype:
            array = random.integers(1, 1000, shape)
        elif spec.dtype == "bool":
            array = random.random(shape) < 0.8
        else:
            array = random.normal(size=shape)
        if spec.dtype != "bool" and len(shape) > 1 and spec.shape[1] is None:
            lengths = random.integers(1, shape[1] + 1, batch)
            lengths[0] = shape[1]
            array *= (np.arange(shape[1]) < lengths[:, None]).reshape(shape[:2] + (1,) * (len(shape) - 2))
        arrays.append(array.astype(spec.dtype))
    return arrays


def _run_keras(model, arrays):
    import keras

    outputs = model(arrays if len(arrays) > 1 else arrays[0], training=False)
    return [keras.ops.convert_to_numpy(tensor) for tensor in keras.tree.flatten(outputs)]


def _difference(got, expected):
    """Relative where Keras gives more than 1, and to what is usual where most that it gives is (a spectrum)."""
    if [a.shape for a in got] != [b.shape for b in expected]:
        return np.inf
    return max(
        float((np.abs(a.astype("float64") - b) / np.maximum(np.abs(b), max(1, np.quantile(np.abs(b), 0.25)))).max())
        for a, b in zip(got, expected)
    )


def _count(graph) -> Counter[str]:
    counts: Counter[str] = Counter()
    for node in graph.node:
        counts[node.op_type] += 1
        for attribute in node.attribute:
            if attribute.HasField("g"):
                counts += _count(attribute.g)
    return counts


def _operators(counts: Mapping[str, int]) -> str:
    """Those that do the work, and how many nodes there are in all."""
    total = sum(counts.values())
    loops = [f"**{name}**" for name in LOOPS if name in counts]
    named = next((found for group in TELLING[1:] if (found := [name for name in group if name in counts])), [])
    if not named and len(counts) <= 3:
        named = sorted(counts, key=lambda name: -counts[name])
    return f"{', '.join(loops + named)} ({total})".strip()


def _reason(error: Exception) -> str:
    """What an exporter or ONNX Runtime gave up with, short enough for a table."""
    text = re.sub(r"\x1b\[\d+m", "", str(error)).strip() or type(error).__name__
    for pattern, reason in (
        (r"No Op registered for (\w+)", r"invalid graph: no operator \1"),
        (r"Op \(?(\w+)\)? .*(?:ShapeInference|shape inference)", r"invalid graph: \1 fails shape inference"),
        (r"while running (\w+) node", r"ONNX Runtime fails in \1"),
        (r"Required inputs .* are missing", "the file asks for inputs that the model has not"),
        (r"Input 0 of node \S+ was passed \w+ from \S+ incompatible", "conversion fails: a variable of another type"),
        (r"has never (?:been )?called", r"refused: never called"),
    ):
        found = re.search(pattern, text)
        if found:
            return found.expand(reason)
    return f"{type(error).__name__}: {text.splitlines()[0][:80]}".replace("|", "/")


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Stock export logs and prints, from Python and from C++."""
    saved = os.dup(2)
    logging.disable(logging.CRITICAL)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            logging.disable(logging.NOTSET)


def table(only: str, seconds: float) -> str:
    """The comparison of all layers in Markdown, and a summary under it."""
    from benchmarks.harness.sequence_layers import sequence_layers

    rows = [
        "| layer | Keras: worst error | operators | ms | tfseq: worst error | operators | ms | Keras / tfseq |",
        "|---|---|---|---|---|---|---|---|",
    ]
    results = {}
    for group, members in sequence_layers().items():
        chosen = {name: build for name, build in members.items() if re.search(only, f"{group}: {name}")}
        if chosen:
            rows.append(f"| **{group}** | | | | | | | |")
        for name, build in chosen.items():
            stock, ours = results[f"{group}: {name}"] = compare(build, seconds)
            ratio = f"{stock.milliseconds / ours.milliseconds:.2f}" if stock.works and ours.works else ""
            rows.append("| " + " | ".join([name, *stock.cells(), *ours.cells(), ratio]) + " |")
            print(rows[-1], file=sys.stderr, flush=True)
    return "\n".join([*rows, "", *summary(results)])


def summary(results: Mapping[str, tuple[Outcome, Outcome]]) -> list[str]:
    count = len(results)
    both = {
        name: stock.milliseconds / ours.milliseconds
        for name, (stock, ours) in results.items()
        if stock.works and ours.works
    }
    errors = [ours.error for _, ours in results.values() if not ours.problem]
    lines = [
        f"- Works: Keras {sum(stock.works for stock, _ in results.values())} of {count}, "
        f"tfseq {sum(ours.works for _, ours in results.values())} of {count}; worst error of tfseq "
        f"{max(errors, default=float('nan')):.1e}.",
        f"- A Loop or Scan in the file: Keras {_loops(stock for stock, _ in results.values())}, "
        f"tfseq {_loops(ours for _, ours in results.values())}.",
    ]
    if both:
        slowest, quickest = min(both, key=both.__getitem__), max(both, key=both.__getitem__)
        lines.append(
            f"- Time, where both work ({len(both)}): Keras / tfseq is {statistics.median(both.values()):.2f} in the "
            f"median, from {both[slowest]:.2f} ({slowest}) to {both[quickest]:.1f} ({quickest})."
        )
    return lines


def _loops(outcomes):
    return sum(any(name in (outcome.operators or {}) for name in LOOPS) for outcome in outcomes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="PATTERN", help='layers that match, such as "Recurrent: GRU"')
    parser.add_argument("--seconds", type=float, default=0.5, help="to run each file for")
    parser.add_argument("--rounds", type=int, default=5, help="of the durations")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--write", type=Path, metavar="FILE", help="a Markdown file with the markers")
    arguments = parser.parse_args()
    for name in arguments.parts:
        text = _part(name, arguments)
        print(text, end="\n\n")
        if arguments.write:
            insert(arguments.write, name, text)


def _part(name: str, arguments: argparse.Namespace) -> str:
    from benchmarks import first_use, recurrent_sizes
    from benchmarks.harness.rounds import machine

    if name == "durations":
        return first_use.durations(arguments.rounds)
    if name == "sizes":
        rows = recurrent_sizes.table(arguments.seconds)
    else:
        rows = table(arguments.only, arguments.seconds)
    return f"{machine()}; {THREADS} threads\n\n{rows}"


def insert(path: Path, name: str, text: str) -> None:
    """Puts the text between `<!-- name -->` and `<!-- end of name -->`."""
    before, marker, rest = path.read_text(encoding="utf-8").partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- end of {name} -->")
    if not (marker and end):
        raise SystemExit(f"{path} has no markers <!-- {name} --> and <!-- end of {name} -->.")
    path.write_text(f"{before}{marker}\n{text}\n\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
