"""Whether the runtime holds out: many calls from several threads, each answered as alone, in memory that stays flat.

    pip install -e ".[train-cpu]"
    python -m benchmarks.soak                                                    # about five minutes
    python -m benchmarks.soak --predictions 1000 --generations 100 --loads 50

Files of `exported/` are opened once and shared by all threads; the answers are compared bit by bit with those that one
thread got before. Then all files are opened and dropped, again and again. Memory is what the process holds (resident
set size), read at a hundred moments: a line is fitted to its last half, and it is flat if that rises by less than 8 MB.
"""

import argparse
import gc
import random
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.process_memory import held_megabytes
from tfseq import runtime

EXPORTED = Path(__file__).parents[1] / "exported"
PREDICTORS = (
    "blood_pressure/model.onnx",
    "forecasting/model.onnx",
    "frame_classification/model.onnx",
    "frame_classification/model.step.onnx",
    "series_classification/model.onnx",
    "text_classification/model.onnx",
    "text_classification_transformer/model.onnx",
    "video_classification/model.onnx",
)
GENERATORS = (
    "char_lm_rnn/model.onnx",
    "delayed_answer/model.onnx",
    "image_naming/model.onnx",
    "seq2seq/model.onnx",
    "transformer/model.onnx",
)
FLAT = 8  # megabytes that the memory may rise by during the last half; a leak of 1 kB a call is 50 of them
MOMENTS = 100
CASES = 12  # calls of each file, with arguments of their own


@dataclass(frozen=True)
class Call:
    """A call and what it answered alone."""

    make: Callable[[], Any]
    answer: Any

    def is_right(self) -> bool:
        return _equal(self.make(), self.answer)


@dataclass
class Soak:
    """What came of many calls.

    Attributes:
        what: was done.
        count: how often.
        wrong: answers other than the one alone; None where nothing is answered.
        errors: what was raised.
        seconds: they took.
        megabytes: that the process held, at even moments.
    """

    what: str
    count: int
    wrong: int | None
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0
    megabytes: list[float] = field(default_factory=list)

    @property
    def rise(self) -> float:
        """Megabytes by which a line fitted to the last half of the moments rises."""
        last = self.megabytes[len(self.megabytes) // 2 :]
        return float(np.polyfit(range(len(last)), last, 1)[0]) * (len(last) - 1) if len(last) > 1 else 0.0

    @property
    def held_out(self) -> bool:
        return not self.errors and not self.wrong and self.rise < FLAT


def calls(files: Sequence[str], seed: int = 0) -> list[Call]:
    """Calls of each file, answered in this thread."""
    rng = np.random.default_rng(seed)
    made = []
    for file in files:
        model = runtime.load(EXPORTED / file, threads=1)
        for _ in range(CASES):
            make = _call(model, rng)
            made.append(Call(make, make()))
    return made


def _call(model: runtime.Model, rng: np.random.Generator) -> Callable[[], Any]:
    """One with arguments drawn at random: of a few rows, and of other lengths each time."""
    manifest = model.manifest
    sizes = {"batch": int(rng.integers(1, 4))}
    sources = manifest.data_inputs if manifest.task == "predict" else manifest.sources
    arrays = {spec.name: _array(spec, sizes, rng) for spec in sources}
    if manifest.task == "predict" and manifest.states:

        def chunks() -> Any:
            stream = model.stream()
            return [stream.predict(**arrays), stream.predict(**arrays)]

        return chunks
    if manifest.task == "predict":
        if model.tokenizer is not None and rng.random() < 0.5:
            texts = [_text(rng) for _ in range(sizes["batch"])]
            return lambda: model.classify(texts)
        return lambda: model.predict(**arrays)
    given: Any = arrays if model.tokenizer is None or not _reads_text(manifest) else [_text(rng) for _ in range(2)]
    settings = {name: int(rng.integers(100)) for name in ("seed",) if name in model.settings}
    length = int(rng.integers(1, 20))
    return lambda: [(each.text, each.tokens, each.score) for each in _generated(model, given, length, settings)]


def _generated(model, given, length, settings):
    return model.generate(given, length, details=True, **settings)


def _reads_text(manifest: runtime.Manifest) -> bool:
    return manifest.continues_prompts or manifest.sources[0].dtype == "int32"


def _array(spec: Any, sizes: dict[str, int], rng: np.random.Generator) -> np.ndarray:
    shape = [size if isinstance(size, int) else sizes.setdefault(size, int(rng.integers(3, 24))) for size in spec.shape]
    if spec.dtype.startswith("float"):
        return rng.normal(size=shape).astype(spec.dtype)
    return rng.integers(0, 200 if spec.dtype == "uint8" else 50, size=shape).astype(spec.dtype)


def _text(rng: np.random.Generator) -> str:
    return "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz     12/"), int(rng.integers(1, 30)))) or "a"


