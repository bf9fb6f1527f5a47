"""Sampling with temperature, top-k, top-p (nucleus) and min-p, by the Gumbel-max trick."""

import math
from dataclasses import dataclass

from keras import ops

from tfseq.decoding.context import Choice
from tfseq.decoding.random import draw_bits, draw_keys, gumbel
from tfseq.decoding.settings import setting
from tfseq.decoding.strategy import Strategy
from tfseq.layers.loops import take_rows


@dataclass(frozen=True)
class Sample(Strategy):
    """Draws each token from softmax(logits / temperature), cut to the most likely tokens by top-k, top-p and
    min-p.

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
        min_p: keeps the tokens whose probability is at least `min_p` times that of the most likely one (Nguyen et al.,
            2024, "Turning up the heat: min-p sampling"), as temperature leaves them; 0 keeps all, and then an exported
            graph has no such setting.
        min_length, repetition_penalty, forbidden, rules: see `Strategy`.

    Raises:
        InputError: a value is out of range.
    """

    temperature: float = setting(
        1.0,
        "0 takes the most likely token, 1 samples from the model's distribution, more flattens it",
        neutral=1.0,
        low=0,
        hint="0 is greedy",
        tried=(1.0, 0.0, 0.5, 0.8, 1.5),
    )
    top_k: int = setting(0, "keeps the k most likely tokens; 0 all", neutral=0, low=0, tried=(0, 0, 2, 5, 1_000_000))
    top_p: float = setting(
        1.0,
        "keeps the most likely tokens that together have this probability",
        neutral=1.0,
        low=0,
        high=1,
        above=True,
        hint="1 keeps every token",
        tried=(1.0, 1.0, 0.9, 0.5),
    )
    seed: int = setting(0, "the same seed gives the same text", neutral=0)
    min_p: float = setting(
        0.0,
        "keeps the tokens at least this many times as likely as the most likely one",
        neutral=0.0,
        low=0,
        high=1,
        optional=True,
        hint="0 keeps every token",
        tried=(0.05, 0.3, 1.0),
    )

    def prepare(self, settings, rows, vocabulary_size, positions):
        """The keys of the random numbers, (steps, rows, 1), and where each row starts in rows * vocabulary."""
        rows = ops.arange(rows, dtype="int32")
        return draw_keys(settings["seed"], rows, positions), rows * vocabulary_size

    def choose(self, context):
        keys, starts = context.prepared
        _, tokens = ops.top_k(self.scores(context.logits, take_rows(keys, context.step), context.settings), 1)
        tokens = ops.reshape(tokens, (-1,))
        return Choice(tokens, take_rows(ops.reshape(ops.log_softmax(context.logits), (-1,)), starts + tokens))

    def scores(self, logits, keys, settings):
        """Logits with noise, -inf where `keep` cuts: the token with the highest score is chosen.

        Args:
            logits: (rows, vocabulary) float32.
            keys: of the random numbers at this step, (rows, 1) uint32; see `draw_keys`.
            settings: name -> scalar tensor.

        Returns:
            (rows, vocabulary) float32.
        """
        noise = gumbel(draw_bits(keys, logits.shape[-1]))
        return self.keep(logits, settings) + (settings["temperature"] * noise)

    def keep(self, logits, settings):
        """Logits, (rows, vocabulary) float32, with -inf in the place of those that are not drawn from.

        What a subclass overrides to cut the distribution otherwise; each row has to keep its most likely token.
        """
        kept = filter_top_k_top_p(logits, **{name: settings[name] for name in ("temperature", "top_k", "top_p")})
        return filter_min_p(kept, settings["temperature"], settings["min_p"]) if "min_p" in settings else kept


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


def filter_min_p(logits, temperature, min_p):
    """Logits with the tokens at -inf whose probability is below `min_p` times that of the row's most likely one.

    Args:
        logits: (rows, vocabulary) float32; divided by `temperature` before probabilities are compared.
        temperature, min_p: () float32; `min_p` from 0, which keeps all, to 1.
    """
    best = ops.max(logits, axis=-1, keepdims=True)
    margin = ops.where(min_p > 0, -ops.log(ops.maximum(min_p, 1e-30)) * temperature, math.inf)
    return ops.where(logits < best - margin, -math.inf, logits)
