"""Sampling with temperature, top-k and top-p (nucleus), by the Gumbel-max trick."""

import math
from dataclasses import dataclass
from typing import ClassVar

from keras import ops

from tfseq.decoding.random import draw_bits, draw_keys, gumbel
from tfseq.decoding.strategy import Strategy, is_integer, is_number, require_integer
from tfseq.errors import InputError
from tfseq.layers.loops import take_rows


@dataclass(frozen=True)
class Sample(Strategy):
    """Draws each token from softmax(logits / temperature), cut to the most likely tokens by top-k and top-p.

    argmax(logits + temperature * Gumbel noise) has exactly that distribution (Gumbel, 1954), needs no division, and is
    greedy at temperature 0. It also makes the draw robust: two runtimes disagree only where the two best scores are
    equal up to rounding.

    Args:
        temperature: 0 is greedy, 1 the model's own distribution.
        top_k: tokens kept; 0, or more than there are, keeps all. Tokens as likely as the k-th stay in too.
        top_p: of what temperature and `top_k` leave, keeps the smallest set of most likely tokens whose
            probability reaches `top_p` (Holtzman et al., 2020, "nucleus sampling"), and what is as likely as the last;
            1 keeps all.
        seed: of the random numbers, a 32-bit integer. A row's draws depend on the seed, its row and the position alone.
        min_length, repetition_penalty, forbidden: see `Strategy`.

    Raises:
        InputError: a value is out of range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    NAME: ClassVar[str] = "sample"
    OWN_DTYPES: ClassVar[dict[str, str]] = {
        "temperature": "float32",
        "top_k": "int32",
        "top_p": "float32",
        "seed": "int32",
    }

    def __post_init__(self):
        super().__post_init__()
        if not is_number(self.temperature) or not 0 <= self.temperature < math.inf:
            raise InputError(f"temperature is {self.temperature!r}; expected a number of at least 0 (0 is greedy).")
        require_integer("top_k", self.top_k, 0)
        if not is_number(self.top_p) or not 0 < self.top_p <= 1:
            raise InputError(f"top_p is {self.top_p!r}; expected a number above 0 and up to 1 (1 keeps every token).")
        if not is_integer(self.seed) or not -(2**31) <= self.seed < 2**31:
            raise InputError(f"seed is {self.seed!r}; expected an integer that fits 32 bits.")

    def sampler(self, settings, batch_size, vocabulary_size, positions):
        rows = ops.arange(batch_size, dtype="int32")
        keys = draw_keys(settings["seed"], rows, positions)  # (time, batch, 1)
        starts = rows * vocabulary_size  # of the rows in batch * vocabulary

        def choose(step, logits):
            _, tokens = ops.top_k(self.scores(logits, take_rows(keys, step), settings), 1)
            tokens = ops.reshape(tokens, (-1,))
            return tokens, take_rows(ops.reshape(ops.log_softmax(logits), (-1,)), starts + tokens)

        return choose

    @staticmethod
    def scores(logits, keys, settings):
        """Logits with noise, -inf where `top_k` and `top_p` cut: the token with the highest score is chosen.

        Args:
            logits: (batch, vocabulary) float32.
            keys: of the random numbers at this step, (batch, 1) uint32; see `draw_keys`.
            settings: name -> scalar tensor.

        Returns:
            (batch, vocabulary) float32.
        """
        noise = gumbel(draw_bits(keys, logits.shape[-1]))
        return filter_top_k_top_p(logits, **{name: settings[name] for name in ("temperature", "top_k", "top_p")}) + (
            settings["temperature"] * noise
        )


def filter_top_k_top_p(logits, temperature, top_k, top_p):
    """Logits with all but the most likely tokens of each row at -inf.

    Args:
        logits: (batch, vocabulary) float32.
        temperature: () float32; divides logits before probabilities are compared with `top_p`.
        top_k: () int32; keeps the k largest, and what equals the k-th; below 1 or above the vocabulary keeps all.
        top_p: () float32; of those, keeps the smallest set of largest ones whose probability reaches `top_p`, and what
            equals the last of them; 1 keeps all.

    Returns:
        (batch, vocabulary) float32.
    """
    vocabulary = logits.shape[-1]

    def cut():
        descending, _ = ops.top_k(logits, vocabulary)  # sorting costs more than a step: only where it is asked for
        rank = ops.arange(vocabulary, dtype="int32")
        k = ops.where(top_k > 0, top_k, vocabulary)
        scaled = (descending - descending[:, :1]) / ops.maximum(temperature, 1e-30)
        weights = ops.where(rank < k, ops.exp(scaled), 0.0)  # the largest has 1
        before = ops.cumsum(weights, axis=-1) - weights  # of the larger ones
        enough = top_p * ops.sum(weights, axis=-1, keepdims=True)
        kept = ops.logical_and(rank < k, ops.logical_or(before < enough, ops.logical_or(top_p >= 1, rank < 1)))
        threshold = ops.min(ops.where(kept, descending, math.inf), axis=-1, keepdims=True)  # (batch, 1)
        return ops.where(logits < threshold, -math.inf, logits)

    some_go = ops.logical_or(ops.logical_and(top_k > 0, top_k < vocabulary), top_p < 1)
    return ops.cond(some_go, cut, lambda: logits)
