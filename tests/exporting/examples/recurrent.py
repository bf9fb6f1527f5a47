"""Recurrent networks over text, digits and rows of pictures."""

import keras
from keras import layers, ops

from tests.exporting.examples.registry import example, floats, integers, one_hot, pixels, tokens


@example({"question": one_hot(12, 7)})
def addition():
    """Spells out the sum of two numbers: reads, repeats the code, writes."""
    return keras.Sequential(
        [
            layers.Input((7, 12), name="question"),
            layers.LSTM(16),
            layers.RepeatVector(4),
            layers.LSTM(16, return_sequences=True),
            layers.Dense(12, activation="softmax", name="digits"),
        ]
    )


@example({"review": tokens(30)})
def sentiment_bidirectional():
    review = keras.Input((None,), dtype="int32", name="review")
    x = layers.Embedding(30, 8)(review)
    x = layers.Bidirectional(layers.LSTM(8, return_sequences=True))(x)
    x = layers.Bidirectional(layers.LSTM(8))(x)
    return keras.Model(review, layers.Dense(1, activation="sigmoid", name="positive")(x))


@example({"review": tokens(30)})
def sentiment_masked():
    """Padding is skipped by every layer up to the last state."""
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32", name="review"),
            layers.Embedding(30, 8, mask_zero=True),
            layers.Bidirectional(layers.LSTM(8, return_sequences=True)),
            layers.Dropout(0.3),
            layers.Bidirectional(layers.GRU(8), merge_mode="sum"),
            layers.Dense(8, activation="relu"),
            layers.Dense(1, name="logit"),
        ]
    )


class StreamingWriter(keras.Model):
    """Predicts the next character; hands its state back to whoever asks for it."""

    def __init__(self, vocabulary_size, units):
        super().__init__()
        self.embedding = layers.Embedding(vocabulary_size, 8)
        self.gru = layers.GRU(units, return_sequences=True, return_state=True)
        self.dense = layers.Dense(vocabulary_size)

    def call(self, characters, states=None, return_state=False, training=False):
        x = self.embedding(characters, training=training)
        x, states = self.gru(x, initial_state=states, training=training)
        x = self.dense(x, training=training)
        return (x, states) if return_state else x


@example({"characters": integers(20, "time")}, outputs=("output",))
def text_writer():
    model = StreamingWriter(20, 16)
    model(ops.zeros((1, 5), "int32"))
    return model


@example({"story": tokens(20, 12), "query": tokens(20, 4)})
def question_answering_memory():
    """An end-to-end memory network: the question attends to the story, an LSTM reads both."""
    story = keras.Input((12,), dtype="int32", name="story")
    query = keras.Input((4,), dtype="int32", name="query")
    memory = layers.Embedding(20, 8)(story)  # (batch, 12, 8)
    response = layers.Embedding(20, 4)(story)  # (batch, 12, 4)
    question = layers.Embedding(20, 8)(query)  # (batch, 4, 8)
    match = layers.Activation("softmax")(layers.Dot(axes=(2, 2))([memory, question]))  # (batch, 12, 4)
    response = layers.Permute((2, 1))(layers.Add()([match, response]))
    answer = layers.LSTM(8)(layers.Concatenate()([response, question]))
    return keras.Model([story, query], layers.Dense(20, activation="softmax", name="answer")(answer))


@example({"digit": pixels(9, 8, 1)})
def hierarchical_rows():
    """An LSTM reads each row of pixels, another reads the rows."""
    digit = keras.Input((9, 8, 1), name="digit")
    rows = layers.TimeDistributed(layers.LSTM(8))(digit)
    return keras.Model(digit, layers.Dense(10, activation="softmax", name="label")(layers.LSTM(8)(rows)))


@example({"digit": pixels(16, 1)})
def identity_rnn():
    """A ReLU network that starts as the identity reads pixel by pixel (Le et al., 2015)."""
    return keras.Sequential(
        [
            keras.Input((16, 1), name="digit"),
            layers.SimpleRNN(12, activation="relu", recurrent_initializer=keras.initializers.Identity(1.0)),
            layers.Dense(10, activation="softmax", name="label"),
        ]
    )