def _equal(found: Any, expected: Any) -> bool:
    if isinstance(expected, np.ndarray):
        return found.dtype == expected.dtype and np.array_equal(found, expected)
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(_equal(found[name], expected[name]) for name in expected)
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(_equal, found, expected))
    return bool(found == expected)


def soak(what: str, known: Sequence[Call], count: int, threads: int = 8) -> Soak:
    """Makes `count` of the calls, drawn at random, from several threads at once."""
    found = Soak(what, count, 0)
    numbers = iter(range(count))
    lock = threading.Lock()
    every = max(1, count // MOMENTS)

    def work(seed: int) -> None:
        rng = random.Random(seed)
        while True:
            with lock:
                number = next(numbers, None)
                if number is not None and number % every == 0:
                    found.megabytes.append(held_megabytes())
            if number is None:
                return
            try:
                right = rng.choice(known).is_right()
            except Exception as error:
                with lock:
                    found.errors.append(f"{type(error).__name__}: {error}")
                continue
            if not right:
                with lock:
                    found.wrong = (found.wrong or 0) + 1

    start = time.perf_counter()
    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found.seconds = time.perf_counter() - start
    return found


def loads_and_drops(files: Sequence[str], count: int) -> Soak:
    """Opens the files in turn, and drops each."""
    found = Soak("loads and drops", count, None)
    every = max(1, count // MOMENTS)
    start = time.perf_counter()
    for number in range(count):
        if number % every == 0:
            gc.collect()
            found.megabytes.append(held_megabytes())
        runtime.load(EXPORTED / files[number % len(files)], threads=1)
    found.seconds = time.perf_counter() - start
    return found


def table(found: Sequence[Soak]) -> str:
    lines = [
        "| | times | wrong | errors | seconds | MB at half time | MB at the end | rise | |",
        "|---|" + "---:|" * 7 + "---|",
    ]
    for each in found:
        half, end = each.megabytes[len(each.megabytes) // 2], each.megabytes[-1]
        wrong = "-" if each.wrong is None else f"{each.wrong:,}"
        lines.append(
            f"| {each.what} | {each.count:,} | {wrong} | {len(each.errors):,} | {each.seconds:.0f} | {half:.0f} | "
            f"{end:.0f} | {each.rise:+.1f} | {'held out' if each.held_out else 'FAILED'} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--predictions", type=int, default=100_000, help="(%(default)s)")
    parser.add_argument("--generations", type=int, default=10_000, help="(%(default)s)")
    parser.add_argument("--loads", type=int, default=1_000, help="(%(default)s)")
    parser.add_argument("--threads", type=int, default=8, help="(%(default)s)")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # characters that a model never saw
    found = [
        soak("predictions", calls(PREDICTORS), arguments.predictions, arguments.threads),
        soak("generations", calls(GENERATORS), arguments.generations, arguments.threads),
        loads_and_drops([*PREDICTORS, *GENERATORS], arguments.loads),
    ]
    print(table(found))
    for said in sorted({error for each in found for error in each.errors})[:10]:
        print(said, file=sys.stderr)
    raise SystemExit(0 if all(each.held_out for each in found) else 1)


if __name__ == "__main__":
    main()
