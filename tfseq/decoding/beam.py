"""Beam search: the settings `Beam`, and the loop that keeps the most likely hypotheses of each row."""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from keras import ops

from tfseq.decoding.settings import is_number, require_integer, setting
from tfseq.decoding.strategy import Strategy
from tfseq.decoding.task import Task, kept_of_rows
from tfseq.errors import InputError
from tfseq.layers import loops
from tfseq.layers.key_value_cache import reorder, widen


@dataclass(frozen=True)
class Beam(Strategy):
    """Searches for the most likely sequence: at each decode step the `width` most likely hypotheses go on.

    A sequence of n tokens, its end among them, scores its log-probability divided by ((5 + n) / 6) ** length_penalty
    (Wu et al., 2016, "Google's neural machine translation system", eq. 14). Of the 2 * width most likely continuations
    of a step (of (1 + n) * width where n tokens end a sequence), those that end compete for the result, and the best
    `width` others go on. Between equals the lower beam and token id win.

    A row is done when no beam of its can get a better score than its best finished hypothesis has, or when
    patience * width hypotheses have finished among the `width` most likely of their steps (Kasai et al., 2022, "A call
    for clarity in beam search", whose patience factor of 1 is what most libraries do).

    Args:
        width: beams per row, the beam size. It is fixed in an exported graph.
        length_penalty: 0 compares log-probabilities, which favours short sequences; 1 is close to the mean per token.
        patience: inf goes on for as long as a better sequence could be found, which with a length penalty and a large
            max_length is long. It is fixed in an exported graph.
        min_length, repetition_penalty, forbidden, rules: see `Strategy`.

    Raises:
        InputError: a value is out of range.
    """

    width: int = 4
    length_penalty: float = setting(
        1.0,
        "0 favours short texts, 1 or more longer ones",
        neutral=0.0,
        hint="0: none",
        tried=(1.0, 0.6, 0.0, 2.0, -0.5),
    )
    patience: float = 1.0

    token_by_token: ClassVar[bool] = False

    def __post_init__(self):
        super().__post_init__()
        require_integer("width", self.width, 1)
        if not is_number(self.patience) or not self.patience > 0:
            raise InputError(
                f"patience is {self.patience!r}; expected a number above 0 (inf: until nothing is better)."
            )

    def decode(self, task):
        return beam_search(task, self)


