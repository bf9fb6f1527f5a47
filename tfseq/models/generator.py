"""`Generator`, the protocol of models that generate: trained in parallel (`call`), decoded by token (`step`)."""

from collections.abc import Sequence
from functools import reduce

import keras
from keras import ops

PROTOCOL = ("call", "encode", "initial_state", "step", "read", "step_with_attention")  # a Generator's methods


class Generator(keras.Model):
    """A model that is trained with `call` and generates with `step`.

    Decoding, export and streaming know these methods and nothing else. `call`, `step` and, where it is defined, `read`
    agree: the same tokens fed each way give the same logits at every position.

    A language model has no source and continues a prompt: `call(tokens)` takes (batch, time) int32. An encoder-decoder
    reads its sources with `encode` and begins with the token `start`, behind which it may read a prompt, too:
    `call({"source": ..., "target": ...})` takes its sources by name and the target, (batch, time) int32, which begins
    with `start`. Both return the next-token logits at each position, (batch, time, vocabulary) float32. Sources of
    token ids are padded on the right with 0.

    Attributes:
        vocabulary_size: number of tokens that `step` scores.
        start: id of the token that decoding begins with; None for a language model, which continues a prompt.
        end: id of the token that ends a sequence, or of several that do; None where only the maximum length ends it.
        sources: what `encode` reads: one `keras.InputSpec` each, with name, dtype and shape (batch, ...).
        max_positions: tokens that it reads at most, of a source, and of a prompt with its continuation; None: no limit.
        shares_memory: whether `step` takes batch * width tokens with the memory of batch sources, row r reading source
            r // width; False has decoding repeat the memory for each of the `width` beams.
        sampling_rate: of a model whose one source is sound, (batch, time) float32 padded on the right with 0: its
            samples for each second; None of others.
        notes: what whoever uses it has to know, a sentence each; they go into the manifest of its files.
    """

    vocabulary_size: int
    start: int | None = None
    end: int | Sequence[int] | None = None
    sources: tuple[keras.InputSpec, ...] = ()
    max_positions: int | None = None
    shares_memory: bool = False
    sampling_rate: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def ends(self) -> tuple[int, ...]:
        """Ids of the tokens that end a sequence; () where only the maximum length does."""
        if self.end is None:
            return ()
        return tuple(self.end) if isinstance(self.end, Sequence) else (self.end,)

    def is_end(self, tokens):
        """Whether tokens (...) end a sequence, (...) bool; of a model that has such tokens."""
        return reduce(ops.logical_or, [ops.equal(tokens, end) for end in self.ends])

    def encode(self, inputs=None):
        """Reads the source once: one tensor, or a dictionary by name where there are several.

        Returns:
            the memory, a pytree of tensors (batch, ...) that stays fixed while decoding: () for a language model.
        """
        return ()

    def initial_state(self, memory, batch_size):
        """The state before the first token: a pytree of tensors, (batch, ...) each; scalars in a KV cache.

        Steps keep its types and shapes. A part of it whose tensors grow, as a cache of all past positions does, is a
        `NamedTuple` with the attribute `growing_axis`: the axis along which each of its tensors grows, or a tuple of
        one axis for each, None for those that keep their shape. A growing axis starts with size 0.
        """
        raise self._incomplete("initial_state")

    def step(self, tokens, state, memory=()):
        """One decode step: reads one token per sequence.

        Args:
            tokens: ids of the tokens just read, (batch,) int32.
            state: as `initial_state` or the last `step` returned it.
            memory: as `encode` returned it.

        Returns:
            logits of the next token, (batch, vocabulary) float32, and the new state.
        """
        raise self._incomplete("step")

    def read(self, tokens, state, memory=()):
        """Several decode steps at once: reads a prompt in one parallel pass (the prefill). Optional.

        Without it a prompt is read token by token.

        Args:
            tokens: ids of the tokens just read, (batch, time) int32, time of at least 1.
            state: as `initial_state`, `step` or `read` returned it; of one beam.
            memory: as `encode` returned it.

        Returns:
            logits of the next token after the last of them, (batch, vocabulary) float32, and the new state: what `step`
            returns once it has read the tokens one by one.
        """
        raise TypeError(f"{type(self).__name__} does not define `read`: it reads a prompt token by token, with `step`.")

    @property
    def reads_at_once(self):
        """Whether `read` reads a prompt in one pass."""
        return type(self).read is not Generator.read

    def step_with_attention(self, tokens, state, memory=()):
        """`step` that also returns its attention weights over the source, (batch, source_time) float32. Optional."""
        raise TypeError(f"{type(self).__name__} does not define `step_with_attention`: it has no attention to return.")

    @property
    def has_attention(self):
        """Whether `step_with_attention` returns attention weights."""
        return type(self).step_with_attention is not Generator.step_with_attention

    def step_with_hidden(self, tokens, state, memory=()):
        """`step` that also returns what the logits are made of, (rows, units): for decoding strategies that look at
        hidden states. Optional."""
        raise TypeError(f"{type(self).__name__} does not define `step_with_hidden`: it shows no hidden states.")

    @property
    def has_hidden(self):
        """Whether `step_with_hidden` returns hidden states."""
        return type(self).step_with_hidden is not Generator.step_with_hidden

    def _incomplete(self, method):
        return TypeError(
            f"{type(self).__name__} does not define `{method}`, which a tfseq.models.Generator needs to decode. "
            "Define encode, initial_state and step."
        )
