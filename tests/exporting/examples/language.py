"""Language models and text classifiers."""

import keras
import numpy as np
from keras import layers, ops

from tests.exporting.examples.registry import example, integers, padding_mask, tokens


class TokenAndPosition(layers.Layer):
    def __init__(self, longest, vocabulary, width):
        super().__init__()
        self.token = layers.Embedding(vocabulary, width)
        self.position = layers.Embedding(longest, width)

    def call(self, x):
        return self.token(x) + self.position(ops.arange(0, ops.shape(x)[-1]))


class TransformerBlock(layers.Layer):
    def __init__(self, width, heads, hidden, activation="relu", causal=False):
        super().__init__()
        self.attention = layers.MultiHeadAttention(num_heads=heads, key_dim=width // heads)
        self.hidden = keras.Sequential([layers.Dense(hidden, activation=activation), layers.Dense(width)])
        self.norm_1 = layers.LayerNormalization(epsilon=1e-6)
        self.norm_2 = layers.LayerNormalization(epsilon=1e-6)
        self.drop_1, self.drop_2 = layers.Dropout(0.1), layers.Dropout(0.1)
        self.causal = causal

    def call(self, x, training=False):
        attended = self.attention(x, x, use_causal_mask=self.causal)
        x = self.norm_1(x + self.drop_1(attended, training=training))
        return self.norm_2(x + self.drop_2(self.hidden(x), training=training))


@example({"tokens": tokens(30, 20)})
def transformer_classifier():
    words = keras.Input((20,), dtype="int32", name="tokens")
    x = TransformerBlock(16, 2, 24)(TokenAndPosition(20, 30, 16)(words))
    x = layers.Dense(10, activation="relu")(layers.GlobalAveragePooling1D()(x))
    return keras.Model(words, layers.Dense(2, activation="softmax", name="label")(x))


class CausalBlock(TransformerBlock):
    """Builds its mask by hand, tiled over the batch."""

    def call(self, x, training=False):
        batch, time = ops.shape(x)[0], ops.shape(x)[1]
        i, j = ops.arange(time)[:, None], ops.arange(time)
        mask = ops.cast(ops.reshape(i >= j, (1, time, time)), "bool")
        mask = ops.repeat(mask, batch, axis=0)
        x = self.norm_1(x + self.attention(x, x, attention_mask=mask))
        return self.norm_2(x + self.hidden(x))


@example({"tokens": integers(30, "time")})
def miniature_gpt():
    """Two outputs: the logits, and the states under them."""
    words = keras.Input((None,), dtype="int32", name="tokens")
    x = CausalBlock(16, 2, 24)(TokenAndPosition(80, 30, 16)(words))
    return keras.Model(words, [layers.Dense(30, name="logits")(x), layers.Identity(name="states")(x)])


class GPTBlock(layers.Layer):
    """Normalizes first; one matrix for queries, keys and values; tanh form of GELU, as in GPT-2."""

    def __init__(self, width, heads):
        super().__init__()
        self.width, self.heads = width, heads
        self.norm_1, self.norm_2 = layers.LayerNormalization(epsilon=1e-5), layers.LayerNormalization(epsilon=1e-5)
        self.qkv, self.projection = layers.Dense(3 * width), layers.Dense(width)
        self.up, self.down = layers.Dense(4 * width), layers.Dense(width)

    def call(self, x):
        x = x + self.projection(self.attend(self.norm_1(x)))
        return x + self.down(ops.gelu(self.up(self.norm_2(x)), approximate=True))

    def attend(self, x):
        batch, time = ops.shape(x)[0], ops.shape(x)[1]
        q, k, v = (
            ops.transpose(ops.reshape(part, (batch, time, self.heads, self.width // self.heads)), (0, 2, 1, 3))
            for part in ops.split(self.qkv(x), 3, axis=-1)
        )  # (batch, heads, time, width of a head)
        scores = ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))) / (self.width // self.heads) ** 0.5
        past = ops.tril(ops.ones((time, time)))
        weights = ops.softmax(ops.where(past[None, None] > 0, scores, -1e10), axis=-1)
        return ops.reshape(ops.transpose(ops.matmul(weights, v), (0, 2, 1, 3)), (batch, time, self.width))


class GPT(keras.Model):
    """The head shares its weights with the embedding."""

    def __init__(self, vocabulary=30, width=16, depth=2):
        super().__init__()
        self.tokens, self.positions = layers.Embedding(vocabulary, width), layers.Embedding(80, width)
        self.blocks = [GPTBlock(width, 2) for _ in range(depth)]
        self.norm = layers.LayerNormalization(epsilon=1e-5)

    def call(self, idx):
        x = self.tokens(idx) + self.positions(ops.arange(ops.shape(idx)[1]))
        for block in self.blocks:
            x = block(x)
        return {"logits": self._tied(self.norm(x))}

    def _tied(self, x):
        return ops.matmul(x, ops.transpose(self.tokens.embeddings))


@example({"idx": integers(30, "time")}, outputs=("logits",))
def gpt_with_tied_head():
    model = GPT()
    model(np.zeros((1, 8), "int32"))
    return model


class LlamaBlock(layers.Layer):
    """Rotary positions, RMS normalization, grouped queries, SwiGLU."""

    def __init__(self, width=16, heads=4, groups=2):
        super().__init__()
        self.size, self.heads, self.groups = width // heads, heads, groups
        self.norm_1, self.norm_2 = layers.RMSNormalization(), layers.RMSNormalization()
        self.q = layers.Dense(width, use_bias=False)
        self.kv = layers.Dense(2 * groups * self.size, use_bias=False)
        self.out = layers.Dense(width, use_bias=False)
        self.gate, self.up, self.down = (layers.Dense(n, use_bias=False) for n in (32, 32, width))

    def call(self, x):
        y = self.norm_1(x)
        batch, time = ops.shape(x)[0], ops.shape(x)[1]
        q = self.rotate(ops.reshape(self.q(y), (batch, time, self.heads, self.size)))
        k, v = ops.split(ops.reshape(self.kv(y), (batch, time, 2 * self.groups, self.size)), 2, axis=2)
        k, v = self.rotate(k), v
        k, v = (ops.repeat(part, self.heads // self.groups, axis=2) for part in (k, v))
        scores = ops.einsum("bthd,bshd->bhts", q, k) * self.size**-0.5
        i = ops.arange(time)
        scores = scores + ops.where(i[:, None] >= i[None, :], 0.0, -1e9)
        y = ops.einsum("bhts,bshd->bthd", ops.softmax(scores), v)
        x = x + self.out(ops.reshape(y, (batch, time, self.heads * self.size)))
        y = self.norm_2(x)
        return x + self.down(ops.silu(self.gate(y)) * self.up(y))

    def rotate(self, x):
        half = self.size // 2
        positions = ops.cast(ops.arange(ops.shape(x)[1]), "float32")
        frequencies = 1.0 / 10000.0 ** (ops.arange(half, dtype="float32") / half)
        angles = ops.outer(positions, frequencies)[None, :, None, :]  # (1, time, 1, half)
        a, b = x[..., :half], x[..., half:]
        cos, sin = ops.cos(angles), ops.sin(angles)
        return ops.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


@example({"tokens": integers(30, "time")})
def rotary_language_model():
    words = keras.Input((None,), dtype="int32", name="tokens")
    x = LlamaBlock()(layers.Embedding(30, 16)(words))
    return keras.Model(words, layers.Dense(30, use_bias=False, name="logits")(layers.RMSNormalization()(x)))


@example(
    {"ids": tokens(30), "segments": integers(2, "time"), "attention_mask": padding_mask(dtype="int32")},
    outputs=("words", "pooled"),
)
def masked_language_model():
    """BERT: three embeddings, an additive mask, exact GELU, a transformed head; a pooled output beside it."""
    ids = keras.Input((None,), dtype="int32", name="ids")
    segments = keras.Input((None,), dtype="int32", name="segments")
    mask = keras.Input((None,), dtype="int32", name="attention_mask")
    x = TokenAndPosition(80, 30, 16)(ids) + layers.Embedding(2, 16)(segments)
    x = layers.LayerNormalization(epsilon=1e-12)(x)
    for _ in range(2):
        y = layers.MultiHeadAttention(2, 8)(x, x, attention_mask=mask[:, None, :])
        x = layers.LayerNormalization(epsilon=1e-12)(layers.Add()([x, y]))
        y = layers.Dense(16)(layers.Dense(24, activation="gelu")(x))
        x = layers.LayerNormalization(epsilon=1e-12)(layers.Add()([x, y]))
    pooled = layers.Dense(16, activation="tanh", name="pooled")(x[:, 0])
    words = layers.Dense(30, name="words")(layers.LayerNormalization()(layers.Dense(16, activation="gelu")(x)))
    return keras.Model([ids, segments, mask], {"words": words, "pooled": pooled})


class SwitchLayer(layers.Layer):
    """Each token goes to one expert, at most `capacity` tokens to each (Fedus et al., 2021)."""

    def __init__(self, experts, width, tokens, capacity):
        super().__init__()
        self.experts = [
            keras.Sequential([layers.Dense(24, activation="relu"), layers.Dense(width)]) for _ in range(experts)
        ]
        self.router = layers.Dense(experts)
        self.width, self.capacity, self.tokens = width, capacity, tokens

    def call(self, x):
        flat = ops.reshape(x, (-1, self.width))  # (tokens, width)
        probabilities = ops.softmax(self.router(flat), axis=-1)
        gate, chosen = ops.top_k(probabilities, k=1)
        mask = ops.one_hot(ops.squeeze(chosen, -1), len(self.experts))  # (tokens, experts)
        place = ops.cumsum(mask, axis=0) * mask  # 1, 2, ... within each expert
        mask = mask * ops.cast(place <= self.capacity, mask.dtype)
        gate = ops.squeeze(gate, -1) * ops.sum(mask, axis=-1)
        slots = ops.one_hot(ops.cast(ops.sum(place * mask, -1) - 1, "int32"), self.capacity)  # (tokens, capacity)
        combine = gate[:, None, None] * mask[:, :, None] * slots[:, None, :]
        dispatch = ops.cast(combine > 0, x.dtype)
        inputs = ops.einsum("ab,acd->cdb", flat, dispatch)  # (experts, capacity, width)
        outputs = ops.stack([expert(inputs[i]) for i, expert in enumerate(self.experts)])
        y = ops.einsum("abc,xab->xc", outputs, combine)
        return ops.reshape(y, (-1, self.tokens, self.width))


@example({"tokens": tokens(30, 12)})
def switch_transformer():
    words = keras.Input((12,), dtype="int32", name="tokens")
    x = TokenAndPosition(12, 30, 16)(words)
    x = layers.LayerNormalization(epsilon=1e-6)(x + layers.MultiHeadAttention(2, 8)(x, x))
    x = layers.LayerNormalization(epsilon=1e-6)(x + SwitchLayer(3, 16, tokens=12, capacity=40)(x))
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(words, layers.Dense(2, activation="softmax", name="label")(x))


class NamedEntities(keras.Model):
    """Embedding, one block, a dense layer on top; built by its first call."""

    def __init__(self, vocabulary, tags):
        super().__init__()
        self.embedding = TokenAndPosition(80, vocabulary, 16)
        self.block = TransformerBlock(16, 4, 32)
        self.dropout1, self.ff = layers.Dropout(0.1), layers.Dense(24, activation="relu")
        self.dropout2, self.ff_final = layers.Dropout(0.1), layers.Dense(tags, activation="softmax")

    def call(self, inputs, training=False):
        x = self.block(self.embedding(inputs))
        x = self.ff(self.dropout1(x, training=training))
        return self.ff_final(self.dropout2(x, training=training))


@example({"inputs": tokens(30)}, outputs=("output",))
def named_entities():
    model = NamedEntities(30, 5)
    model(np.ones((2, 9), "int32"))
    return model


@example({"text": tokens(40, dtype="int64")}, shortest=22)
def convolutional_classifier():
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int64", name="text"),
            layers.Embedding(40, 12),
            layers.Dropout(0.5),
            layers.Conv1D(12, 7, padding="valid", activation="relu", strides=3),
            layers.Conv1D(12, 3, padding="valid", activation="relu", strides=3),
            layers.GlobalMaxPooling1D(),
            layers.Dense(12, activation="relu"),
            layers.Dense(1, activation="sigmoid", name="predictions"),
        ]
    )


class FourierMixing(layers.Layer):
    """Mixes tokens and channels by a Fourier transform instead of attention (Lee-Thorp et al., 2021)."""

    def __init__(self, width, hidden):
        super().__init__()
        self.ffn = keras.Sequential([layers.Dense(hidden, activation="gelu"), layers.Dense(width)])
        self.norm_1, self.norm_2 = layers.LayerNormalization(), layers.LayerNormalization()

    def call(self, x):
        real, _ = ops.fft2((x, ops.zeros_like(x)))
        x = self.norm_1(x + real)
        return self.norm_2(x + self.ffn(x))


@example({"tokens": tokens(30)})
def fourier_text():
    words = keras.Input((None,), dtype="int32", name="tokens")
    x = layers.Embedding(30, 16)(words)
    for _ in range(2):
        x = FourierMixing(16, 24)(x)
    x = layers.GlobalMaxPooling1D()(x)
    return keras.Model(words, layers.Dense(3, name="logits")(x))
