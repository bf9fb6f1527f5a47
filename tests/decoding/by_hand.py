"""Reference decoding in NumPy: greedy, sampling and beam search, row by row, without a state or KV cache.

Nothing here is shared with `tfseq.decoding`. A model is a function of the tokens so far that returns logits.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Logits = Callable[[Sequence[int]], np.ndarray]


@dataclass(frozen=True)
class Rules:
    """Rules on the logits, see `tfseq.decoding.Strategy`."""

    end: int | tuple[int, ...] | None = None
    min_length: int = 0
    repetition_penalty: float = 1.0
    forbidden: tuple[int, ...] = ()
    no_repeat: int = 0  # tokens of a sequence that does not come twice; 0: any may
    allowed: Callable[[tuple[int, ...]], set[int]] | None = None  # after these new tokens; None: all

    @property
    def ends(self):
        return () if self.end is None else self.end if isinstance(self.end, tuple) else (self.end,)

    def apply(self, logits, read, index):
        logits = np.array(logits, "float64")
        for token in set(read):
            logits[token] *= 1 / self.repetition_penalty if logits[token] > 0 else self.repetition_penalty
        for token in self.forbidden:
            logits[token] = -np.inf
        if index < self.min_length:
            for end in self.ends:
                logits[end] = -np.inf
        for barred in self._ways_to_repeat(read):
            logits[barred] = -np.inf
        if self.allowed is not None:
            new = tuple(read[len(read) - index :])
            logits[[token for token in range(len(logits)) if token not in self.allowed(new)]] = -np.inf
        return logits

    def _ways_to_repeat(self, read):
        n = self.no_repeat
        grams = {tuple(read[i : i + n]) for i in range(len(read) - n + 1)} if n else set()
        return [gram[-1] for gram in grams if list(gram[:-1]) == list(read[len(read) - n + 1 :])]


def log_softmax(logits):
    shifted = logits - logits.max()
    return shifted - np.log(np.exp(shifted).sum())


def one_path(choose, logits_of: Logits, begun: Sequence[int], max_length: int, rules: Rules):
    """Tokens without the end, and their score. `choose` takes logits and the new token's position."""
    new: list[int] = []
    score = 0.0
    while len(new) < max_length:
        read = [*begun, *new]
        logits = rules.apply(logits_of(read), read, len(new))
        token = choose(logits, len(read))
        score += log_softmax(logits)[token]
        if token in rules.ends:
            break
        new.append(token)
    return new, score


def greedy(logits_of: Logits, begun: Sequence[int], max_length: int, rules: Rules):
    return one_path(lambda logits, _: int(np.argmax(logits)), logits_of, begun, max_length, rules)


def sample(logits_of, begun, max_length, rules, row, temperature=1.0, top_k=0, top_p=1.0, seed=0, min_p=0.0):
    """`row` is the row's index in its batch."""

    def choose(logits, position):
        kept = top_k_top_p(logits, temperature, top_k, top_p) & at_least(logits, temperature, min_p)
        noise = gumbel(seed, row, position, len(logits))
        return int(np.argmax(np.where(kept, logits, -np.inf) + temperature * noise))

    return one_path(choose, logits_of, begun, max_length, rules)


def top_k_top_p(logits, temperature=1.0, top_k=0, top_p=1.0):
    """Which tokens stay, as booleans: the k largest; of these the fewest largest whose probability reaches top_p."""
    logits = np.asarray(logits, "float64")
    kept = sorted(range(len(logits)), key=lambda token: -logits[token])[: top_k or None]
    if top_p < 1:
        weights = np.array([np.exp((logits[s] - logits[kept[0]]) / max(temperature, 1e-30)) for s in kept])
        reached = np.cumsum(weights / weights.sum())
        kept = kept[: 1 + int(np.argmax(reached >= top_p))]
    return np.isin(np.arange(len(logits)), kept)


def at_least(logits, temperature=1.0, min_p=0.0):
    """Which tokens have min_p times the probability of the most likely one, or more."""
    return np.exp((logits - np.max(logits)) / max(temperature, 1e-30)) >= min_p


def gumbel(seed, row, position, vocabulary_size):
    """The random numbers of `tfseq.decoding.random`, in unbounded integers."""
    stream = lowbias32(lowbias32(seed & 0xFFFFFFFF ^ 0x9E3779B9) ^ row)
    bits = np.array([lowbias32(lowbias32(stream ^ position) ^ lowbias32(token)) for token in range(vocabulary_size)])
    return -np.log(-np.log(((bits >> 9) + 0.5) * 2.0**-23))


def lowbias32(x: int) -> int:
    x ^= x >> 16
    x = x * 0x7FEB352D & 0xFFFFFFFF
    x ^= x >> 15
    x = x * 0x846CA68B & 0xFFFFFFFF
    return x ^ x >> 16


def penalty(n, length_penalty):
    """Wu et al., 2016, eq. 14."""
    return ((5 + n) / (5 + 1)) ** length_penalty


def beam(logits_of, begun, max_length, rules, width, length_penalty, patience=1.0):
    """Tokens without the end, their score, and the number of steps it took."""
    alive = [(0.0, [])]
    best, ended = (-np.inf, []), 0
    for n in range(1, max_length + 1):
        candidates = []
        for score, new in alive:
            read = [*begun, *new]
            log_p = log_softmax(rules.apply(logits_of(read), read, len(new)))
            candidates += [(score + p, [*new, token]) for token, p in enumerate(log_p) if p > -np.inf]
        candidates.sort(key=lambda candidate: -candidate[0])
        candidates = candidates[: (1 + len(rules.ends)) * width]
        alive = []
        for rank, (score, new) in enumerate(candidates):
            if new[-1] in rules.ends or n == max_length:
                ended += rank < width
                if score / penalty(n, length_penalty) > best[0]:
                    best = (score / penalty(n, length_penalty), new)
            else:
                alive.append((score, new))
        alive = alive[:width]
        if not alive or best[0] >= alive[0][0] / penalty(max_length if length_penalty >= 0 else n, length_penalty):
            break
        if ended >= patience * width:
            break
    score, new = best
    return (new[:-1] if new and new[-1] in rules.ends else new), score, n


def best_of_all(logits_of, begun, max_length, rules, length_penalty):
    """The best of every sequence there is: those that end, and those of max_length that don't."""
    tokens = range(len(logits_of(begun)))
    best = (-np.inf, [])
    for n in range(1, max_length + 1):
        for new in itertools.product(tokens, repeat=n):
            if rules.end in new[:-1] or (n < max_length and new[-1] != rules.end):
                continue
            score = 0.0
            for i, token in enumerate(new):
                read = [*begun, *new[:i]]
                score += log_softmax(rules.apply(logits_of(read), read, i))[token]
            if score / penalty(n, length_penalty) > best[0]:
                best = (score / penalty(n, length_penalty), list(new))
    score, new = best
    return (new[:-1] if new and new[-1] == rules.end else new), score
