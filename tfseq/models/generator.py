"""The protocol of everything that generates: one sequence model, trained in parallel, decoded step by step."""

import keras


class Generator(keras.Model):
    """A model that is trained with `call` and generates with `step`.

    Decoding, export and streaming know these three methods and nothing else. `call` and `step` agree: the same tokens
    fed both ways give the same logits at every position.

    Attributes:
        vocabulary_size: number of symbols that `step` scores.
    """

    vocabulary_size: int

    def encode(self, inputs=None):
        """Reads the source once. Returns the memory, a pytree that stays fixed: () for a language model."""
        return ()

    def initial_state(self, memory, batch_size):
        """The state before the first token: a pytree of tensors, (batch, ...) each."""
        raise self._incomplete("initial_state")

    def step(self, tokens, state, memory=()):
        """Reads one token per sequence.

        Args:
            tokens: symbols just read, (batch,) int32.
            state: as `initial_state` or the last `step` returned it.
            memory: as `encode` returned it.

        Returns:
            logits of the next symbol, (batch, vocabulary), and the new state.
        """
        raise self._incomplete("step")

    def _incomplete(self, method):
        return TypeError(
            f"{type(self).__name__} does not define `{method}`, which a tfseq.models.Generator needs to decode. "
            "Define encode, initial_state and step."
        )