@example({"left": tokens(25, "source_time"), "right": tokens(25, "target_time")})
def siamese_sentences():
    """One encoder for both sentences; alike means near in Manhattan distance."""
    words = keras.Input((None,), dtype="int32")
    encoder = keras.Model(words, layers.LSTM(8)(layers.Embedding(25, 6, mask_zero=True)(words)), name="encoder")
    left = keras.Input((None,), dtype="int32", name="left")
    right = keras.Input((None,), dtype="int32", name="right")
    distance = ops.sum(ops.abs(encoder(left) - encoder(right)), axis=-1, keepdims=True)
    return keras.Model([left, right], layers.Activation("sigmoid", name="alike")(-distance))


class AttentionPooling(layers.Layer):
    """Weights the steps by a learned score; padding gets none."""

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], shape[-1]), initializer="glorot_uniform", name="w")
        self.v = self.add_weight(shape=(shape[-1], 1), initializer="glorot_uniform", name="v")

    def call(self, x, mask=None):
        scores = ops.matmul(ops.tanh(ops.matmul(x, self.w)), self.v)  # (batch, time, 1)
        if mask is not None:
            scores = scores - 1e9 * (1 - ops.cast(mask, x.dtype)[..., None])
        return ops.sum(x * ops.softmax(scores, axis=1), axis=1)


@example({"review": tokens(30)})
def gru_with_attention():
    review = keras.Input((None,), dtype="int32", name="review")
    x = layers.Embedding(30, 8, mask_zero=True)(review)
    x = layers.Bidirectional(layers.GRU(8, return_sequences=True))(x)
    return keras.Model(review, layers.Dense(3, activation="softmax", name="topic")(AttentionPooling()(x)))


@example({"words": tokens(30)})
def tagger():
    """A label for each word; stacked cells in one layer, a residual connection, a head per step."""
    words = keras.Input((None,), dtype="int32", name="words")
    x = layers.SpatialDropout1D(0.2)(layers.Embedding(30, 8, mask_zero=True)(words))
    y = layers.RNN([layers.LSTMCell(8), layers.GRUCell(8)], return_sequences=True)(x)
    x = layers.LayerNormalization()(layers.Add()([x, y]))
    return keras.Model(words, layers.TimeDistributed(layers.Dense(5, activation="softmax"), name="tags")(x))


class MinimalGatedCell(layers.Layer):
    """A cell of one's own: one gate, and a count of the steps beside the state."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units
        self.state_size = [units, 1]
        self.output_size = units

    def build(self, shape):
        self.gate = self.add_weight(shape=(shape[-1] + self.units, self.units), name="gate")
        self.candidate = self.add_weight(shape=(shape[-1] + self.units, self.units), name="candidate")

    def call(self, x, states, training=False):
        h, steps = states
        f = ops.sigmoid(ops.matmul(ops.concatenate([x, h], axis=-1), self.gate))
        new = ops.tanh(ops.matmul(ops.concatenate([x, f * h], axis=-1), self.candidate))
        h = (1 - f) * h + f * new
        return h / (1 + steps), [h, steps + 1]


@example({"readings": floats("time", 5)}, loop="ONNX has no operator for a cell of one's own")
def own_cell():
    readings = keras.Input((None, 5), name="readings")
    x, h, _ = layers.RNN(MinimalGatedCell(6), return_sequences=True, return_state=True)(readings)
    x = layers.Concatenate()([layers.GlobalAveragePooling1D()(x), h])
    return keras.Model(readings, layers.Dense(2, name="forecast")(x))


@example(
    {
        "body": tokens(25, "source_time"),
        "tags": integers(2, 6),
        "title": tokens(25, "target_time"),
    },
    outputs=("priority", "department"),
)
def ticket_routing():
    """Three inputs, two outputs, given and taken as dictionaries."""
    title = keras.Input((None,), dtype="int32", name="title")
    body = keras.Input((None,), dtype="int32", name="body")
    tags = keras.Input((6,), dtype="int32", name="tags")
    embed = layers.Embedding(25, 8)
    x = layers.concatenate([layers.LSTM(8)(embed(title)), layers.LSTM(6)(embed(body)), ops.cast(tags, "float32")])
    return keras.Model(
        {"title": title, "body": body, "tags": tags},
        {"priority": layers.Dense(1)(x), "department": layers.Dense(4)(x)},
    )


def stateful_meter():
    """Keeps its states from call to call; for `test_a_stateful_model_reads_on_where_it_stopped` alone."""
    return keras.Sequential(
        [
            keras.Input(batch_shape=(2, None, 3), name="readings"),
            layers.LSTM(6, return_sequences=True, stateful=True),
            layers.GRU(5, return_sequences=True, stateful=True),
            layers.Dense(1, name="total"),
        ]
    )
