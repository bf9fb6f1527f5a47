"""Transformer layers: self- and cross-attention, feed-forward, residual connections, encoder and decoder blocks."""

import keras
from keras import ops

from tfseq.layers.attention import dot_product_attention, merge_heads, split_heads
from tfseq.layers.cpu_training import kernels, kernels_apply
from tfseq.layers.key_value_cache import attend, attend_at_once
from tfseq.layers.layer_norm import LayerNormalization
from tfseq.layers.positions import rotated

NORMS = ("pre", "post")


def causal_mask(time, window=None):
    """True where a position (row) attends, (1, 1, time, time): to itself and before, or the last `window` of these."""
    steps = ops.arange(time)
    back = ops.expand_dims(steps, 1) - ops.expand_dims(steps, 0)  # distance from a row back to a column
    seen = back >= 0 if window is None else ops.logical_and(back >= 0, back < window)
    return seen[None, None]


@keras.saving.register_keras_serializable(package="tfseq")
class SelfAttention(keras.layers.Layer):
    """Multi-head attention of a sequence over itself; queries, keys and values come from one product.

    Args:
        units: width of input and output.
        heads: number of heads, each units / heads wide.
        rotary: whether queries and keys have rotary positions (RoPE), see `rotated`.
        window: steps in the sliding attention window of `step`, its own included; None for all. `call` takes a mask.

    Call arguments:
        x: (batch, time, units).
        attention_mask: True where a position attends, broadcastable to (batch, heads, time, time).

    Raises:
        ValueError: `units` is not a multiple of `heads`, or with `rotary` not one of 2 heads.
    """

    def __init__(self, units, heads, rotary=False, window=None, **kwargs):
        super().__init__(**kwargs)
        check_heads(units, heads, rotary)
        self.units, self.heads, self.rotary, self.window = units, heads, rotary, window
        self.qkv = keras.layers.Dense(3 * units, dtype=self.dtype_policy, name="qkv")
        self.out = keras.layers.Dense(units, dtype=self.dtype_policy, name="out")

    def build(self, shape):
        self.qkv.build(shape)
        self.out.build(shape)

    def call(self, x, attention_mask=None, training=False):
        output, _ = self._attend(x, attention_mask, training)
        return self.out(merge_heads(output, -1, ops.shape(x)[1], self.units))

    def weights_of(self, x, attention_mask=None):
        """Attention weights: (batch, heads, time, time) float32, rows that sum to 1."""
        return self._attend(x, attention_mask)[1]

    def _attend(self, x, mask, training=False):
        time = ops.shape(x)[1]
        query, keys, values = self._parts(x, time, ops.arange(time), training)
        return dot_product_attention(query, keys, values, mask)

    def step(self, x, cache, state):
        """One decode step: x (rows, units), this layer's KV cache, and the `CachedState` of this step."""
        query, key, value = self._parts(x, state.width, state.position - 1)
        output, cache = attend(query, key, value, cache, state, self.window)
        return self.out(output), cache

    def read(self, x, cache, state, mask):
        """Several steps at once: x (batch, time, units), this layer's KV cache, the `CachedState`, `mask_of_steps`."""
        time = ops.shape(x)[1]
        query, key, value = self._parts(x, time, state.position - time + ops.arange(time, dtype="int32"))
        output, cache = attend_at_once(query, key, value, cache, state, mask)
        return self.out(merge_heads(output, -1, time, self.units)), cache

    def _parts(self, x, time, positions, training=False):
        """Queries, keys and values, (batch, heads, time, head_dim) each."""
        heads = split_heads(self.qkv(x), 3 * self.heads, time)
        if not self.rotary:
            return ops.split(heads, 3, axis=1)
        compared, values = ops.split(heads, [2 * self.heads], axis=1)
        return *ops.split(rotated(compared, positions, training), 2, axis=1), values

    def get_config(self):
        own = {"units": self.units, "heads": self.heads, "rotary": self.rotary, "window": self.window}
        return super().get_config() | own


