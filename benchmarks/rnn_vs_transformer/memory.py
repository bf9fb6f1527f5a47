"""Peak memory that one sequence adds to a process: in a training step, and in a forward pass of an exported file.

Every case runs in a process of its own, whose peak memory during the step is compared with what it had before.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.harness.process_memory import peak_megabytes
from benchmarks.harness.rounds import take_turns, values
from benchmarks.rnn_vs_transformer.contestants import (
    LARGE,
    NAMES,
    Outcomes,
    Results,
    Size,
    language_model,
    one_thread,
    session,
)
from benchmarks.rnn_vs_transformer.throughput import VOCABULARY, compiled

CONTESTANTS = ("lstm", "transformer")
MODULE = "benchmarks.rnn_vs_transformer"
SHORT = (8, 16)  # lengths that load and compile everything


def measure(
    lengths: Sequence[int], rounds: int, outcomes: Outcomes, names: Sequence[str] = CONTESTANTS
) -> tuple[Results, Results]:
    """Megabytes of training steps, and of forward passes, at batch 1; `outcomes` is told who could not run."""
    with tempfile.TemporaryDirectory() as folder:
        commands = {}
        for name in names:
            path = write(name, LARGE, Path(folder))
            for length in lengths:
                commands["forward", name, length] = [MODULE, "--run", "forward", str(path), str(length)]
                commands["training", name, length] = [MODULE, "--run", "training", name, str(length)]
        runs = take_turns({" ".join(map(str, case)): command for case, command in commands.items()}, rounds)
    training: Results = {name: {} for name in names}
    forward: Results = {name: {} for name in names}
    for what, name, length in commands:
        outcomes[f"memory, {what}, {NAMES[name]} at length {length:,}"] = runs[f"{what} {name} {length}"]
        if found := values(runs[f"{what} {name} {length}"], "megabytes"):
            (training if what == "training" else forward)[name][length] = found
    return training, forward


def score_matrices(length: int, size: Size = LARGE) -> float:
    """Megabytes of the scores of one layer's self-attention: heads * N * M float32, N = M = length."""
    return size.heads * length * length * 4 / 2**20


def training_step(name: str, length: int, size: Size = LARGE) -> float:
    """Megabytes that a training step at batch 1 adds to this process."""
    one_thread()
    model = compiled(name, size)
    random = np.random.default_rng(0)

    def step(length):
        model.train_on_batch(*random.integers(0, VOCABULARY, (2, 1, length), np.int32))

    for short in SHORT:  # the second has another length, so what is compiled takes any
        step(short)
    return _added(lambda: step(length))


def write(name: str, size: Size, folder: Path) -> Path:
    """An exported file from tokens to logits."""
    import tfseq

    path = folder / f"{name}.onnx"
    tfseq.export(language_model(name, size, VOCABULARY, "float32"), path, verify=False)
    return path


def forward_pass(path: Path, length: int) -> float:
    """Megabytes that a forward pass at batch 1 adds to this process."""
    exact = {"enable_cpu_mem_arena": False, "enable_mem_pattern": False}  # an arena takes more than it needs
    opened = session(path, **exact)
    random = np.random.default_rng(0)

    def read(length):
        opened.run(None, {"tokens": random.integers(0, VOCABULARY, (1, length), np.int32)})

    for short in SHORT:
        read(short)
    return _added(lambda: read(length))


def _added(run) -> float:
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = peak_megabytes()
    run()
    return peak_megabytes() - before
