"""Whether a training that is killed at any moment loses nothing: resumed, it ends with the bits of one that was not.

    pip install -e ".[train-cpu]"
    python -m benchmarks.kills               # 21 kills: a quarter of an hour
    python -m benchmarks.kills --kills 3

Three kinds of training in turn: a supervised one, one whose batches are computed side by side, and truncated BPTT with
dropout, scheduled sampling and states that are carried. A process of its own is killed (SIGKILL) at a random moment
behind its first checkpoint, then another one resumes.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

WITHIN = 0.5  # seconds behind the first checkpoint in which a kill comes: a few checkpoints are written in them
WHOLE = "whole"


def supervised(run: Path, resume: bool, side_by_side: int = 1) -> list[np.ndarray]:
    """The weights in the end."""
    import keras

    from tfseq.data import shuffled_batches
    from tfseq.training import SupervisedSettings, train

    x = np.random.default_rng(0).normal(size=(600, 3)).astype("float32")
    y = (x.sum(axis=1) > 0).astype("int32")
    keras.utils.set_random_seed(3)
    parts = [keras.Input((3,)), keras.layers.Dense(64, "relu"), keras.layers.Dropout(0.2), keras.layers.Dense(2)]
    model = keras.Sequential(parts)
    settings = SupervisedSettings(
        epochs=40, batch=20 // side_by_side, side_by_side=side_by_side, learning_rate=0.03, seed=3
    )
    train(
        model,
        shuffled_batches(x, y, settings.batch, seed=1),
        shuffled_batches(x, y, 20, seed=None)(0),
        settings,
        run,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        resume=resume,
        verbose=0,
    )
    return model.get_weights()


def side_by_side(run: Path, resume: bool) -> list[np.ndarray]:
    return supervised(run, resume, 2)


def truncated_bptt(run: Path, resume: bool) -> list[np.ndarray]:
    """The weights in the end."""
    import keras

    from tfseq.data import contiguous_streams, evaluation_stream
    from tfseq.models import RecurrentLanguageModel
    from tfseq.training import TrainingSettings, fit

    tokens = np.tile(np.array([1, 2, 3, 4, 3, 2], "int32"), 120)
    keras.utils.set_random_seed(3)
    model = RecurrentLanguageModel(5, units=8, depth=2, dropout=0.2, initial_state="learned")
    settings = TrainingSettings(batch=4, chunk=10, steps=200, evaluate_every=10, warmup=2, scheduled_sampling=0.5)
    fit(
        model,
        lambda step: contiguous_streams(tokens[:600], 4, 10, start=step, epochs=None, seed=1),
        evaluation_stream(tokens[600:], 2, 10),
        settings,
        run,
        resume=resume,
        evaluation_batch=2,
        verbose=0,
    )
    return model.get_weights()


KINDS: dict[str, Callable[[Path, bool], list[np.ndarray]]] = {
    "supervised": supervised,
    "side by side": side_by_side,
    "truncated BPTT": truncated_bptt,
}


def begun(kind: str, run: Path, resume: bool = False) -> subprocess.Popen:
    """A process that trains, and prints the hash of the weights in the end."""
    command = [sys.executable, "-m", "benchmarks.kills", "--run", kind, str(run), *(["--resume"] if resume else [])]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def ended(process: subprocess.Popen) -> str:
    said = process.communicate()[0].split()
    return said[-1] if process.returncode == 0 and said else f"ended with {process.returncode}"


def killed(kind: str, run: Path, moment: float) -> bool:
    """Begins a training and kills it so many seconds behind its first checkpoint; False if it had ended."""
    process = begun(kind, run)
    while not (run / "checkpoint.npz").exists() and process.poll() is None:
        time.sleep(0.002)
    time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=21, help="of all kinds (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (%(default)s)")
    parser.add_argument("--run", nargs=2, metavar=("KIND", "FOLDER"), help="trains in this process")
    parser.add_argument("--resume", action="store_true", help="of --run")
    arguments = parser.parse_args()
    if arguments.run:
        weights = KINDS[arguments.run[0]](Path(arguments.run[1]), arguments.resume)
        print(hashlib.sha256(b"".join(weight.tobytes() for weight in weights)).hexdigest())
        return
    draw = random.Random(arguments.seed)
    print(
        "| training | kills | the same bits | other bits | files left behind |", "|---|---:|---:|---:|---:|", sep="\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        for i, kind in enumerate(KINDS):
            whole = ended(begun(kind, Path(folder) / f"{kind} {WHOLE}"))
            counts = dict.fromkeys(("kills", "same", "other", "left"), 0)
            for number in range(i, arguments.kills, len(KINDS)):
                run = Path(folder) / f"{kind} {number}"
                counts["kills"] += killed(kind, run, draw.uniform(0, WITHIN))
                counts["same" if ended(begun(kind, run, resume=True)) == whole else "other"] += 1
                counts["left"] += sum(path.name.startswith(".") for path in run.iterdir())
            print(f"| {kind} | {' | '.join(map(str, counts.values()))} |", flush=True)


if __name__ == "__main__":
    main()
