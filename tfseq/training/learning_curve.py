"""A run's losses, drawn."""

import math
from pathlib import Path

from tfseq.runtime.atomic_write import atomic_write


def plot_learning_curve(history: list[dict[str, float]], path: Path, title: str = "") -> None:
    """Writes a PNG of training and validation loss over steps: nats per symbol on the left axis, bits on the right.

    Args:
        history: a dict per evaluation with step, nats and val_nats, as `fit` returns it.
        path: where the picture goes.
        title: what was trained.
    """
    from matplotlib.figure import Figure

    steps = [round_["step"] for round_ in history]
    validation = [round_["val_nats"] for round_ in history]
    best = min(range(len(history)), key=validation.__getitem__)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(steps, [round_["nats"] for round_ in history], label="training", color="0.6")
    axes.plot(steps, validation, label="validation", color="C0")
    axes.plot(steps[best], validation[best], "o", color="C0")
    axes.annotate(
        f"{validation[best]:.3f} nats",
        (steps[best], validation[best]),
        xytext=(0, 8),
        textcoords="offset points",
        ha="right",
    )
    axes.set(xlabel="training steps", ylabel="nats per character", title=title)
    bits = axes.secondary_yaxis("right", functions=(_in_bits, _in_nats))
    bits.set_ylabel("bits per character")
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def _in_bits(nats):
    return nats / math.log(2)


def _in_nats(bits):
    return bits * math.log(2)
