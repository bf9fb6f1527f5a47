"""Sequence to sequence: LSTMs with a handed-on state, attention of several kinds, Transformers."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from tests.exporting.examples.registry import example, one_hot, tokens


@example({"source": one_hot(11, "source_time"), "target": one_hot(13, "target_time")})
def character_translation():
    """The encoder's last states start the decoder."""
    source, target = keras.Input((None, 11), name="source"), keras.Input((None, 13), name="target")
    _, h, c = layers.LSTM(16, return_state=True)(source)
    x, _, _ = layers.LSTM(16, return_sequences=True, return_state=True)(target, initial_state=[h, c])
    return keras.Model([source, target], layers.Dense(13, activation="softmax", name="characters")(x))


class LuongTranslator(keras.Model):
    """Scores each source state by a bilinear form with the decoder's state (Luong et al., 2015)."""

    def __init__(self, vocabulary, units):
        super().__init__()
        self.source_embedding = layers.Embedding(vocabulary, 8, mask_zero=True)
        self.target_embedding = layers.Embedding(vocabulary, 8, mask_zero=True)
        self.encoder = layers.LSTM(units, return_sequences=True, return_state=True)
        self.decoder = layers.LSTM(units, return_sequences=True)
        self.score = layers.Dense(units, use_bias=False)
        self.combine = layers.Dense(units, activation="tanh", use_bias=False)
        self.head = layers.Dense(vocabulary)

    def call(self, inputs):
        source, target = inputs
        memory, h, c = self.encoder(self.source_embedding(source))
        x = self.decoder(self.target_embedding(target), initial_state=[h, c])
        scores = ops.einsum("btu,bsu->bts", self.score(x), memory)
        real = ops.expand_dims(source != 0, 1)
        weights = ops.softmax(ops.where(real, scores, -1e9), axis=-1)
        context = ops.einsum("bts,bsu->btu", weights, memory)
        return self.head(self.combine(ops.concatenate([context, x], axis=-1)))


@example(
    {"input_1": tokens(20, "source_time"), "input_2": tokens(20, "target_time")}, given="list", outputs=("output",)
)
def luong_attention():
    model = LuongTranslator(20, 12)
    model([np.ones((2, 5), "int32"), np.ones((2, 7), "int32")])
    return model


class CrossAttention(layers.Layer):
    def __init__(self, units, **options):
        super().__init__(**options)
        self.attention = layers.MultiHeadAttention(num_heads=1, key_dim=units)
        self.norm = layers.LayerNormalization()
        self.add = layers.Add()

    def call(self, x, context):
        found, _ = self.attention(query=x, value=context, return_attention_scores=True)
        return self.norm(self.add([x, found]))


class AttentiveTranslator(keras.Model):
    """Bidirectional GRU encoder, one attention, GRU decoder; the call takes a pair."""

    def __init__(self, units):
        super().__init__()
        self.embed_source = layers.Embedding(22, units, mask_zero=True)
        self.encoder = layers.Bidirectional(layers.GRU(units, return_sequences=True), merge_mode="sum")
        self.embed_target = layers.Embedding(24, units, mask_zero=True)
        self.decoder = layers.GRU(units, return_sequences=True, return_state=True)
        self.attend = CrossAttention(units)
        self.head = layers.Dense(24)

    def call(self, inputs):
        context, x = inputs
        context = self.encoder(self.embed_source(context))
        x, _ = self.decoder(self.embed_target(x))
        return self.head(self.attend(x, context))


@example(
    {"input_1": tokens(22, "source_time"), "input_2": tokens(24, "target_time")}, given="list", outputs=("output",)
)
def gru_with_cross_attention():
    model = AttentiveTranslator(12)
    model((np.ones((1, 4), "int32"), np.ones((1, 6), "int32")))
    return model


@example({"source": tokens(20, "source_time"), "target": tokens(20, "target_time")})
def additive_attention():
    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")
    memory, h, _ = layers.LSTM(10, return_sequences=True, return_state=True)(
        layers.Embedding(20, 8, mask_zero=True)(source)
    )
    x = layers.GRU(10, return_sequences=True)(layers.Embedding(20, 8, mask_zero=True)(target), initial_state=h)
    context = layers.AdditiveAttention()([x, memory])
    x = layers.Concatenate()([x, context])
    return keras.Model([source, target], layers.Dense(20, name="logits")(x))


class TransformerEncoder(layers.Layer):
    def __init__(self, width, hidden, heads, **options):
        super().__init__(**options)
        self.attention = layers.MultiHeadAttention(num_heads=heads, key_dim=width)
        self.hidden = keras.Sequential([layers.Dense(hidden, activation="relu"), layers.Dense(width)])
        self.norm_1, self.norm_2 = layers.LayerNormalization(), layers.LayerNormalization()
        self.supports_masking = True

    def call(self, inputs, mask=None):
        padding = None if mask is None else ops.cast(mask[:, None, :], "int32")
        x = self.norm_1(inputs + self.attention(inputs, inputs, attention_mask=padding))
        return self.norm_2(x + self.hidden(x))


class PositionalEmbedding(layers.Layer):
    def __init__(self, longest, vocabulary, width, **options):
        super().__init__(**options)
        self.tokens = layers.Embedding(vocabulary, width)
        self.positions = layers.Embedding(longest, width)

    def call(self, inputs):
        positions = ops.arange(0, ops.shape(inputs)[-1], 1)
        return self.tokens(inputs) + self.positions(positions)

    def compute_mask(self, inputs, mask=None):
        return ops.not_equal(inputs, 0)


