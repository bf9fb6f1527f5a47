"""The task of the generation benchmarks: a Transformer with random weights, its source sequences, cases and timing.

Every contestant has the same weights and sources of 20 tokens, and generates 40 tokens, END ruled out, on two threads.
"""

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

THREADS = 2
SOURCE_TIME, NEW_TIME, WIDTH = 20, 40, 4
BATCHES = (1, 32)
LEAST_RUNS, LEAST_SECONDS = 3, 0.5  # of a case in one turn


@dataclass(frozen=True)
class Size:
    """Of a Transformer, `depth` blocks in the encoder and as many in the decoder."""

    depth: int
    units: int
    heads: int
    hidden: int
    vocabulary: int


SIZES = {"large": Size(6, 512, 8, 2048, 8000), "small": Size(3, 256, 4, 512, 4000)}


@dataclass(frozen=True)
class Task:
    """What contestants have to know beside their file: special token ids, and how much to generate how often.

    Attributes:
        vocabulary: its size.
        start, end: token ids.
        new_time: tokens to generate.
        runs: of each case, at least.
    """

    vocabulary: int
    start: int
    end: int
    new_time: int
    runs: int

    def sources(self, batch: int) -> np.ndarray:
        """(batch, SOURCE_TIME) int32; a smaller batch is the beginning of a larger one."""
        return np.random.default_rng(1).integers(4, self.vocabulary, (max(BATCHES), SOURCE_TIME), np.int32)[:batch]


def write_task(task: Task, folder: Path) -> None:
    (folder / "task.json").write_text(json.dumps(asdict(task)))


def read_task(folder: Path) -> Task:
    return Task(**json.loads((folder / "task.json").read_text()))


def cases(batches: Sequence[int] = BATCHES) -> dict[str, tuple[int, int]]:
    """Name -> batch size and beam width."""
    return {f"{'greedy' if w == 1 else f'beam {w}'}, batch {b}": (b, w) for b in batches for w in (1, WIDTH)}


def measure(run: Callable, folder: Path, name: str, batches: Sequence[int] = BATCHES) -> None:
    """Prints tokens per second by case as JSON, and leaves the token ids in NAME.npz.

    Args:
        run: (source, width, length) -> token ids, (batch, length).
    """
    task = read_task(folder)

    def call(batch: int, width: int) -> Callable[[], Any]:
        return lambda: run(task.sources(batch), width, task.new_time)

    everything = {name: (call(*case), case[0] * task.new_time) for name, case in cases(batches).items()}
    measure_calls(everything, folder / f"{name}.npz", task.runs)


def measure_calls(calls: Mapping[str, tuple[Callable[[], Any], int]], file: Path, runs: int) -> None:
    """Prints tokens per second by case as JSON.

    Args:
        calls: by case, what generates token ids, and how many.
        file: of what each case generated.
        runs: of each case, at least; more where they take less than LEAST_SECONDS, unless it is 1.
    """
    speeds, made = {}, {}
    for case, (call, tokens) in calls.items():
        made[case] = call()  # and warms up
        times: list[float] = []
        while len(times) < runs or (sum(times) < LEAST_SECONDS and runs > 1):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        speeds[case] = tokens / statistics.median(times)
    np.savez(file, **made)
    print(json.dumps(speeds))


def transformer(size: Size):
    """With random weights: no scale is 1 and no bias 0, or graphs would come out simpler than after training."""
    import keras

    from tfseq.models import Transformer

    keras.utils.set_random_seed(0)
    model = Transformer(size.vocabulary, units=size.units, heads=size.heads, hidden=size.hidden, depth=size.depth)
    model({"source": np.ones((1, 2), "int32"), "target": np.ones((1, 2), "int32")})
    random = np.random.default_rng(0)
    for weight in model.weights:
        if len(weight.shape) == 1:
            weight.assign(weight + random.normal(0, 0.1, weight.shape))
    gamma = model.decoder.last_norm.gamma  # signs keep the tied embeddings from writing just what they have read
    gamma.assign(gamma * random.choice([-1, 1], gamma.shape))
    return model
