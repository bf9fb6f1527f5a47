"""Sampling from the model's distribution, or from its best k symbols, by the Gumbel-max trick."""

import math
from dataclasses import dataclass
from typing import ClassVar

from keras import ops

from tfseq.decoding.random import draw_bits, draw_keys, gumbel
from tfseq.errors import InputError


@dataclass(frozen=True)
class Sample:
    """Draws each symbol from softmax(logits / temperature), cut to the `top_k` likeliest.

    argmax(logits + temperature * Gumbel noise) has exactly that distribution (Gumbel, 1954), needs no division, and is
    greedy at temperature 0. It also makes the draw robust: two runtimes disagree only where the two best scores are
    equal up to rounding.

    A strategy is three things: the run-time settings it reads (`settings`), what it prepares for all steps at once
    (`prepare`), and the choice at one step (`choose`). Its fields are the defaults of the settings.

    Args:
        temperature: 0 is greedy, 1 the model's own distribution.
        top_k: symbols kept; 0, or more than there are, keeps all. Symbols as likely as the k-th stay in too.
        seed: of the random numbers, a 32-bit integer. A row's draws depend on the seed, its row and the position alone.

    Raises:
        InputError: a value is out of range.
    """

    temperature: float = 1.0
    top_k: int = 0
    seed: int = 0

    NAME: ClassVar[str] = "sample"
    DTYPES: ClassVar[dict[str, str]] = {"temperature": "float32", "top_k": "int32", "seed": "int32"}

    def __post_init__(self):
        if not _is_number(self.temperature) or not 0 <= self.temperature < math.inf:
            raise InputError(f"temperature is {self.temperature!r}; expected a number of at least 0 (0 is greedy).")
        if not _is_integer(self.top_k) or not 0 <= self.top_k < 2**31:
            raise InputError(f"top_k is {self.top_k!r}; expected an integer of at least 0 (0 keeps every symbol).")
        if not _is_integer(self.seed) or not -(2**31) <= self.seed < 2**31:
            raise InputError(f"seed is {self.seed!r}; expected an integer that fits 32 bits.")

    @property
    def settings(self) -> dict[str, float | int]:
        """The run-time settings by name, as they are by default."""
        return {name: getattr(self, name) for name in self.DTYPES}

    @staticmethod
    def prepare(settings, batch_size, positions):
        """What `choose` needs at each step, computed outside the loop.

        Args:
            settings: name -> scalar tensor.
            batch_size: () int32.
            positions: of the new symbols in their sequences, (time,) int32.

        Returns:
            a key for the random numbers of each step and row, (time, batch, 1) uint32.
        """
        return draw_keys(settings["seed"], ops.arange(batch_size, dtype="int32"), positions)

    @staticmethod
    def scores(logits, prepared, settings):
        """Logits with noise, -inf where `top_k` cuts: the symbol with the highest score is chosen.

        Args:
            logits: (batch, vocabulary) float32.
            prepared: one step of what `prepare` returned, (batch, 1) uint32.
            settings: name -> scalar tensor.

        Returns:
            (batch, vocabulary) float32.
        """
        noise = gumbel(draw_bits(prepared, logits.shape[-1]))
        return keep_top_k(logits, settings["top_k"]) + settings["temperature"] * noise

    @classmethod
    def choose(cls, logits, prepared, settings):
        """The next symbols, (batch,) int32; arguments as for `scores`."""
        scores = cls.scores(logits, prepared, settings)
        _, best = ops.top_k(scores, 1)  # Keras' argmax on TensorFlow looks at the sign of zeros, which ONNX can't
        return ops.cast(ops.squeeze(best, axis=-1), "int32")


def keep_top_k(logits, k):
    """Logits with all but the k largest of each row at -inf.

    Args:
        logits: (batch, vocabulary) float32.
        k: () int32 tensor; below 1 or above the vocabulary keeps all.

    Returns:
        (batch, vocabulary) float32.
    """
    vocabulary = logits.shape[-1]

    def cut():
        descending, _ = ops.top_k(logits, vocabulary)
        beyond = ops.arange(vocabulary, dtype="int32") >= k  # by rank
        threshold = ops.min(ops.where(beyond, math.inf, descending), axis=-1, keepdims=True)  # (batch, 1)
        return ops.where(logits < threshold, -math.inf, logits)

    return ops.cond(ops.logical_and(k > 0, k < vocabulary), cut, lambda: logits)  # sorting costs more than a step


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