@keras.saving.register_keras_serializable(package="tfseq")
class CrossAttention(keras.layers.Layer):
    """Multi-head attention over a memory, whose keys and values are projected once.

    Args:
        units, heads: as in `SelfAttention`.
        rotary: whether queries and keys have rotary positions (RoPE), each in its own sequence, see `rotated`: where
            target and source are aligned, as in translation, a head then finds its place from the start.

    Call arguments:
        x: (batch, time, units); or one step of `queries` rows each, (batch * queries, units).
        keys_values: of the memory, as `project` returned them.
        mask: True where memory is real, broadcastable to (batch, heads, queries, source_time).
        queries: rows per memory, if x is one step.
        position: of the step, () integer, if x is one.

    Returns:
        output, shaped as x, and weights (batch, heads, queries, source_time) float32.
    """

    def __init__(self, units, heads, rotary=False, **kwargs):
        super().__init__(**kwargs)
        check_heads(units, heads, rotary)
        self.units, self.heads, self.rotary = units, heads, rotary
        self.query = keras.layers.Dense(units, dtype=self.dtype_policy, name="query")
        self.key_value = keras.layers.Dense(2 * units, dtype=self.dtype_policy, name="key_value")
        self.out = keras.layers.Dense(units, dtype=self.dtype_policy, name="out")

    def build(self, shape):
        for layer in (self.query, self.key_value, self.out):
            layer.build(shape)

    def project(self, memory, training=False):
        """(batch, source_time, units) -> keys and values, (batch, heads, source_time, head_dim) each."""
        time = ops.shape(memory)[1]
        keys, values = ops.split(split_heads(self.key_value(memory), 2 * self.heads, time), 2, axis=1)
        return (rotated(keys, ops.arange(time), training) if self.rotary else keys), values

    def call(self, x, keys_values, mask=None, queries=None, position=None, training=False):
        shape = (-1, self.units) if queries else (-1, ops.shape(x)[1], self.units)
        query = split_heads(self.query(x), self.heads, queries or shape[1])
        if self.rotary:
            query = rotated(query, position if queries else ops.arange(shape[1]), training)
        keys, values = keys_values
        output, weights = dot_product_attention(query, keys, values, mask)
        return self.out(merge_heads(output, *shape)), weights

    def get_config(self):
        return super().get_config() | {"units": self.units, "heads": self.heads, "rotary": self.rotary}


@keras.saving.register_keras_serializable(package="tfseq")
class FeedForward(keras.layers.Layer):
    """W_2 act(W_1 x + b_1) + b_2 at each position (Vaswani et al., 2017, eq. 2).

    Args:
        units: width of input and output.
        hidden: width in between.
        activation: of Keras, such as "relu" or "gelu".
    """

    def __init__(self, units, hidden, activation="relu", **kwargs):
        super().__init__(**kwargs)
        self.units, self.hidden, self.activation = units, hidden, activation
        self.widen = keras.layers.Dense(hidden, activation, dtype=self.dtype_policy, name="widen")
        self.narrow = keras.layers.Dense(units, dtype=self.dtype_policy, name="narrow")

    def build(self, shape):
        self.widen.build(shape)
        self.narrow.build((*shape[:-1], self.hidden))

    def call(self, x, training=False):
        if self.widen.activation is keras.activations.gelu and kernels_apply(training):
            x = ops.matmul(x, self.widen.kernel)
            return self.narrow(kernels().biased_gelu(x, ops.cast(self.widen.bias, x.dtype)))
        return self.narrow(self.widen(x))

    def get_config(self):
        return super().get_config() | {"units": self.units, "hidden": self.hidden, "activation": self.activation}


@keras.saving.register_keras_serializable(package="tfseq")
class Residual(keras.layers.Layer):
    """Residual connection: x + f(norm(x)) ("pre", Xiong et al., 2020) or norm(x + f(x)) ("post", as in 2017).

    Used as `x = residual.join(x, f(residual.enter(x)))`.

    Args:
        norm: "pre" or "post".
        dropout: rate on what f returns.
        epsilon: of the layer normalization.

    Raises:
        ValueError: `norm` is neither.
    """

    def __init__(self, norm="pre", dropout=0.0, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        if norm not in NORMS:
            raise ValueError(f"norm is {norm!r}; expected one of {', '.join(NORMS)}.")
        self.norm, self.rate, self.epsilon = norm, dropout, epsilon
        self.normalize = LayerNormalization(epsilon=epsilon, dtype=self.dtype_policy, name="normalize")
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy, name="dropout")

    def build(self, shape):
        self.normalize.build(shape)

    def enter(self, x):
        return self.normalize(x) if self.norm == "pre" else x

    def join(self, x, y, training=False):
        if self.rate and kernels_apply(training):
            x = kernels().add_dropped(x, y, self.rate, self.dropout.seed_generator.next())
        else:
            x = x + self.dropout(y, training=training)
        return x if self.norm == "pre" else self.normalize(x)

    def get_config(self):
        return super().get_config() | {"norm": self.norm, "dropout": self.rate, "epsilon": self.epsilon}


