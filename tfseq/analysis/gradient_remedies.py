"""Gradient clipping and truncated BPTT, each compared with training without it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfseq.analysis.gradient_flow import reach, scale_recurrent_weights, step_jacobians
from tfseq.analysis.palette import BLUE, RED
from tfseq.layers.recurrent import recurrent_layer
from tfseq.runtime.atomic_write import atomic_write


@dataclass(frozen=True, eq=False)
class Descent:
    """Plain gradient descent, step by step.

    Attributes:
        loss: before each step, (steps,) nats per token.
        norm: of the gradient before it was clipped, (steps,).
        clip_norm: largest norm that was let through; None: any.
    """

    loss: np.ndarray
    norm: np.ndarray
    clip_norm: float | None


def descend(
    model: keras.Model, batches: Iterable[tuple[Any, Any]], clip_norm: float | None, learning_rate: float, steps: int
) -> Descent:
    """Trains a language model by gradient descent without momentum, so that each step is as long as its gradient.

    Args:
        model: from tokens (batch, time) to logits (batch, time, vocabulary); it is changed.
        batches: input tokens and next tokens, (batch, time) int32 each.
        clip_norm: gradients whose global norm is larger are scaled to it (Pascanu et al., 2013); None scales none.
        learning_rate: times the gradient is a step.
        steps: to take.
    """
    import tensorflow as tf

    weights = [variable.value for variable in model.trainable_variables]
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def step(tokens, targets):
        with tf.GradientTape() as tape:
            loss = cross_entropy(targets, model(tokens))
        gradients = tape.gradient(loss, weights)
        norm = tf.linalg.global_norm(gradients)
        scale = 1.0 if clip_norm is None else tf.minimum(1.0, clip_norm / norm)
        for weight, gradient in zip(weights, gradients):
            weight.assign_sub(learning_rate * scale * gradient)
        return loss, norm

    steps_taken = [step(tokens, targets) for tokens, targets in islice(batches, steps)]
    loss, norm = np.array(steps_taken, "float64").T
    return Descent(loss, norm, clip_norm)


@dataclass(frozen=True, eq=False)
class Explanation:
    """What `explain` found.

    Attributes:
        unclipped, clipped: the same model on the same batches.
        full, truncated: the norm of dh_t/dh_s, (time + 1, time + 1), row t and column s, through the whole sequence and
            through chunks.
        chunk: steps of a chunk.
    """

    unclipped: Descent
    clipped: Descent
    full: np.ndarray
    truncated: np.ndarray
    chunk: int

    def __str__(self) -> str:
        return "\n".join(
            [
                f"gradient descent, {len(self.clipped.loss)} steps:",
                *(
                    f"  {name:18} largest gradient {_largest(run.norm)}, largest loss {_largest(run.loss)}, "
                    f"at the end {run.loss[-10:].mean():.2f} nats"
                    for name, run in (("not clipped", self.unclipped), ("clipped", self.clipped))
                ),
                f"truncated BPTT, {self.chunk} steps: of {_pairs(self.full)} pairs of steps that gradients connect, "
                f"{_pairs(self.truncated)} are left",
            ]
        )


def _largest(values):
    return f"{values.max():.1e}" if np.isfinite(values).all() else "not finite"


def _pairs(norms):
    return np.count_nonzero(np.tril(norms, -1))


def explain(
    make_model: Callable[[], keras.Model],
    batches: Callable[[], Iterable[tuple[Any, Any]]],
    *,
    clip_norm: float = 0.5,
    learning_rate: float = 2.0,
    steps: int = 150,
    chunk: int = 15,
    seed: int = 0,
) -> Explanation:
    """Trains twice, with and without clipping; and measures how far back a vanilla RNN's gradients go.

    Args:
        make_model: the same model each time, as `descend` takes it; one whose gradients explode has most to show.
        batches: the same batches each time, as `descend` takes them.
        clip_norm, learning_rate, steps: as `descend` takes them.
        chunk: steps of a chunk of truncated BPTT; four of them make the sequence.
        seed: of the vanilla RNN and what it reads.
    """
    unclipped, clipped = (descend(make_model(), batches(), norm, learning_rate, steps) for norm in (None, clip_norm))
    units = 32
    initializer = keras.initializers.Orthogonal(seed=seed)
    layer = recurrent_layer("rnn", units, recurrent_initializer=initializer)
    layer.build((None, None, units))
    scale_recurrent_weights(layer, 1.3)
    noise = 0.1 * np.random.default_rng(seed).normal(size=(1, 4 * chunk, units))
    jacobians = step_jacobians(layer, noise)[0]
    return Explanation(unclipped, clipped, reach(jacobians, units), reach(jacobians, units, chunk), chunk)


def plot(data: Explanation, path: Path) -> None:
    """Draws what `explain` returned as a PNG: gradient norms and losses above, the reach of gradients below."""
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogFormatter

    figure = Figure(figsize=(9, 7.5), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[1, 1.25])
    above, below = parts
    above.suptitle("Clipping: the same model by gradient descent, with and without")
    norm_axes, loss_axes = above.subplots(1, 2)
    limit = data.clipped.clip_norm
    runs = (("not clipped", data.unclipped, RED, "--"), (f"clipped to norm {limit:g}", data.clipped, BLUE, "-"))
    for name, run, color, style in runs:
        norm_axes.plot(run.norm, style, color=color, label=name, lw=1.2)
        loss_axes.plot(run.loss, style, color=color, label=name, lw=1.2)
    norm_axes.axhline(limit, color="0.4", lw=0.8)
    norm_axes.set(yscale="log", xlabel="training steps", ylabel="norm of the gradient, before clipping")
    loss_axes.set(yscale="log", xlabel="training steps", ylabel="loss, nats per character")
    loss_axes.yaxis.set_major_formatter("{x:g}")
    loss_axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.7)))
    loss_axes.legend()

    below.suptitle("Truncation: how far back the loss at step t is felt, a vanilla RNN with singular values 1.3")
    largest = max(data.full.max(), 10)
    for axes, norms, title in zip(
        below.subplots(1, 2, sharey=True),
        (data.full, data.truncated),
        ("full BPTT: back to the beginning", f"truncated BPTT: back to where its chunk of {data.chunk} began"),
    ):
        axes.set_facecolor("0.93")
        picture = axes.imshow(np.where(norms > 0, norms, np.nan), cmap="cividis", norm=LogNorm(1, largest))
        axes.set_title(title, fontsize=10)
        axes.set(xlabel="step s that is felt")
    below.axes[0].set_ylabel("step t of the loss")
    below.colorbar(picture, ax=below.axes, label=r"$\|\partial h_t/\partial h_s\|$")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=75, format="png")
