"""Decoder-only Transformer language model (GPT)."""

import keras
from keras import ops

from tfseq.layers.key_value_cache import advance, empty_cached_state, mask_of_steps
from tfseq.layers.layer_norm import LayerNormalization
from tfseq.layers.positions import PositionedEmbedding, rotary_or_added
from tfseq.layers.transformer import TransformerBlock, causal_mask
from tfseq.models.generator import Generator
from tfseq.models.hyperparameters import check_sizes


@keras.saving.register_keras_serializable(package="tfseq")
class TransformerLanguageModel(Generator):
    """P(x_t | x_<t) by causal self-attention over x_<t: the decoder of GPT (Radford et al., 2018 and 2019).

    Args:
        vocabulary_size: number of tokens in the vocabulary.
        units: width of the model, a multiple of `heads`.
        heads: of each attention.
        hidden: width of the feed-forward networks; None for 4 units.
        depth: number of blocks.
        dropout: rate on embeddings and on what each layer adds.
        positions: "learned", of up to `max_positions`; "sinusoidal"; or "rotary" (RoPE), on queries and keys.
        window: positions in the sliding attention window, a token's own included (Beltagy et al., 2020); None for all.
            With rotary positions, which are relative, a text may then be longer than the training sequences.
        activation: of the feed-forward networks.
        tied: whether the logits take the embedding matrix, transposed (weight tying).
        end: id of the token that ends a text; None where only the maximum length ends it.

    Call arguments:
        tokens: (batch, time) int32.

    Returns:
        next-token logits at each position, (batch, time, vocabulary) float32.

    Raises:
        ValueError: hyper-parameters that can't be.
    """

    def __init__(
        self,
        vocabulary_size,
        units=256,
        heads=4,
        hidden=None,
        depth=4,
        dropout=0.0,
        positions="learned",
        max_positions=512,
        window=None,
        activation="gelu",
        tied=True,
        end=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        rotary, added = rotary_or_added(positions)
        hidden = 4 * units if hidden is None else hidden
        sizes = {"vocabulary_size": vocabulary_size, "units": units, "heads": heads, "hidden": hidden, "depth": depth}
        check_sizes(**sizes, **({} if window is None else {"window": window}))
        self.vocabulary_size, self.end = vocabulary_size, end
        self.units, self.heads, self.window = units, heads, window
        self.settings = {
            "vocabulary_size": vocabulary_size,
            "units": units,
            "heads": heads,
            "hidden": hidden,
            "depth": depth,
            "dropout": dropout,
            "positions": positions,
            "max_positions": max_positions,
            "window": window,
            "activation": activation,
            "tied": tied,
            "end": end,
        }
        policy = {"dtype": self.dtype_policy}
        self.max_positions = max_positions if positions == "learned" else None
        self.embedding = PositionedEmbedding(
            vocabulary_size, units, added, max_positions, tied, dropout, name="embedding", **policy
        )
        block = {"dropout": dropout, "norm": "pre", "activation": activation, "rotary": rotary, "window": window}
        block |= policy
        self.blocks = [TransformerBlock(units, heads, hidden, name=f"block_{i + 1}", **block) for i in range(depth)]
        self.norm: keras.layers.Layer = LayerNormalization(name="norm", **policy)

    def build(self, input_shape=None):
        for layer in (self.embedding, *self.blocks, self.norm):
            layer.build((None, None, self.units))
        self.built = True

    def call(self, tokens, training=False):
        x = self.embedding(tokens, training=training)  # (batch, time, units)
        mask = causal_mask(ops.shape(x)[1], self.window)
        for block in self.blocks:
            x = block(x, mask, training=training)
        return self.embedding.logits(self.norm(x))

    def initial_state(self, memory, batch_size):
        head_dim = self.units // self.heads
        return empty_cached_state(len(self.blocks), batch_size, self.heads, head_dim, self.compute_dtype)

    def step(self, tokens, state, memory=()):
        logits, state, _ = self.step_with_hidden(tokens, state)
        return logits, state

    def step_with_hidden(self, tokens, state, memory=()):
        position, state = state.position, advance(state)
        x = self.embedding(tokens, position)  # (rows, units)
        caches = []
        for block, cache in zip(self.blocks, state.caches):
            x, cache = block.step(x, cache, state)
            caches.append(cache)
        x = self.norm(x)
        return self.embedding.logits(x), state._replace(caches=tuple(caches)), x

    def read(self, tokens, state, memory=()):
        time, first = ops.shape(tokens)[1], state.position
        state = advance(state, time)
        mask = mask_of_steps(state, time, self.window)
        x = self.embedding(tokens, first + ops.arange(time, dtype="int32"))  # (batch, time, units)
        caches = []
        for block, cache in zip(self.blocks, state.caches):
            x, cache = block.read(x, cache, state, mask)
            caches.append(cache)
        return self.embedding.logits(self.norm(x[:, -1])), state._replace(caches=tuple(caches))

    def get_config(self):
        return super().get_config() | self.settings
