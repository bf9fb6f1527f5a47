"""The generation loop: `decode`, the whole loop in one graph, and `decode_step`, one step for a loop outside of it.

The loop holds one copy of the model's `step`, which reads prompt tokens and generated ones of every row. As many tokens
as the shortest prompt has, a model that defines `read` reads at once, before the loop.
"""

import contextlib
from collections.abc import Collection, Mapping
from typing import Any

from keras import ops

from tfseq.decoding.context import Context
from tfseq.decoding.strategy import Strategy
from tfseq.decoding.task import Task, kept_of_rows, task_of
from tfseq.layers import loops
from tfseq.layers.key_value_cache import capacity
from tfseq.models.generator import Generator


def decode(
    model: Generator, strategy: Strategy, inputs: Mapping[str, Any], kept: Collection[str] = ()
) -> dict[str, Any]:
    """The loop that `generate` runs, and that SavedModel and ONNX graphs hold: tensors in and out, nothing checked.

    A row reads its prompt (an encoder-decoder its start token, then its prompt) while there is some and its own last
    choice after that, so the rows of a batch need neither equal lengths nor a second copy of `step`. A model that
    defines `read` reads as many tokens as the shortest prompt has at once: step 0, which is taken out of the loop.

    Args:
        model: a `tfseq.models.Generator`, built.
        strategy: the decoding strategy.
        inputs: by name the model's sources, if it reads any; `prompt` (batch, time) int32, padded on the right, and
            `prompt_length` (batch,) int32, which an encoder-decoder can do without, and whose rows have one token at
            least for a language model; `max_length` () int32 of at least 1; and the settings that
            `strategy.dtypes(model)` names, () each.
        kept: what else to return of each step: `attention`, `logits`.

    Returns:
        `tokens` (batch, new_time) int32, without the end and 0 after it, new_time the longest row's; `lengths` (batch,)
        int32; `scores` (batch,) float32, the log-probability of each row's new tokens and its end, under the model
        after the strategy's rules; and what is `kept`, 0 behind a row's tokens: `attention` (batch, new_time,
        source_time) float32, and `logits` (batch, new_time, vocabulary) float32, those of `step` that each token was
        chosen from.
    """
    task = task_of(model, strategy, inputs, kept)
    read = task.before + task.steps
    with capacity(read) if isinstance(read, int) else contextlib.nullcontext():
        return choose_each(task, strategy) if strategy.token_by_token else strategy.decode(task)


def decode_step(
    model: Generator, strategy: Strategy, tokens, position, index, rules_state, state, memory, settings, max_length=None
):
    """One decode step of `decode`, or several at once, for a loop outside of the graph.

    Args:
        tokens: ids of the tokens just read, (batch,) int32; or (batch, time), time of at least 1, which a model that
            defines `read` reads at once.
        position: in the sequence, of the first of them, from 0, () int32.
        index: new tokens so far, () int32; negative before the step that reads a prompt's last token.
        rules_state: `strategy.first_rules_state`, or what the last step returned.
        state, memory: as the model's `step` takes them.
        settings: name -> scalar tensor, those that `strategy.dtypes(model)` names.
        max_length: new tokens at most, () int32, of a strategy that `counts_tokens`.

    Returns:
        the next tokens (batch,) int32, their log-probabilities (batch,) float32, the new `rules_state`, and `state`.
    """
    at_once, hidden = len(tokens.shape) == 2, None
    if strategy.sees_hidden:
        logits, state, hidden = model.step_with_hidden(tokens, state, memory)
    else:
        logits, state = (model.read if at_once else model.step)(tokens, state, memory)
    if at_once:
        position = position + ops.shape(tokens)[1] - 1
        rules_state, tokens = strategy.note_read(rules_state, tokens), tokens[:, -1]
    positions = ops.reshape(position + 1, (1,))
    prepared = strategy.prepare(settings, ops.shape(tokens)[0], model.vocabulary_size, positions)
    given = {"state": state, "memory": memory, "prepared": prepared, "hidden": hidden, "max_length": max_length}
    context = Context(model, strategy, settings, logits, tokens, index, **given)
    chosen, log_prob, rules_state = strategy.chosen(*strategy.apply_rules(context, rules_state))
    return chosen, log_prob, rules_state, state


