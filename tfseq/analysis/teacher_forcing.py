"""Exposure bias: errors by distance from the prompt after teacher forcing, scheduled sampling and free running.

A model that is trained on true tokens alone (teacher forcing) never sees what its own mistakes lead to, and when it
runs freely, they compound (exposure bias). Scheduled sampling feeds it its own predictions more and more (Bengio et
al., 2015); free running from the first step on feeds it little else, which early in training is noise.

The task is one in which an error can be measured at any distance: waves of unknown frequency and phase, noisy and
rounded to a few levels. After a prompt of some tokens, all that follow are determined but for the noise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from tfseq.analysis.palette import BLACK, BLUE, GREEN, RED
from tfseq.errors import InputError
from tfseq.layers import loops
from tfseq.runtime.atomic_write import atomic_write


@dataclass(frozen=True, eq=False)
class Waves:
    """Noisy waves and their tokens.

    Attributes:
        tokens: (waves, time) int32, from 0 to levels - 1.
        clean: the waves without noise, (waves, time), from -1 to 1.
        levels: vocabulary size: a token for each level, evenly from -1.2 to 1.2.
    """

    tokens: np.ndarray
    clean: np.ndarray
    levels: int

    def value(self, tokens: Any) -> np.ndarray:
        """The heights of the tokens' levels."""
        return np.asarray(tokens) / (self.levels - 1) * 2 * TOP - TOP


TOP = 1.2


def noisy_waves(count: int, time: int, noise: float = 0.05, levels: int = 16, seed: int = 0) -> Waves:
    """Sine waves of 8 to 20 steps a period, with normal noise, each height rounded to the nearest level.

    Args:
        count: of waves.
        time: length of each, in tokens.
        noise: its standard deviation.
        levels: vocabulary size.
        seed: of frequencies, phases and noise.
    """
    random = np.random.default_rng(seed)
    frequency = random.uniform(1 / 20, 1 / 8, (count, 1))
    phase = random.uniform(0, 1, (count, 1))
    clean = np.sin(2 * np.pi * (frequency * np.arange(time) + phase))
    heights = (clean + noise * random.normal(size=clean.shape) + TOP) / (2 * TOP)
    tokens = np.clip(np.rint(heights * (levels - 1)), 0, levels - 1).astype("int32")
    return Waves(tokens, clean, levels)


def run_freely(model: Any, tokens: Any, prompt: int) -> Any:
    """What a language model predicts when it reads a prompt and then its own most likely tokens (greedy decoding).

    Args:
        model: a `tfseq.models.Generator` without sources.
        tokens: (batch, time) int32; only the first `prompt` of them are read.
        prompt: at least 1.

    Returns:
        the prediction of the token after each position, (batch, time) int32.
    """
    tokens = ops.convert_to_tensor(tokens, "int32")
    batch, time = ops.shape(tokens)
    given = ops.arange(time) < prompt

    def step(carry, x):
        own, state = carry
        token, is_given = x
        logits, state = model.step(ops.where(is_given, token, own), state, ())
        own = ops.cast(ops.argmax(logits, axis=-1), "int32")
        return (own, state), own

    carry = ops.zeros((batch,), "int32"), model.initial_state((), batch)
    _, predicted = loops.scan(step, carry, (ops.transpose(tokens), given), "int32")
    return ops.transpose(predicted)


def free_running_inputs(model: Any, tokens: Any, prompt: int) -> Any:
    """The tokens that a model reads when it runs freely: the prompt, then its own, (batch, time) int32.

    To train a model by free running, take these as its inputs, and the true next tokens as targets.
    """
    own = run_freely(model, tokens, prompt)
    return ops.concatenate([tokens[:, :prompt], own[:, prompt - 1 : -1]], axis=1)


@dataclass(frozen=True, eq=False)
class Errors:
    """How wrong a model is, by position.

    Attributes:
        forced: when it always reads the true tokens, (steps,): root mean square of the predicted height's distance
            from the clean wave, one step after the prompt, two steps after it, and so on.
        free: when it reads its own tokens after the prompt, (steps,).
        example: the heights that it predicts of the first wave, running freely, (steps,).
    """

    forced: np.ndarray
    free: np.ndarray
    example: np.ndarray


