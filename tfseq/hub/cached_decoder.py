"""`CachedDecoder`, what encoder-decoders of KerasHub have in common as Generators: begun outputs, and two caches."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from tfseq.hub.key_value_views import GrowingState, PackedCache
from tfseq.models.generator import Generator


class CachedDecoder(Generator):
    """An encoder-decoder whose layers read and write caches of KerasHub's; subclasses say how its decoder is called.

    Its memory is a dictionary whose `entries` are the keys and values of the source.

    Attributes:
        begin: ids of the tokens that every output begins with, one at least; decoding begins with the last of them.
    """

    begin: tuple[int, ...]
    _own: PackedCache
    _cross: PackedCache

    def begin_with(self, begin: Sequence[int], end: Sequence[int], positions: int | None) -> None:
        """
        Args:
            end: ids of the tokens that end a text.
            positions: tokens that the decoder reads at most; None for any number.
        """
        self.begin, self.end = tuple(begin), tuple(end)
        *self._before, self.start = self.begin
        self.max_positions = None if positions is None else positions - len(self._before)

    def decoded(self, memory: Any, tokens: Any, own: Any, position: Any, cross: Any) -> tuple[Any, Any]:
        """The decoder, on tokens (batch, time) from a position on, with its two caches.

        Returns:
            logits of the next token, (batch, vocabulary), and the cache of its own tokens.
        """
        raise NotImplementedError

    def initial_state(self, memory: Any, batch_size: Any) -> GrowingState:
        state = self._own.empty(batch_size, more=len(self._before))
        return self.read(self.tokens_before(batch_size), state, memory)[1] if self._before else state

    def step(self, tokens: Any, state: GrowingState, memory: Any = ()) -> Any:
        return self.read(ops.expand_dims(tokens, 1), state, memory)

    def read(self, tokens: Any, state: GrowingState, memory: Any = ()) -> Any:
        cross = self._cross.read_only(memory["entries"])

        def run(own: Any) -> Any:
            logits, own = self.decoded(memory, tokens, own, state.position[0], cross)
            return ops.cast(logits, "float32"), own

        return self._own.extended(state, ops.shape(tokens)[1], run)

    def tokens_before(self, batch: Any) -> Any:
        """The tokens of `begin` that come before `start`, (batch, tokens) int32."""
        return ops.broadcast_to(ops.reshape(ops.cast(self._before, "int32"), (1, -1)), (batch, len(self._before)))