def choose_each(task: Task, strategy: Strategy) -> dict[str, Any]:
    """Decoding by a strategy's `choose`, one hypothesis per row; returns what `decode` does."""
    model = task.model
    prepared = strategy.prepare(task.settings, task.batch, model.vocabulary_size, task.positions)

    def body(step, carry):
        chosen, alive, rules_state, state = carry
        tokens = task.read(step, chosen)
        return choose_next(step, tokens, alive, rules_state, *task.step(tokens, state))

    def choose_next(step, tokens, alive, rules_state, logits, state, kept, hidden):
        context = task.context(step, strategy, tokens, logits, state, hidden, prepared)
        chosen, log_prob, rules_state = strategy.chosen(*strategy.apply_rules(context, rules_state))
        index = context.index
        if model.ends:
            ends = model.is_end(chosen)
            if task.first is not None:
                ends = ops.logical_or(ops.logical_and(ends, index >= 0), index >= task.max_length - 1)
            alive = ops.where(ends, 0, alive)
        return (chosen, alive, rules_state, state), (chosen, log_prob, kept)

    def some_go_on(carry):
        return ops.max(carry[1]) > 0 if model.ends else True

    tokens, steps, first = task.first_tokens(task.batch), task.steps, None
    alive = ops.ones((task.batch,), "int32") if model.ends else ()
    rules_state = strategy.first_rules_state(model, task.batch, task.prefix)
    state = model.initial_state(task.memory, task.batch)
    carry = (tokens, alive, rules_state, state)
    if task.prefix is not None:
        carry, first = choose_next(0, task.read(0, tokens), alive, rules_state, *task.read_prefix(state))
        steps = steps - 1
    dtypes = ("int32", "float32", task.kept_dtypes)
    _, (chosen, log_probs, kept) = loops.while_loop(some_go_on, body, carry, steps, dtypes, first)
    return _finished(task, chosen, log_probs, kept)


def _finished(task, chosen, log_probs, kept):
    """Cuts rows at their ends. Arguments are (steps, batch, ...), `kept` by name."""
    new = ops.minimum(task.max_length, ops.shape(chosen)[0]) if task.model.ends else task.max_length
    column = ops.arange(new, dtype="int32")
    rows = ops.expand_dims(ops.arange(task.batch, dtype="int32"), 1)
    steps = column if task.first is None else ops.expand_dims(task.first, 1) + column
    where = ops.minimum(steps, ops.shape(chosen)[0] - 1) * task.batch + rows  # (batch, new) in steps * batch

    def of_rows(x):
        return loops.take_rows(ops.reshape(x, (-1,)), where)  # (batch, new)

    chosen, log_probs = of_rows(chosen), of_rows(log_probs)
    if not task.model.ends:
        lengths = ops.zeros_like(rows[:, 0]) + new
        tokens = chosen
    else:
        lengths = ops.min(ops.where(task.model.is_end(chosen), column, new), axis=1)
        log_probs = ops.where(column <= ops.expand_dims(lengths, 1), log_probs, 0.0)
        longest = ops.max(lengths)
        column, chosen = column[:longest], chosen[:, :longest]
        tokens = ops.where(column < ops.expand_dims(lengths, 1), chosen, 0)
    outputs = {"tokens": tokens, "lengths": lengths, "scores": ops.sum(log_probs, axis=1)}
    where = where[:, : ops.shape(tokens)[1]]
    return outputs | kept_of_rows(kept, where, column < ops.expand_dims(lengths, 1))