def errors_by_length(model: Any, waves: Waves, prompt: int) -> Errors:
    """Measures a model reading true tokens, and reading its own.

    Args:
        model: a `tfseq.models.Generator` that was trained on tokens of waves.
        waves: held-out waves to predict.
        prompt: tokens of each that are given.

    Raises:
        InputError: the waves end with the prompt.
    """
    time = waves.tokens.shape[1]
    if not 1 <= prompt < time:
        raise InputError(f"prompt is {prompt} of {time} tokens; expected at least 1, and fewer than there are.")
    read, clean = waves.tokens[:, :-1], waves.clean[:, prompt:]
    forced = waves.value(ops.convert_to_numpy(ops.argmax(model(read), axis=-1)))[:, prompt - 1 :]
    free = waves.value(ops.convert_to_numpy(run_freely(model, read, prompt)))[:, prompt - 1 :]
    return Errors(_root_mean_square(forced - clean), _root_mean_square(free - clean), free[0])


def _root_mean_square(errors):
    return np.sqrt((errors**2).mean(axis=0))


@dataclass(frozen=True, eq=False)
class Explanation:
    """What `explain` found.

    Attributes:
        errors: by the way in which the model was trained.
        example: the first wave, clean, (time,).
        prompt: how many of its tokens were given.
        no_idea: the error of the baseline that always predicts 0.
    """

    errors: Mapping[str, Errors]
    example: np.ndarray
    prompt: int
    no_idea: float

    def __str__(self) -> str:
        steps = len(next(iter(self.errors.values())).free)
        at = sorted({1, 5, 10, 20, steps} & set(range(1, steps + 1)))
        lines = [
            f"error of the predicted height, so many steps after a prompt of {self.prompt} tokens "
            f"(always predicting 0: {self.no_idea:.2f}):",
            f"  {'trained by':20} {'then it':22}" + "".join(f"{k:>7}" for k in at),
        ]
        for trained, errors in self.errors.items():
            for then, values in (("reads true tokens", errors.forced), ("runs freely", errors.free)):
                lines.append(f"  {trained:20} {then:22}" + "".join(f"{values[k - 1]:7.2f}" for k in at))
        return "\n".join(lines)


def explain(models: Mapping[str, Any], waves: Waves, prompt: int) -> Explanation:
    """Compares models of one size that were trained in different ways.

    Args:
        models: by the way in which they were trained, such as "teacher forcing".
        waves, prompt: as `errors_by_length` takes them.
    """
    errors = {trained: errors_by_length(model, waves, prompt) for trained, model in models.items()}
    return Explanation(errors, waves.clean[0], prompt, float(_root_mean_square(waves.clean.ravel())))


def plot(data: Explanation, path: Path) -> None:
    """Draws what `explain` returned as a PNG: errors by length, and what became of one wave."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7), layout="constrained")
    axes, wave = figure.subplots(2, 1, height_ratios=[1.5, 1])
    for (trained, errors), color, width in zip(data.errors.items(), (BLUE, GREEN, RED), (3, 1.5, 1.5)):
        steps = np.arange(1, len(errors.free) + 1)
        axes.plot(steps, errors.free, color=color, lw=width, label=f"trained by {trained}: runs freely")
        axes.plot(steps, errors.forced, "--", color=color, lw=width, label=f"trained by {trained}: reads true tokens")
        wave.plot(np.arange(data.prompt, len(data.example)), errors.example, color=color, lw=1.2)
    axes.axhline(data.no_idea, color="0.5", lw=0.8)
    axes.text(steps[len(steps) // 2], data.no_idea, "always predicting 0", va="bottom", ha="center", color="0.4")
    axes.set(xlabel="steps after the prompt", ylabel="error of the predicted height", ylim=(0, None))
    axes.set_title("Errors compound when a model reads its own outputs")
    wave.plot(data.example, color=BLACK, lw=2.5, alpha=0.35)
    wave.axvspan(0, data.prompt - 1, color="0.9", lw=0)
    wave.text(0.3, 1.25, "prompt", color="0.4")
    wave.set(xlabel="step", ylabel="height", ylim=(-1.3, 1.6))
    wave.set_title("One wave (grey) and what each model, running freely, makes of it", fontsize=10)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=75, format="png")
