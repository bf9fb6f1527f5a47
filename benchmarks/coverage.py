"""Every layer of Keras and function of keras.ops, exported by tfseq and by Keras itself: works, refused, or fails.

    pip install -e ".[train-cpu]"
    python -m benchmarks.coverage                       # prints the table of what does not work, and the counts
    python -m benchmarks.coverage --all                 # with a row for each that works, too
    python -m benchmarks.coverage --only "Conv|resize"  # names that a pattern is found in
    python -m benchmarks.coverage --no-stock            # tfseq alone
    python -m benchmarks.coverage --applications        # a model of each family of keras.applications
    python -m benchmarks.coverage --stacks 0 300        # random stacks of layers, and of functions, by their seeds

A model of each is built with the arguments of `benchmarks/harness/coverage_cases.py`, and its file is compared with
Keras' eager output on random inputs of several batch sizes. "Refused" is an `ExportError` that names the layer
and tells nothing of the converter's inside. Cases run in a process of their own, which is started anew after one that
crashes it or takes longer than the limit.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from benchmarks.harness.failures import failure_of_process, in_few_words

LIMIT = 120.0  # seconds of a case
TOLERANCE = 1e-4
BATCHES = (2, 3)
INTERNAL = r"Tensorflow op|Failed to convert node|<function|call\(\)"  # in a message that nobody wrote for a user


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="PATTERN", help="of names of layers and functions")
    parser.add_argument("--all", action="store_true", help="a row for each that works, too")
    parser.add_argument("--no-stock", action="store_true", help="tfseq alone")
    parser.add_argument(
        "--limit", type=float, default=LIMIT, metavar="SECONDS", help="of a case (default: %(default)s)"
    )
    parser.add_argument("--applications", action="store_true", help="families of keras.applications, small and whole")
    parser.add_argument("--stacks", type=int, nargs=2, metavar=("FROM", "TO"), help="random stacks of these seeds")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        _work(stock=not options.no_stock)
        return
    rows = outcomes(_cases(options), options.only, not options.no_stock, options.limit)
    if options.applications:
        print("| model | seconds | tfseq | why | Keras |\n|---|---|---|---|---|")
        for row in rows:
            cells = row["name"], f"{row['seconds']:.0f}", row["tfseq"], row["why"], row["keras"]
            print(f"| {' | '.join(cells)} |", flush=True)
    else:
        print(table(list(rows), options.all))


def _cases(options: argparse.Namespace) -> list[tuple[str, str]]:
    """Kind and name of each."""
    from benchmarks.harness.coverage_cases import application_cases, function_cases, layer_cases

    if options.applications:
        return [("application", name) for name in application_cases()]
    if options.stacks:
        return [(kind, str(seed)) for seed in range(*options.stacks) for kind in ("layer stack", "function stack")]
    return [("layer", name) for name in layer_cases()] + [("function", name) for name in function_cases()]


def table(rows: Sequence[dict[str, Any]], everything: bool) -> str:
    """Markdown: counts, and a row for each case that does not work, or for each."""
    lines = ["| | cases | tfseq: works | refused by name | fails | Keras: works |", "|---|---|---|---|---|---|"]
    for kind in dict.fromkeys(row["kind"] for row in rows):
        own = [row for row in rows if row["kind"] == kind and row["tfseq"] != "not built"]
        counts = Counter(row["tfseq"] for row in own)
        cells = [counts["works"], counts["refused"], counts["fails"], sum(row["keras"] == "works" for row in own)]
        lines.append("| " + " | ".join(map(str, [f"{kind}s", len(own), *cells])) + " |")
    lines += ["", "| name | tfseq | why | Keras |", "|---|---|---|---|"]
    for row in rows:
        if everything or row["tfseq"] != "works":
            lines.append(f"| `{row['name']}` | {row['tfseq']} | {row['why']} | {row['keras']} |")
    return "\n".join(lines)


def outcomes(cases: Sequence[tuple[str, str]], only: str, stock: bool, limit: float) -> Iterator[dict[str, Any]]:
    """One for each case whose name has the pattern `only` in it, in order; progress goes to stderr."""
    worker: _Worker | None = None
    for kind, name in cases:
        if not re.search(only, name):
            continue
        worker = worker or _Worker(stock)
        found = worker.ask({"kind": kind, "name": name}, limit)
        if "ended" in found:
            found, worker = {"tfseq": "fails", "why": found["ended"], "keras": "", "seconds": limit}, None
        row = {"kind": kind, "name": name, **found}
        print(f"{row['tfseq']:10} {name} {row['why']}", file=sys.stderr, flush=True)
        yield row
    if worker:
        worker.end()


class _Worker:
    """A process that answers one case after the other."""

    def __init__(self, stock: bool):
        command = [sys.executable, "-m", "benchmarks.coverage", "--worker", *([] if stock else ["--no-stock"])]
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self._process = subprocess.Popen(command, text=True, env=environment, **pipes)
        self._answers: Queue[str] = Queue()
        self._said: list[str] = []
        for stream, take in ((self._process.stdout, self._answers.put), (self._process.stderr, self._said.append)):
            threading.Thread(target=self._read, args=(stream, take), daemon=True).start()

    def _read(self, stream: Any, take: Any) -> None:
        for line in stream:
            take(line)
        take("")

    def ask(self, case: dict[str, str], limit: float) -> dict[str, Any]:
        """The outcome; or, under "ended", why the process is no longer."""
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(case) + "\n")
            self._process.stdin.flush()
            line = self._answers.get(timeout=limit)
        except Empty:
            self.end()
            return {"ended": f"not done after {limit:.0f} s"}
        except OSError:
            line = ""
        return json.loads(line) if line else {"ended": failure_of_process(self._process.wait(), self._said).reason}

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def _work(stock: bool) -> None:
    """Reads cases from stdin and writes their outcomes to what was stdout; what others print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(json.dumps(_outcome(json.loads(line), stock)) + "\n")
        answers.flush()