class TransformerDecoder(layers.Layer):
    def __init__(self, width, hidden, heads, **options):
        super().__init__(**options)
        self.self_attention = layers.MultiHeadAttention(num_heads=heads, key_dim=width)
        self.cross_attention = layers.MultiHeadAttention(num_heads=heads, key_dim=width)
        self.hidden = keras.Sequential([layers.Dense(hidden, activation="relu"), layers.Dense(width)])
        self.norms = [layers.LayerNormalization() for _ in range(3)]
        self.supports_masking = True

    def call(self, inputs, mask=None):
        x, memory = inputs
        causal = self.causal_mask(x)
        own, of_memory = (None, None) if mask is None else mask
        attended, _ = self.self_attention(
            query=x, value=x, key=x, attention_mask=causal, query_mask=own, return_attention_scores=True
        )
        x = self.norms[0](x + attended)
        attended, _ = self.cross_attention(
            query=x, value=memory, key=memory, query_mask=own, key_mask=of_memory, return_attention_scores=True
        )
        x = self.norms[1](x + attended)
        return self.norms[2](x + self.hidden(x))

    def causal_mask(self, x):
        batch, time = ops.shape(x)[0], ops.shape(x)[1]
        mask = ops.cast(ops.arange(time)[:, None] >= ops.arange(time), "int32")
        mask = ops.reshape(mask, (1, time, time))
        repeats = tf.concat([tf.expand_dims(batch, -1), tf.constant([1, 1], tf.int32)], axis=0)
        return tf.tile(mask, repeats)


@example({"decoder_inputs": tokens(25, "target_time", "int64"), "encoder_inputs": tokens(25, "source_time", "int64")})
def transformer_translation():
    """Masks travel from the embeddings through every layer, the nested decoder model included."""
    source = keras.Input((None,), dtype="int64", name="encoder_inputs")
    x = PositionalEmbedding(70, 25, 16)(source)
    memory = TransformerEncoder(16, 24, 2)(x)
    target = keras.Input((None,), dtype="int64", name="decoder_inputs")
    encoded = keras.Input((None, 16), name="decoder_state_inputs")
    x = PositionalEmbedding(70, 25, 16)(target)
    x = TransformerDecoder(16, 24, 2)([x, encoded])
    x = layers.Dropout(0.5)(x)
    decoder = keras.Model([target, encoded], layers.Dense(25, activation="softmax")(x), name="words")
    return keras.Model({"encoder_inputs": source, "decoder_inputs": target}, decoder([target, memory]))


def sinusoids(length, width):
    """Fixed positions (Vaswani et al., 2017), (length, width)."""
    angles = np.arange(length)[:, None] / 10000 ** (np.arange(width // 2) / (width // 2))
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=-1).astype("float32")


class SinusoidalEmbedding(layers.Layer):
    def __init__(self, vocabulary, width):
        super().__init__()
        self.width = width
        self.embedding = layers.Embedding(vocabulary, width, mask_zero=True)
        self.encoding = tf.constant(sinusoids(128, width))

    def compute_mask(self, *args, **kwargs):
        return self.embedding.compute_mask(*args, **kwargs)

    def call(self, x):
        time = ops.shape(x)[1]
        return self.embedding(x) * self.width**0.5 + self.encoding[None, :time, :]


class FeedForward(layers.Layer):
    def __init__(self, width, hidden):
        super().__init__()
        self.seq = keras.Sequential([layers.Dense(hidden, activation="relu"), layers.Dense(width), layers.Dropout(0.1)])
        self.add, self.norm = layers.Add(), layers.LayerNormalization()

    def call(self, x):
        return self.norm(self.add([x, self.seq(x)]))


class Attend(layers.Layer):
    """Self-attention, causal or not, or attention to a context."""

    def __init__(self, width, causal=False):
        super().__init__()
        self.mha = layers.MultiHeadAttention(num_heads=2, key_dim=width, dropout=0.1)
        self.add, self.norm, self.causal = layers.Add(), layers.LayerNormalization(), causal

    def call(self, x, context=None):
        context = x if context is None else context
        return self.norm(self.add([x, self.mha(query=x, key=context, value=context, use_causal_mask=self.causal)]))


class SubclassedTransformer(keras.Model):
    """Everything is a layer of one's own; attention takes its masks from Keras."""

    def __init__(self, width=16, hidden=24, depth=2):
        super().__init__()
        self.source, self.target = SinusoidalEmbedding(20, width), SinusoidalEmbedding(21, width)
        self.encoder = [(Attend(width), FeedForward(width, hidden)) for _ in range(depth)]
        self.decoder = [(Attend(width, causal=True), Attend(width), FeedForward(width, hidden)) for _ in range(depth)]
        self.head = layers.Dense(21)

    def call(self, inputs):
        context, x = inputs
        context = self.source(context)
        for attend, feed_forward in self.encoder:
            context = feed_forward(attend(context))
        x = self.target(x)
        for attend_self, attend_context, feed_forward in self.decoder:
            x = feed_forward(attend_context(attend_self(x), context=context))
        return self.head(x)


@example(
    {"input_1": tokens(20, "source_time"), "input_2": tokens(21, "target_time")}, given="list", outputs=("output",)
)
def subclassed_transformer():
    model = SubclassedTransformer()
    model((np.ones((1, 5), "int32"), np.ones((1, 6), "int32")))
    return model
