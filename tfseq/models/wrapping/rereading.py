"""`Rereading`: generators without a cache, whose step runs a causal model over all tokens so far."""

from typing import Any, NamedTuple

from keras import ops

from tfseq.layers.key_value_cache import fixed_steps
from tfseq.models.generator import Generator


class TokenHistory(NamedTuple):
    """What rows have read so far.

    Attributes:
        tokens: (batch, time) int32, where time grows; or a buffer of fixed size, filled up with 0.
        count: of a buffer, how many of its tokens have been read, (batch,) int32, the same for all rows; else ().
    """

    tokens: Any
    count: Any

    @property
    def growing_axis(self) -> int | None:
        """See `Generator.initial_state`."""
        return 1 if isinstance(self.count, tuple) else None


class Rereading(Generator):
    """A generator over a causal model without a cache: each step reads all tokens so far, in one parallel pass.

    A sequence of n tokens costs n passes over up to n tokens, in place of n steps. A subclass defines `logits_of`.

    Attributes:
        length: of the sequences that the model takes, where that is fixed; shorter ones are padded with 0 on the right,
            which a causal model does not look at.
    """

    length: int | None = None

    def logits_of(self, tokens, memory):
        """Next-token logits at each position, (batch, time, vocabulary), of tokens (batch, time) int32."""
        raise NotImplementedError

    def initial_state(self, memory, batch_size):
        room = self.length or fixed_steps()
        count = () if room is None else ops.zeros((batch_size,), "int32")
        return TokenHistory(ops.zeros((batch_size, room or 0), "int32"), count)

    def step(self, tokens, state, memory=()):
        return self.read(tokens[:, None], state, memory)

    def read(self, tokens, state, memory=()):
        if isinstance(state.count, tuple):
            history = ops.concatenate([state.tokens, tokens], axis=1)
            return self.logits_of(history, memory)[:, -1], TokenHistory(history, ())
        begun, new = state.count[0], ops.shape(tokens)[1]
        index = ops.arange(state.tokens.shape[1], dtype="int32") - begun
        written = ops.take(tokens, ops.clip(index, 0, new - 1), axis=1)
        history = ops.where(ops.logical_and(index >= 0, index < new), written, state.tokens)
        last = ops.take(self.logits_of(history, memory), begun + new - 1, axis=1)
        return last, TokenHistory(history, state.count + new)

    def logits_at_each(self, tokens, memory):
        """`logits_of` sequences of any length up to the model's own."""
        if self.length is None:
            return self.logits_of(tokens, memory)
        time = ops.shape(tokens)[1]
        zeros = ops.zeros((ops.shape(tokens)[0], self.length), tokens.dtype)
        return self.logits_of(ops.concatenate([tokens, zeros], axis=1)[:, : self.length], memory)[:, :time]
