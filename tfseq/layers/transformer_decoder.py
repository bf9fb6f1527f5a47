"""`TransformerDecoder`: a stack of decoder blocks, over a whole sequence or one decode step at a time."""

import keras
from keras import ops

from tfseq.layers.key_value_cache import advance, empty_cached_state
from tfseq.layers.layer_norm import LayerNormalization
from tfseq.layers.transformer import DecoderBlock, causal_mask


@keras.saving.register_keras_serializable(package="tfseq")
class TransformerDecoder(keras.layers.Layer):
    """Causal self-attention, cross-attention and a feed-forward network, `depth` times (Vaswani et al., 2017).

    Args:
        units: width of the sequence and of the memory, a multiple of `heads`.
        heads: of each attention.
        hidden: width of the feed-forward networks.
        depth: number of blocks.
        dropout: rate on what each layer adds.
        norm: "pre" or "post", see `tfseq.layers.transformer.Residual`.
        activation: of the feed-forward networks.
        rotary: of both attentions, see `tfseq.layers.transformer.DecoderBlock`.

    Call arguments:
        x: (batch, time, units), positions added.
        memory: as `remember` returned it.

    Returns:
        states, (batch, time, units), normalized.

    Raises:
        ValueError: hyper-parameters that can't be.
    """

    def __init__(self, units, heads, hidden, depth, dropout=0.0, norm="pre", activation="relu", rotary=False, **kwargs):
        super().__init__(**kwargs)
        self.units, self.heads, self.norm = units, heads, norm
        self.settings = {
            "units": units,
            "heads": heads,
            "hidden": hidden,
            "depth": depth,
            "dropout": dropout,
            "norm": norm,
            "activation": activation,
            "rotary": rotary,
        }
        policy = {"dtype": self.dtype_policy}
        block = (units, heads, hidden, dropout, norm, activation, rotary)
        self.blocks = [DecoderBlock(*block, name=f"block_{i + 1}", **policy) for i in range(depth)]
        if norm == "pre":  # whose last sum is not normalized yet
            self.last_norm: keras.layers.Layer = LayerNormalization(name="last_norm", **policy)

    def build(self, input_shape=None):
        for layer in (*self.blocks, *([self.last_norm] if self.norm == "pre" else [])):
            layer.build((None, None, self.units))

    def remember(self, memory, mask=None, training=False):
        """The memory: keys and values of each block, (batch, heads, places, head_dim) each, and the mask."""
        mask = {} if mask is None else {"mask": mask[:, None, None]}  # (batch, 1, 1, places)
        return {"keys_values": tuple(block.cross_attention.project(memory, training) for block in self.blocks)} | mask

    def call(self, x, memory, training=False):
        mask = causal_mask(ops.shape(x)[1])
        for block, keys_values in zip(self.blocks, memory["keys_values"]):
            x, _ = block(x, keys_values, mask, memory.get("mask"), training=training)
        return self._normalized(x)

    def initial_state(self, batch_size):
        """An empty KV cache, a `CachedState`."""
        return empty_cached_state(
            len(self.blocks), batch_size, self.heads, self.units // self.heads, self.compute_dtype
        )

    def step(self, x, state, memory):
        """One decode step: x (rows, units) -> (rows, units), the new state, and cross-attention weights.

        The latter are the last block's, the mean of its heads, (rows, places) float32.
        """
        state, caches = advance(state), []
        for block, cache, keys_values in zip(self.blocks, state.caches, memory["keys_values"]):
            x, cache, weights = block.step(x, cache, state, keys_values, memory.get("mask"))
            caches.append(cache)
        weights = ops.mean(weights, axis=1)  # (batch, width, places)
        weights = ops.reshape(weights, (-1, ops.shape(weights)[-1]))
        return self._normalized(x), state._replace(caches=tuple(caches)), weights

    def _normalized(self, x):
        return self.last_norm(x) if self.norm == "pre" else x

    def get_config(self):
        return super().get_config() | self.settings