@keras.saving.register_keras_serializable(package="tfseq")
class TransformerBlock(keras.layers.Layer):
    """Self-attention, then a feed-forward network, with residual connections: of an encoder or a language model.

    Args:
        units: width of the sequence.
        heads: of the attention.
        hidden: width of the feed-forward network.
        dropout: rate on what each part adds.
        norm: "pre" or "post", see `Residual`.
        activation: of the feed-forward network.
        rotary, window: of the attention, see `SelfAttention`.

    Call arguments:
        x: (batch, time, units).
        mask: True where a position attends, broadcastable to (batch, heads, time, time).
    """

    def __init__(
        self, units, heads, hidden, dropout=0.0, norm="pre", activation="relu", rotary=False, window=None, **kwargs
    ):
        super().__init__(**kwargs)
        self.settings = {"units": units, "heads": heads, "hidden": hidden, "dropout": dropout, "norm": norm}
        self.settings |= {"activation": activation, "rotary": rotary, "window": window}
        policy = {"dtype": self.dtype_policy}
        self.attention = SelfAttention(units, heads, rotary, window, name="attention", **policy)
        self.feed_forward = FeedForward(units, hidden, activation, name="feed_forward", **policy)
        self.around_attention = Residual(norm, dropout, name="around_attention", **policy)
        self.around_feed_forward = Residual(norm, dropout, name="around_feed_forward", **policy)

    def build(self, shape):
        for layer in (self.attention, self.feed_forward, self.around_attention, self.around_feed_forward):
            layer.build(shape)

    def call(self, x, mask=None, training=False):
        y = self.attention(self.around_attention.enter(x), mask)
        x = self.around_attention.join(x, y, training)
        y = self.feed_forward(self.around_feed_forward.enter(x))
        return self.around_feed_forward.join(x, y, training)

    def step(self, x, cache, state):
        """One decode step: x (rows, units), this block's KV cache, and the `CachedState` of this step."""
        y, cache = self.attention.step(self.around_attention.enter(x), cache, state)
        x = self.around_attention.join(x, y)
        y = self.feed_forward(self.around_feed_forward.enter(x))
        return self.around_feed_forward.join(x, y), cache

    def read(self, x, cache, state, mask):
        """Several steps at once: x (batch, time, units), this block's KV cache, the `CachedState`, `mask_of_steps`."""
        y, cache = self.attention.read(self.around_attention.enter(x), cache, state, mask)
        x = self.around_attention.join(x, y)
        y = self.feed_forward(self.around_feed_forward.enter(x))
        return self.around_feed_forward.join(x, y), cache

    def get_config(self):
        return super().get_config() | self.settings


@keras.saving.register_keras_serializable(package="tfseq")
class DecoderBlock(keras.layers.Layer):
    """Self-attention, cross-attention, then a feed-forward network, with residual connections.

    Args:
        units, heads, hidden, dropout, norm, activation: as in `TransformerBlock`.
        rotary: of both attentions, see `SelfAttention` and `CrossAttention`.

    Call arguments:
        x: (batch, time, units).
        keys_values: of the memory, as `cross_attention.project` returned them.
        mask: as in `TransformerBlock`.
        memory_mask: True where memory is real, broadcastable to (batch, heads, time, source_time).

    Returns:
        output (batch, time, units), and weights over the memory, (batch, heads, time, source_time) float32.
    """

    def __init__(self, units, heads, hidden, dropout=0.0, norm="pre", activation="relu", rotary=False, **kwargs):
        super().__init__(**kwargs)
        self.settings = {"units": units, "heads": heads, "hidden": hidden, "dropout": dropout, "norm": norm}
        self.settings |= {"activation": activation, "rotary": rotary}
        policy = {"dtype": self.dtype_policy}
        self.attention = SelfAttention(units, heads, rotary, name="attention", **policy)
        self.cross_attention = CrossAttention(units, heads, rotary, name="cross_attention", **policy)
        self.feed_forward = FeedForward(units, hidden, activation, name="feed_forward", **policy)
        self.around_attention = Residual(norm, dropout, name="around_attention", **policy)
        self.around_cross_attention = Residual(norm, dropout, name="around_cross_attention", **policy)
        self.around_feed_forward = Residual(norm, dropout, name="around_feed_forward", **policy)

    def build(self, shape):
        arounds = (self.around_attention, self.around_cross_attention, self.around_feed_forward)
        for layer in (self.attention, self.cross_attention, self.feed_forward, *arounds):
            layer.build(shape)

    def call(self, x, keys_values, mask=None, memory_mask=None, training=False):
        y = self.attention(self.around_attention.enter(x), mask)
        x = self.around_attention.join(x, y, training)
        y, weights = self.cross_attention(self.around_cross_attention.enter(x), keys_values, memory_mask)
        x = self.around_cross_attention.join(x, y, training)
        y = self.feed_forward(self.around_feed_forward.enter(x))
        return self.around_feed_forward.join(x, y, training), weights

    def step(self, x, cache, state, keys_values, memory_mask=None):
        """A decode step as in `TransformerBlock`; also returns weights, (batch, heads, width, source_time) float32."""
        y, cache = self.attention.step(self.around_attention.enter(x), cache, state)
        x = self.around_attention.join(x, y)
        y = self.around_cross_attention.enter(x)
        y, weights = self.cross_attention(y, keys_values, memory_mask, queries=state.width, position=state.position - 1)
        x = self.around_cross_attention.join(x, y)
        y = self.feed_forward(self.around_feed_forward.enter(x))
        return self.around_feed_forward.join(x, y), cache, weights

    def get_config(self):
        return super().get_config() | self.settings


def check_heads(units, heads, rotary=False):
    if heads < 1 or units % heads:
        raise ValueError(f"units is {units} and heads {heads}; expected a multiple of heads.")
    if rotary and units // heads % 2:
        raise ValueError(f"A head is {units // heads} wide; expected an even width: rotary positions rotate pairs.")
