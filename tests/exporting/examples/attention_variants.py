"""Attention written by hand, in the many ways people do."""

import keras
import tensorflow as tf
from keras import layers, ops

from tests.exporting.examples.registry import example, floats, integers, padded, pixels, tokens


class ExternalAttention(layers.Layer):
    """Attends to a learned memory that all inputs share, normalized twice (Guo et al., 2021)."""

    def __init__(self, width, heads, slots):
        super().__init__()
        self.width, self.heads = width, heads
        self.up, self.keys = layers.Dense(width * 4), layers.Dense(slots)
        self.values, self.out = layers.Dense(width * 4 // heads), layers.Dense(width)

    def call(self, x):
        batch, patches, _ = ops.shape(x)
        x = ops.reshape(self.up(x), (batch, patches, self.heads, self.width * 4 // self.heads))
        attention = ops.softmax(self.keys(ops.transpose(x, (0, 2, 1, 3))), axis=2)
        attention = layers.Lambda(lambda a: a / (1e-9 + ops.sum(a, axis=-1, keepdims=True)))(attention)
        x = ops.transpose(self.values(attention), (0, 2, 1, 3))
        return self.out(ops.reshape(x, [batch, -1, self.width * 4]))


@example({"tokens": floats(10, 8)})
def external_attention():
    x = inputs = keras.Input((10, 8), name="tokens")
    x = layers.add([ExternalAttention(8, 2, 6)(layers.LayerNormalization()(x)), x])
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="label")(layers.GlobalAveragePooling1D()(x)))


class Perceiver(keras.Model):
    """A small learned array asks a large input, again and again (Jaegle et al., 2021)."""

    def __init__(self):
        super().__init__()
        self.project = layers.Dense(12)
        self.cross = layers.Attention(use_scale=True, dropout=0.2)
        self.query, self.key, self.value = (layers.Dense(12) for _ in range(3))
        self.own, self.norm = layers.MultiHeadAttention(2, 12), layers.LayerNormalization()
        self.head = layers.Dense(4)

    def build(self, shape):
        self.latent = self.add_weight(shape=(5, 12), initializer="random_normal", name="latent")

    def call(self, inputs):
        data = self.project(inputs)
        latent = ops.expand_dims(self.latent, 0)
        for _ in range(2):
            found = self.cross([self.query(latent), self.key(data), self.value(data)])
            latent = self.norm(found + latent)
            latent = self.norm(self.own(latent, latent) + latent)
        return self.head(ops.mean(latent, axis=1))


@example({"inputs": floats("time", 6)}, outputs=("output",))
def perceiver():
    model = Perceiver()
    model(ops.zeros((2, 9, 6)))
    return model


def scaled_dot_product(q, k, v, mask):
    """As in many a tutorial, in TensorFlow's own operators."""
    scores = tf.matmul(q, k, transpose_b=True) / tf.math.sqrt(tf.cast(tf.shape(k)[-1], tf.float32))
    if mask is not None:
        scores += mask * -1e9
    weights = tf.nn.softmax(scores, axis=-1)
    return tf.matmul(weights, v), weights


class TutorialAttention(layers.Layer):
    def __init__(self, width, heads):
        super().__init__()
        self.width, self.heads, self.depth = width, heads, width // heads
        self.wq, self.wk, self.wv, self.dense = (layers.Dense(width) for _ in range(4))

    def split(self, x, batch):
        return tf.transpose(tf.reshape(x, (batch, -1, self.heads, self.depth)), perm=[0, 2, 1, 3])

    def call(self, v, k, q, mask=None):
        batch = tf.shape(q)[0]
        q, k, v = self.split(self.wq(q), batch), self.split(self.wk(k), batch), self.split(self.wv(v), batch)
        x, weights = scaled_dot_product(q, k, v, mask)
        x = tf.reshape(tf.transpose(x, perm=[0, 2, 1, 3]), (batch, -1, self.width))
        return self.dense(x), weights


class TutorialDecoder(keras.Model):
    """Masks by `tf.linalg.band_part` and `tf.math.equal`, combined by a maximum; attention weights are given out."""

    def __init__(self):
        super().__init__()
        self.embedding, self.attention = layers.Embedding(20, 16), TutorialAttention(16, 4)
        self.norm, self.head = layers.LayerNormalization(epsilon=1e-6), layers.Dense(20)

    def call(self, sentence):
        padding = tf.cast(tf.math.equal(sentence, 0), tf.float32)[:, tf.newaxis, tf.newaxis, :]
        size = tf.shape(sentence)[1]
        ahead = 1 - tf.linalg.band_part(tf.ones((size, size)), -1, 0)
        x = self.embedding(sentence) * tf.math.sqrt(16.0)
        y, weights = self.attention(x, x, x, tf.maximum(padding, ahead))
        return self.head(self.norm(x + y)), weights


@example({"sentence": tokens(20)}, outputs=("output_1", "output_2"))
def tutorial_decoder():
    model = TutorialDecoder()
    model(tf.ones((2, 7), tf.int32))
    return model


class LinearAttention(layers.Layer):
    """Positive features of queries and keys, no softmax; causal by running sums (Katharopoulos et al., 2020)."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.qkv, self.out = layers.Dense(3 * width), layers.Dense(width)

    def call(self, x):
        batch, time = ops.shape(x)[0], ops.shape(x)[1]
        qkv = ops.reshape(self.qkv(x), (batch, time, 3, self.heads, self.size))
        q, k, v = ops.elu(qkv[:, :, 0]) + 1, ops.elu(qkv[:, :, 1]) + 1, qkv[:, :, 2]
        memory = ops.cumsum(ops.einsum("bthd,bthm->bthdm", k, v), axis=1)
        size = ops.einsum("bthd,bthd->bth", q, ops.cumsum(k, axis=1)) + 1e-6
        y = ops.einsum("bthd,bthdm->bthm", q, memory) / size[..., None]
        return self.out(ops.reshape(y, (batch, time, self.heads * self.size)))


@example({"series": floats("time", 3)})
def linear_attention():
    series = keras.Input((None, 3), name="series")
    x = layers.Dense(12)(series)
    x = layers.Add()([x, LinearAttention(12, 3)(layers.LayerNormalization()(x))])
    return keras.Model(series, layers.Dense(2, name="next")(x))


class DistanceBias(layers.Layer):
    """Attention that fades with distance, a slope for each head (ALiBi; Press et al., 2021)."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.q, self.k, self.v = (layers.EinsumDense("btu,uhd->bthd", (None, heads, self.size)) for _ in range(3))
        self.out = layers.EinsumDense("bthd,hdu->btu", (None, width))

    def call(self, x, mask=None):
        i = ops.cast(ops.arange(ops.shape(x)[1]), "float32")
        slopes = 2.0 ** -ops.arange(1, self.heads + 1, dtype="float32")
        bias = -ops.abs(i[:, None] - i[None]) * slopes[:, None, None]
        y = ops.dot_product_attention(self.q(x), self.k(x), self.v(x), bias=bias[None])
        return self.out(y)


@example({"words": tokens(20)})
def distance_bias():
    words = keras.Input((None,), dtype="int32", name="words")
    x = layers.Embedding(20, 12)(words)
    return keras.Model(words, layers.Dense(4, name="tags")(layers.LayerNormalization()(x + DistanceBias(12, 3)(x))))


class TimeToVector(layers.Layer):
    """One linear and several periodic features of time (Kazemi et al., 2019)."""

    def build(self, shape):
        steps = shape[1]
        self.w0, self.b0 = (self.add_weight(shape=(steps,), initializer="uniform", name=n) for n in ("w0", "b0"))
        self.w1, self.b1 = (self.add_weight(shape=(steps,), initializer="uniform", name=n) for n in ("w1", "b1"))

    def call(self, x):
        x = ops.mean(x[:, :, :4], axis=-1)
        linear = ops.expand_dims(self.w0 * x + self.b0, axis=-1)
        return ops.concatenate([linear, ops.expand_dims(ops.sin(x * self.w1 + self.b1), axis=-1)], axis=-1)


@example({"prices": padded(16, 5)})
def stock_transformer():
    prices = keras.Input((16, 5), name="prices")
    x = layers.Concatenate(axis=-1)([prices, TimeToVector()(prices)])
    y = layers.MultiHeadAttention(3, 7, value_dim=7)(x, x, x)
    x = layers.LayerNormalization(epsilon=1e-6)(x + y)
    y = layers.Conv1D(7, 1)(layers.Conv1D(12, 1, activation="relu")(x))
    x = layers.GlobalAveragePooling1D(data_format="channels_first")(layers.LayerNormalization(epsilon=1e-6)(x + y))
    return keras.Model(prices, layers.Dense(1, name="close")(layers.Dense(8, activation="relu")(x)))


class AttentionCell(layers.Layer):
    """A cell that asks a memory at every step, given to the RNN as a constant state."""

    def __init__(self, units, places, width):
        super().__init__()
        self.units, self.cell, self.query = units, layers.GRUCell(units), layers.Dense(width)
        self.state_size = [units, places * width]
        self.output_size = units
        self.places, self.width = places, width

    def build(self, shape):
        self.cell.build((shape[0], shape[-1] + self.width))
        self.query.build((shape[0], self.units))

    def call(self, x, states, training=False):
        h, flat = states
        memory = ops.reshape(flat, (-1, self.places, self.width))
        weights = ops.softmax(ops.einsum("bpw,bw->bp", memory, self.query(h)))
        context = ops.einsum("bp,bpw->bw", weights, memory)
        h, _ = self.cell(ops.concatenate([x, context], axis=-1), [h])
        return h, [h, flat]


@example({"image": pixels(8, 8, 3), "words": integers(15, "time")}, loop="ONNX has no operator for a cell of one's own")
def attend_and_tell():
    image = keras.Input((8, 8, 3), name="image")
    words = keras.Input((None,), dtype="int32", name="words")
    features = layers.Conv2D(6, 3, strides=2, activation="relu")(image)  # (batch, 3, 3, 6)
    memory = layers.Flatten()(features)
    first = layers.Dense(8, activation="tanh")(memory)
    x = layers.RNN(AttentionCell(8, 9, 6), return_sequences=True)(
        layers.Embedding(15, 6)(words), initial_state=[first, memory]
    )
    return keras.Model([image, words], layers.Dense(15, name="logits")(x))
