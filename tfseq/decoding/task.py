"""`Task`, the inputs of one decoding call as the loop takes them: prompts, encoded sources, settings, limits."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from keras import ops

from tfseq.decoding.context import Context
from tfseq.decoding.strategy import Strategy
from tfseq.layers import loops
from tfseq.models.generator import Generator

# What can be kept of each step, (rows, width) float32: attention over the source, and logits before the rules.
KEPT = ("attention", "logits")


@dataclass(frozen=True)
class Task:
    """The inputs of one decoding call, the same for every strategy.

    Attributes:
        model: the generator.
        memory: the encoded sources, as `Generator.encode` returns them.
        settings: name -> scalar tensor.
        batch: number of rows, () int32.
        given: prompt tokens, (steps, batch) int32, -1 where a row reads its own choice; None if that is always so.
        first: the step that chooses a row's first new token, (batch,) int32; None where it is step 0.
        steps: at most, () int32.
        prefix: what every row's prompt has at least, (batch, time) int32: step 0 reads it at once, and so its last
            token is the one that `given` has for that step; None where step 0 reads one token as the others do.
        before: tokens that a row has read before the one that step 0 has for it, () int32.
        max_length: new tokens of a row, at most, () int32.
        kept: what to keep of each step, the names of `KEPT`.
        hidden: whether the strategy sees hidden states.
    """

    model: Generator
    memory: Any
    settings: Mapping[str, Any]
    batch: Any
    given: Any
    first: Any
    steps: Any
    max_length: Any
    kept: frozenset[str]
    prefix: Any = None
    before: Any = 0
    hidden: bool = False

    @property
    def positions(self):
        """In its sequence, of the token that each step chooses, (steps,) int32."""
        return self.before + ops.arange(1, self.steps + 1, dtype="int32")

    def first_tokens(self, rows):
        """What rows would read at step 0 if nothing is given, (rows,) int32."""
        return ops.full((rows,), self.model.start or 0, "int32")

    def read(self, step, chosen):
        """The tokens that rows read at a step, after they chose `chosen` (rows,) int32."""
        if self.given is None:
            return chosen
        given = loops.take_rows(self.given, step)
        return ops.where(given < 0, chosen, given)

    def index(self, step):
        """New tokens before a step, () or (batch,) int32; negative while a row reads its prompt."""
        return step if self.first is None else step - self.first

    def step(self, tokens, state):
        """Logits, state, what is kept of the step, by name, and the hidden state or (), after `tokens`."""
        weights, hidden = None, ()
        if self.hidden:
            logits, state, hidden = self.model.step_with_hidden(tokens, state, self.memory)
        elif "attention" in self.kept:
            logits, state, weights = self.model.step_with_attention(tokens, state, self.memory)
        else:
            logits, state = self.model.step(tokens, state, self.memory)
        made = {"attention": weights, "logits": logits}
        return logits, state, {name: made[name] for name in self.kept_dtypes}, hidden

    def read_prefix(self, state):
        """What `step` returns, of step 0 where it reads the prefix."""
        logits, state = self.model.read(self.prefix, state, self.memory)
        return logits, state, {"logits": logits} if self.kept else {}, ()

    def context(self, step, strategy, tokens, logits, state, hidden, prepared=()):
        """What the strategy sees at a step, of the model's logits, before the rules."""
        given = {"step": step, "max_length": self.max_length, "state": state, "memory": self.memory}
        given |= {"prepared": prepared, "hidden": hidden if self.hidden else None}
        return Context(self.model, strategy, self.settings, logits, tokens, self.index(step), **given)

    @property
    def kept_dtypes(self):
        """Of what is kept of a step, by name, in one order."""
        return {name: "float32" for name in KEPT if name in self.kept}


def task_of(model: Generator, strategy: Strategy, inputs: Mapping[str, Any], kept: Collection[str] = ()) -> Task:
    """Encodes the sources, and lays out the prompts; arguments as for `decode`.

    To an encoder-decoder, a prompt is what it is to a language model, with the start token as its first.
    """
    settings = {name: inputs[name] for name in strategy.dtypes(model)}
    max_length = inputs["max_length"]
    if model.start is None:
        prompt, prompt_length = inputs["prompt"], inputs["prompt_length"]
        batch, memory = ops.shape(prompt)[0], model.encode()
    else:
        sources = {spec.name: inputs[spec.name] for spec in model.sources}
        batch = ops.shape(next(iter(sources.values())))[0]
        memory = model.encode(sources if len(sources) > 1 else next(iter(sources.values())))
        if "prompt_length" not in inputs:
            steps = loops.number(max_length)
            kept = frozenset(kept)
            return Task(
                model, memory, settings, batch, None, None, steps, max_length, kept, hidden=strategy.sees_hidden
            )
        start = ops.full((batch, 1), model.start, "int32")
        prompt, prompt_length = ops.concatenate([start, inputs["prompt"]], axis=1), inputs["prompt_length"] + 1
    width, prefix, before = ops.shape(prompt)[1], None, 0
    if model.reads_at_once and "attention" not in kept and not strategy.sees_hidden:
        shortest = loops.number(ops.min(prompt_length))
        prefix, before = prompt[:, :shortest], shortest - 1
    steps = loops.number(ops.max(prompt_length) + max_length - 1 - before)
    times = before + ops.arange(steps, dtype="int32")
    given = loops.take_rows(ops.transpose(prompt), ops.minimum(times, width - 1))
    given = ops.where(ops.expand_dims(times, 1) < prompt_length, given, -1)  # (steps, batch)
    first, kept = prompt_length - 1 - before, frozenset(kept)
    hidden = strategy.sees_hidden
    return Task(model, memory, settings, batch, given, first, steps, max_length, kept, prefix, before, hidden)


def kept_of_rows(kept, where, inside):
    """What was kept of the steps as rows have it, by name, (batch, new_time, width); 0 where a row has no token.

    Args:
        kept: by name, (steps, rows, width).
        where: which of steps * rows each token came from, (batch, new_time).
        inside: True where a row has a token, (batch, new_time).
    """
    inside = ops.expand_dims(inside, 2)

    def of_rows(x):
        return ops.where(inside, loops.take_rows(ops.reshape(x, (-1, ops.shape(x)[2])), where), 0.0)

    return {name: of_rows(x) for name, x in kept.items()}