def _built(kind: str, name: str) -> Any:
    import random

    import keras

    from benchmarks.harness import random_stacks
    from benchmarks.harness.coverage_cases import application_cases, function_cases, layer_cases

    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    if kind.endswith("stack"):
        stack = random_stacks.layer_stack if kind == "layer stack" else random_stacks.function_stack
        model = stack(random.Random(int(name)).choice)
        if not random_stacks.runs(model):
            raise ValueError("Keras can't call the model.")
        return model
    return {"layer": layer_cases, "function": function_cases, "application": application_cases}[kind]()[name]()


def _outcome(case: dict[str, str], stock: bool) -> dict[str, Any]:
    import tfseq
    from tfseq.errors import ExportError, ParityError

    start = time.monotonic()
    try:
        model = _built(case["kind"], case["name"])
    except Exception as error:
        return {"tfseq": "not built", "why": _reason(error), "keras": "", "seconds": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        try:
            tfseq.export(model, path)
            status, why = "works", ""
        except ParityError as error:
            status, why = "fails", _reason(error)
        except ExportError as error:
            text = str(error)
            named = any(layer.name in text or type(layer).__name__ in text for layer in model.layers[1:])
            status, why = ("refused" if named and not re.search(INTERNAL, text) else "fails"), _reason(error)
        except BaseException as error:
            status, why = "fails", f"foreign exception: {_reason(error)}"
        seconds = time.monotonic() - start
        by_keras = _by_keras(model, Path(folder) / "keras.onnx") if stock else ""
        return {"tfseq": status, "why": why, "keras": by_keras, "seconds": seconds}


def _by_keras(model: Any, path: Path) -> str:
    """Whether Keras' own export gives a file that runs, with the same numbers."""
    import keras
    import numpy as np
    import onnxruntime

    random = np.random.default_rng(0)
    try:
        model.export(str(path), format="onnx", verbose=False)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        for batch in BATCHES:
            arrays = [_draw(random, (batch, *spec.shape[1:]), spec.dtype) for spec in model.inputs]
            expected = keras.tree.flatten(model(arrays if len(arrays) > 1 else arrays[0], training=False))
            found = session.run(None, dict(zip([node.name for node in session.get_inputs()], arrays)))
            for a, b in zip(found, map(keras.ops.convert_to_numpy, expected), strict=True):
                if a.shape != b.shape or not np.allclose(a, b, TOLERANCE, TOLERANCE, equal_nan=True):
                    return "differs"
    except Exception:
        return "fails"
    return "works"


def _draw(random: Any, shape: Sequence[int], dtype: str) -> Any:
    if dtype == "string":
        return random.choice(["the", "cat", "sat"], shape).astype(object)
    if dtype == "bool":
        return random.random(shape) < 0.5
    return (random.integers(0, 5, shape) if "int" in dtype else random.normal(size=shape)).astype(dtype)


def _reason(error: BaseException) -> str:
    text = re.sub(r"\x1b\[\d+m", "", str(error))
    return in_few_words(f"{type(error).__name__}: {' '.join(text.split())}")


if __name__ == "__main__":
    main()
