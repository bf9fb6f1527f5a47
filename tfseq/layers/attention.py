"""Attention: scaled dot-product attention, and the alignment scores of recurrent decoders (additive, dot, cosine)."""

import keras
from keras import ops

ALIGNMENTS = ("network", "dot", "general", "cosine")
HIDDEN = -1e9  # score of a masked entry, so low that its weight is 0


def dot_product_attention(query, keys, values, mask=None):
    """softmax(Q K' / sqrt(head_dim)) V  (Vaswani et al., 2017, eq. 1).

    Args:
        query: (batch, heads, queries, head_dim).
        keys, values: (batch, heads, entries, head_dim).
        mask: True where a query attends, broadcastable to (batch, heads, queries, entries); None for everywhere.

    Returns:
        (batch, heads, queries, head_dim), and the weights, (batch, heads, queries, entries) float32.
    """
    scores = ops.matmul(query, ops.transpose(keys, (0, 1, 3, 2))) * query.shape[-1] ** -0.5
    weights = masked_softmax(scores, mask)  # (batch, heads, queries, entries)
    return ops.matmul(ops.cast(weights, values.dtype), values), weights


def masked_softmax(scores, mask=None):
    """Weights that sum to 1 over the last axis, float32, and are 0 where the mask is False."""
    scores = ops.cast(scores, "float32")
    if scores.shape[-1] == 1:
        return ops.ones_like(scores)  # for which Keras would warn
    return ops.softmax(scores if mask is None else ops.where(mask, scores, HIDDEN), axis=-1)


def split_heads(x, heads, queries):
    """(batch, queries, heads * head_dim), or its first two axes as one, -> (batch, heads, queries, head_dim)"""
    head_dim = x.shape[-1] // heads
    if isinstance(queries, int) and queries == 1:
        return ops.reshape(x, (-1, heads, 1, head_dim))
    return ops.transpose(ops.reshape(x, (-1, queries, heads, head_dim)), (0, 2, 1, 3))


def merge_heads(x, *shape):
    """(batch, heads, queries, head_dim) -> `shape`, whose last axis is heads * head_dim, those before it the others."""
    if x.shape[2] != 1:
        x = ops.transpose(x, (0, 2, 1, 3))
    return ops.reshape(x, shape)


def alignment_layer(alignment, units, **kwargs):
    """The layer that scores a decoder's state against the states of an encoder, by name.

    Args:
        alignment: "network", "dot", "general" or "cosine".
        units: width of the memory, and of the network.
        kwargs: further arguments of the Keras layer.

    Raises:
        ValueError: `alignment` is none of these.
    """
    match alignment:
        case "network":
            return NetworkAlignment(units, **kwargs)
        case "dot":
            return DotAlignment(**kwargs)
        case "general":
            return GeneralAlignment(**kwargs)
        case "cosine":
            return CosineAlignment(**kwargs)
    raise ValueError(f"alignment is {alignment!r}; expected one of {', '.join(ALIGNMENTS)}.")


@keras.saving.register_keras_serializable(package="tfseq")
class DotAlignment(keras.layers.Layer):
    """score(s, h) = s . h  (Luong et al., 2015, eq. 8, "dot"): for states of equal width.

    `layer(query, memory, mask)` is `layer.align(query, layer.project(memory), mask)`; a decoder, which asks about the
    same memory again and again, projects it once.

    Call arguments:
        query: (batch, queries, units).
        memory: (batch, time, memory_units).
        mask: True where memory is real, (batch, time); padding gets weight 0.

    Returns:
        weights (batch, queries, time) float32, which sum to 1 over time.

    Raises:
        ValueError: query and memory differ in width.
    """

    has_hidden_layer = False  # whether there is a vector for every query and place, beside its score

    def build(self, query_shape, memory_shape):
        if query_shape[-1] != memory_shape[-1]:
            raise ValueError(
                f"The query is {query_shape[-1]} wide and the memory {memory_shape[-1]}; expected equal widths. "
                'The alignments "general" and "network" take any.'
            )

    def project(self, memory):
        """The keys: the part of the score that depends on the memory only, (batch, time, key_units)."""
        return memory

    def score(self, query, keys):
        """(batch, queries, time)"""
        return ops.matmul(query, ops.transpose(keys, (0, 2, 1)))

    def align(self, query, keys, mask=None):
        return masked_softmax(self.score(query, keys), None if mask is None else ops.expand_dims(mask, 1))

    def call(self, query, memory, mask=None):
        return self.align(query, self.project(memory), mask)


@keras.saving.register_keras_serializable(package="tfseq")
class GeneralAlignment(DotAlignment):
    """score(s, h) = s . W h  (Luong et al., 2015, eq. 8, "general"). Called as `DotAlignment`."""

    def build(self, query_shape, memory_shape):
        self.kernel = keras.layers.Dense(query_shape[-1], use_bias=False, dtype=self.dtype_policy, name="kernel")
        self.kernel.build(memory_shape)

    def project(self, memory):
        return self.kernel(memory)


@keras.saving.register_keras_serializable(package="tfseq")
class NetworkAlignment(DotAlignment):
    """score(s, h) = v . tanh(W s + U h + b)  (Bahdanau et al., 2015, appendix A.1.2). Called as `DotAlignment`.

    Args:
        units: width of the network.
    """

    has_hidden_layer = True

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.of_query = keras.layers.Dense(units, use_bias=False, dtype=self.dtype_policy, name="of_query")
        self.of_memory = keras.layers.Dense(units, dtype=self.dtype_policy, name="of_memory")
        self.to_score = keras.layers.Dense(1, use_bias=False, dtype=self.dtype_policy, name="to_score")

    def build(self, query_shape, memory_shape):
        self.of_query.build(query_shape)
        self.of_memory.build(memory_shape)
        self.to_score.build((None, self.units))

    def project(self, memory):
        return self.of_memory(memory)

    def score(self, query, keys):
        query = ops.expand_dims(self.of_query(query), 2)  # (batch, queries, 1, units)
        hidden = ops.tanh(query + ops.expand_dims(keys, 1))  # (batch, queries, time, units)
        return ops.squeeze(self.to_score(hidden), -1)

    def get_config(self):
        return super().get_config() | {"units": self.units}


@keras.saving.register_keras_serializable(package="tfseq")
class CosineAlignment(DotAlignment):
    """score(s, h) = b s . h / (|s| |h|): the cosine of the lecture. Called as `DotAlignment`.

    Cosines lie between -1 and 1, so their softmax alone could never single out one of many states; b, learned and
    positive, sharpens it, as the key strength of Graves et al. (2014), eq. 5, does.
    """

    def build(self, query_shape, memory_shape):
        super().build(query_shape, memory_shape)
        initial = keras.initializers.Constant(2.0)
        self.log_strength = self.add_weight(shape=(), initializer=initial, name="log_strength")

    def project(self, memory):
        return _of_unit_length(memory)

    def score(self, query, keys):
        strength = ops.exp(ops.cast(self.log_strength, keys.dtype))
        return super().score(_of_unit_length(query) * strength, keys)


def _of_unit_length(x):
    return x * ops.rsqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + 1e-6)