def beam_search(task: Task, beam: Beam) -> dict[str, Any]:
    """The best hypothesis of each row; returns what `decode` does. The loop has batch * width rows, batch-major."""
    model, width, vocabulary = task.model, beam.width, task.model.vocabulary_size
    wide = _widened(task, width)
    candidates = min((1 + len(model.ends)) * width, width * vocabulary)
    first_in_row = ops.expand_dims(ops.arange(task.batch, dtype="int32") * candidates, 1)  # (batch, 1)
    one_beam = np.where(np.arange(width) == 0, 0, -np.inf).astype("float32")  # all beams are the same before they part
    first_beam = ops.expand_dims(ops.arange(task.batch, dtype="int32") * width, 1)  # (batch, 1)
    exponent = task.settings["length_penalty"]
    least_penalty = _penalty(task.max_length, exponent)
    counts = bool(model.ends) and beam.patience < math.inf
    enough = math.ceil(beam.patience * width) if counts else 0

    def body(step, carry):
        chosen, alive, best, ended, rules_state, state = carry
        tokens = wide.read(step, chosen)
        return go_on(step, tokens, alive, best, ended, rules_state, *wide.step(tokens, state))

    def go_on(step, tokens, alive, best, ended, rules_state, logits, state, kept_of_step, hidden):
        context, rules_state = beam.apply_rules(wide.context(step, beam, tokens, logits, state, hidden), rules_state)
        total = ops.log_softmax(context.logits) + ops.reshape(alive, (-1, 1))
        scores, picks = ops.top_k(ops.reshape(total, (-1, width * vocabulary)), candidates)  # (batch, candidates)

        index = _column(task.index(step))  # () or (batch, 1)
        ends = index >= task.max_length - 1
        if model.ends:
            ends = ops.logical_or(ends, model.is_end(picks % vocabulary))
        if task.first is not None:
            ends, index = ops.logical_and(ends, index >= 0), ops.maximum(index, 0)
        penalty = _penalty(index + 1, exponent)
        best = _better(best, step, scores, picks, ends, penalty, first_in_row)
        if counts:
            finished = ops.logical_and(ends, scores > -math.inf)[:, :width]
            ended += ops.sum(ops.cast(finished, "int32"), axis=1, keepdims=True)

        scores, kept = ops.top_k(ops.where(ends, -math.inf, scores), width)
        picks = loops.take_rows(ops.reshape(picks, (-1,)), first_in_row + kept)  # (batch, width)
        reachable = scores[:, :1] / ops.where(exponent < 0, penalty, least_penalty)
        done = best[0] >= reachable
        if counts:
            done = ops.logical_or(done, ended >= enough)
        alive = ops.where(done, -math.inf, scores)
        if task.first is not None:
            alive = ops.where(_column(task.index(step)) < 0, one_beam, alive)
        if width > 1:
            rules_state, state = reorder((rules_state, state), picks // vocabulary, first_beam)
        return (ops.reshape(picks % vocabulary, (-1,)), alive, best, ended, rules_state, state), (picks, kept_of_step)

    zeros = ops.zeros((task.batch, 1), "int32")
    tokens, steps, first = wide.first_tokens(wide.batch), task.steps, None
    alive = ops.convert_to_tensor(one_beam) + ops.zeros((task.batch, 1))
    best = ops.full((task.batch, 1), -math.inf), zeros, zeros
    ended = zeros if counts else ()
    rules_state = widen(beam.first_rules_state(model, task.batch, task.prefix), width)
    state = model.initial_state(task.memory, task.batch)
    if task.prefix is None:
        carry = (tokens, alive, best, ended, rules_state, widen(state, width))
    else:  # by one beam, as all have read the same
        read = widen(task.read_prefix(state), width)
        carry, first = go_on(0, wide.read(0, tokens), alive, best, ended, rules_state, *read)
        steps = steps - 1
    carry, (picks, kept) = loops.while_loop(
        lambda carry: ops.max(carry[1]) > -math.inf, body, carry, steps, ("int32", task.kept_dtypes), first
    )
    return _backtracked(task, width, carry[2], picks, kept)


def _widened(task, width):
    def repeated(x, axis):
        return None if x is None else ops.repeat(x, width, axis=axis)

    return replace(
        task,
        memory=task.memory if task.model.shares_memory else widen(task.memory, width),
        batch=task.batch * width,
        given=repeated(task.given, 1),
        first=repeated(task.first, 0),
    )


def _column(index):
    return ops.expand_dims(index, 1) if len(index.shape) else index


def _penalty(n, exponent):
    """What the log-probability of n tokens is divided by."""
    return ((5.0 + ops.cast(n, "float32")) / 6.0) ** exponent


def _better(best, step, scores, picks, ends, penalty, first_in_row):
    """The best finished hypothesis so far, or of this step: its score, its last pick and step, (batch, 1) each."""
    score, which = ops.top_k(ops.where(ends, scores, -math.inf), 1)
    score = score / penalty
    better = score > best[0]
    pick = loops.take_rows(ops.reshape(picks, (-1,)), first_in_row + which)
    return ops.where(better, score, best[0]), ops.where(better, pick, best[1]), ops.where(better, step, best[2])


def _backtracked(task, width, best, picks, kept):
    """The best hypotheses, from their last tokens back to their first.

    Args:
        best: score, pick and step of the last token, (batch, 1) each; a pick is beam * vocabulary + token id.
        picks: (steps, batch, width); each beam's token, and the beam of the step before that it goes on from.
        kept: of each step, by name, (steps, batch * width, ...).
    """
    vocabulary = task.model.vocabulary_size
    score, last_pick, last_step = best
    rows = task.batch * width
    row = ops.expand_dims(ops.arange(task.batch, dtype="int32") * width, 1)  # (batch, 1), of a row's first beam
    step = ops.reshape(ops.arange(ops.shape(picks)[0], dtype="int32"), (-1, 1, 1))
    read = ops.reshape(step * rows + row + picks // vocabulary, (-1,))  # which of all rows read at a step led to a pick
    before = ops.maximum(read - rows, 0)  # the pick that this row read: one step earlier
    last_read = last_step * rows + row + last_pick // vocabulary

    n = last_step + 1 - (0 if task.first is None else ops.expand_dims(task.first, 1))  # (batch, 1) tokens, end and all
    pointer = ops.maximum(last_read - rows, 0)
    steps = loops.number(ops.maximum(ops.max(n) - 1, 1))
    _, trail = loops.while_loop(
        lambda _: True, lambda _, pointer: (loops.take_rows(before, pointer), pointer), pointer, steps, "int32"
    )  # (steps, batch, 1): the last pick but one, the one before, ...

    last_token = last_pick % vocabulary
    lengths = n - ops.cast(task.model.is_end(last_token), "int32") if task.model.ends else n
    column = ops.arange(ops.max(lengths), dtype="int32")
    back = ops.clip(n - 2 - column, 0, steps - 1)  # (batch, new_time)
    trail = loops.take_rows(ops.reshape(trail, (-1,)), back * task.batch + row // width)
    earlier = loops.take_rows(ops.reshape(picks % vocabulary, (-1,)), trail)
    is_last = ops.equal(column, n - 1)
    tokens = ops.where(column < lengths, ops.where(is_last, last_token, earlier), 0)
    outputs = {"tokens": tokens, "lengths": lengths[:, 0], "scores": score[:, 0]}
    if kept:
        outputs |= kept_of_rows(kept, ops.where(is_last, last_read, loops.take_rows(read, trail)), column < lengths)
    return outputs
