"""The learning curve of a run, drawn."""

import math
from pathlib import Path

from tfseq.errors import TrainingError
from tfseq.runtime.atomic_write import atomic_write


def plot_learning_curve(
    history: list[dict[str, float]], path: Path, title: str = "", measure: str = "nats", higher_is_better: bool = False
) -> None:
    """Writes a PNG of a measure over steps, in training and validation. Nats also have an axis in bits.

    Args:
        history: a dict per evaluation with step, the measure and val_ and the measure, as `fit` and `train` return it.
        path: where the picture goes.
        title: what was trained.
        measure: "nats" per character, or the name of any other measure.
        higher_is_better: whether the best value, which is marked, is the highest.

    Raises:
        TrainingError: the picture can't be written.
    """
    from matplotlib.figure import Figure

    steps = [round_["step"] for round_ in history]
    validation = [round_[f"val_{measure}"] for round_ in history]
    best = (max if higher_is_better else min)(range(len(history)), key=validation.__getitem__)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(steps, [round_[measure] for round_ in history], label="training", color="0.6")
    axes.plot(steps, validation, label="validation", color="C0")
    axes.plot(steps[best], validation[best], "o", color="C0")
    axes.annotate(
        f"{validation[best]:.3f} {'nats' if measure == 'nats' else ''}".strip(),
        (steps[best], validation[best]),
        xytext=(0, -12 if higher_is_better else 8),
        textcoords="offset points",
        ha="right",
    )
    axes.set(xlabel="training steps", ylabel=measure.replace("_", " "), title=title)
    if measure == "nats":
        axes.set_ylabel("nats per character")
        bits = axes.secondary_yaxis("right", functions=(_in_bits, _in_nats))
        bits.set_ylabel("bits per character")
    axes.grid(alpha=0.3)
    axes.legend()
    try:
        with atomic_write(path) as temporary:
            figure.savefig(temporary, dpi=120, format="png")
    except OSError as error:
        raise TrainingError(f"Can't write {path}: {error.strerror or error}.") from error


def _in_bits(nats):
    return nats / math.log(2)


def _in_nats(bits):
    return bits * math.log(2)
