"""Keras' own ONNX export beside ours: both files of a model, how far they are from Keras, and their times in turn."""

import contextlib
import io
import logging
import os
import re
import statistics
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.harness.failures import in_few_words

THREADS = 2
TOLERANCE = 1e-4
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


def time_in_turn(contestants: Sequence[Contestant], seconds: float) -> None:
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
    return in_few_words(f"{type(error).__name__}: {text.splitlines()[0][:80]}")


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
