"""`Context`, what a strategy and its rules see when they choose a token, and `History`, the tokens read so far."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from keras import ops

from tfseq.layers.key_value_cache import fixed_steps, widen
from tfseq.layers.loops import take_rows
from tfseq.models.generator import Generator


class Choice(NamedTuple):
    """What `Strategy.choose` returns.

    Attributes:
        tokens: of each row, (rows,) int32.
        log_probabilities: theirs under the logits, (rows,) float32; None has the loop compute them.
        own: the strategy's own state after it, a pytree like `Context.own`.
    """

    tokens: Any
    log_probabilities: Any = None
    own: Any = ()


class History(NamedTuple):
    """The tokens that rows have read, the last one first.

    Attributes:
        tokens: (rows, time) int32; -1 behind the first one where there is room for more.
    """

    tokens: Any

    @property
    def growing_axis(self) -> int:
        """See `tfseq.layers.loops.while_loop`."""
        return 1


@dataclass(frozen=True)
class Context:
    """One decode step, as a strategy and its rules see it.

    Attributes:
        model: the generator.
        strategy: that decodes it.
        settings: name -> scalar tensor, those that `strategy.dtypes(model)` names.
        logits: of the next token, (rows, vocabulary) float32; those of the model, and then as each rule leaves them.
        tokens: that the rows have just read, (rows,) int32.
        index: new tokens so far, () or (rows,) int32; negative while a row reads its prompt.
        step: of the loop, () int32.
        max_length: new tokens of a row, at most, () int32; in a graph of one step None, unless
            it is seen (`sees_max_length`).
        state, memory: the model's, after it read `tokens`.
        prepared: what `strategy.prepare` returned.
        own: the strategy's own state.
        history: the tokens read so far, `tokens` first, (rows, time) int32, -1 behind the row's first one; of a
            strategy or rule with `sees_history`.
        hidden: what the logits were made of, (rows, units); of a strategy with `sees_hidden`.
        model_logits: `logits` before any rule.
    """

    model: Generator
    strategy: Any
    settings: Mapping[str, Any]
    logits: Any
    tokens: Any
    index: Any
    step: Any = 0
    max_length: Any = None
    state: Any = ()
    memory: Any = ()
    prepared: Any = ()
    own: Any = ()
    history: Any = None
    hidden: Any = None
    model_logits: Any = None

    def ahead(self, candidates: Any) -> tuple[Any, Any]:
        """What the model would say after each of several candidates: a step of each, with the state as it is.

        Args:
            candidates: (rows, k) int32, k known.

        Returns:
            logits (rows, k, vocabulary) float32; and hidden (rows, k, units) of a strategy with `sees_hidden`, or None.
        """
        k = candidates.shape[1]
        memory = self.memory if self.model.shares_memory else widen(self.memory, k)
        arguments = ops.reshape(candidates, (-1,)), widen(self.state, k), memory
        hidden = None
        if self.strategy.sees_hidden:
            logits, _, hidden = self.model.step_with_hidden(*arguments)
            hidden = ops.reshape(hidden, (-1, k, hidden.shape[-1]))
        else:
            logits, _ = self.model.step(*arguments)
        return ops.reshape(logits, (-1, k, logits.shape[-1])), hidden


def log_probabilities(logits: Any, tokens: Any) -> Any:
    """Of tokens (rows,) under logits (rows, vocabulary): (rows,) float32."""
    starts = ops.arange(ops.shape(logits)[0], dtype="int32") * logits.shape[1]
    return take_rows(ops.reshape(ops.log_softmax(logits), (-1,)), starts + tokens)


def empty_history(rows: Any) -> History:
    return History(ops.full((rows, fixed_steps() or 0), -1, "int32"))


def read_on(history: History, tokens: Any) -> History:
    """The history after tokens (rows, time)."""
    read = ops.concatenate([ops.flip(tokens, axis=1), history.tokens], axis=1)
    return History(read if fixed_steps() is None else read[:, : fixed_steps()])
