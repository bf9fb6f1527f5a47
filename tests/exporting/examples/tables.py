"""Models of tabular features beside sequences: recommendations, structured data."""

import keras
from keras import layers, ops

from tests.exporting.examples.registry import example, floats, integers, padded, tokens


@example(
    {
        "history": tokens(20, 6),
        "ratings": floats(6),
        "sex": integers(2, 1),
        "target": integers(20, 1),
        "user": integers(10, 1),
    }
)
def behaviour_sequence_transformer():
    """The films a user saw, with places and ratings, attend to each other and to the next one (Chen et al., 2019)."""
    user, sex, target = (keras.Input((1,), dtype="int32", name=name) for name in ("user", "sex", "target"))
    history, ratings = keras.Input((6,), dtype="int32", name="history"), keras.Input((6,), name="ratings")
    film = layers.Embedding(20, 8, name="films")
    positions = layers.Embedding(6, 8)(ops.arange(0, 6))
    seen = (film(history) + positions) * ops.expand_dims(ratings, -1)
    x = layers.Concatenate(axis=1)([seen, film(target)])  # (batch, 7, 8)
    y = layers.Dropout(0.1)(layers.MultiHeadAttention(num_heads=2, key_dim=8, dropout=0.1)(x, x))
    x = layers.LayerNormalization()(layers.Add()([x, y]))
    y = layers.Dense(8)(layers.LeakyReLU()(x))
    x = layers.Flatten()(layers.LayerNormalization()(layers.Add()([x, y])))
    other = [layers.Flatten()(layers.Embedding(n, 3)(column)) for n, column in ((10, user), (2, sex))]
    x = layers.concatenate([x, *other])
    for units in (16, 8):
        x = layers.Dropout(0.1)(layers.LeakyReLU()(layers.BatchNormalization()(layers.Dense(units)(x))))
    inputs = {"user": user, "sex": sex, "history": history, "ratings": ratings, "target": target}
    return keras.Model(inputs, layers.Dense(1, name="rating")(x))


@example({"age": floats(1), "job": integers(6, 1), "visits": padded("time", 3)})
def patient_record():
    """A dictionary of columns, one of them a sequence of any length."""
    inputs = {
        "age": keras.Input((1,), name="age"),
        "job": keras.Input((1,), dtype="int32", name="job"),
        "visits": keras.Input((None, 3), name="visits"),
    }
    job = layers.CategoryEncoding(num_tokens=6, output_mode="one_hot")(inputs["job"])
    visits = layers.LSTM(8)(layers.Masking()(inputs["visits"]))
    x = layers.concatenate([layers.Normalization(mean=40.0, variance=100.0)(inputs["age"]), job, visits])
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid", name="risk")(layers.Dense(8, "relu")(x)))


class DictionaryModel(keras.Model):
    """Subclassed, takes a dictionary and gives one."""

    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(15, 6, mask_zero=True)
        self.gru = layers.GRU(8)
        self.dense, self.click, self.buy = layers.Dense(8, "selu"), layers.Dense(1), layers.Dense(1)

    def call(self, inputs):
        x = self.gru(self.embedding(inputs["basket"]))
        x = self.dense(ops.concatenate([x, inputs["context"]], axis=-1))
        return {"click": ops.sigmoid(self.click(x)), "buy": ops.sigmoid(self.buy(x))}


@example({"basket": tokens(15), "context": floats(4)}, outputs=("click", "buy"))
def basket():
    model = DictionaryModel()
    model({"basket": ops.ones((2, 5), "int32"), "context": ops.zeros((2, 4))})
    return model


@example({"categories": integers(8, 4), "numbers": floats(3)})
def table_transformer():
    """Columns are tokens: each category has an embedding and a place (Huang et al., 2020)."""
    categories = keras.Input((4,), dtype="int32", name="categories")
    numbers = keras.Input((3,), name="numbers")
    columns = [layers.Embedding(8, 8)(categories[:, i]) for i in range(4)]
    x = ops.stack(columns, axis=1) + layers.Embedding(4, 8)(ops.arange(start=0, stop=4, step=1))
    for _ in range(2):
        y = layers.MultiHeadAttention(num_heads=2, key_dim=8, dropout=0.1)(x, x)
        x = layers.LayerNormalization(epsilon=1e-6)(layers.Add()([y, x]))
        y = layers.Dense(8, activation="gelu")(layers.LayerNormalization(epsilon=1e-6)(x))
        x = layers.LayerNormalization(epsilon=1e-6)(layers.Add()([y, x]))
    x = layers.concatenate([layers.Flatten()(x), layers.LayerNormalization(epsilon=1e-6)(numbers)])
    x = layers.Dense(8, activation=keras.activations.selu)(layers.BatchNormalization()(x))
    return keras.Model([categories, numbers], layers.Dense(1, activation="sigmoid", name="income")(x))


class VariableSelection(layers.Layer):
    """Weighs the features of an example by a softmax over their own gated networks."""

    def __init__(self, features, units):
        super().__init__()
        self.networks = [layers.Dense(units, activation="elu") for _ in range(features)]
        self.weigh = layers.Dense(features, activation="softmax")

    def call(self, inputs):
        weights = ops.expand_dims(self.weigh(ops.concatenate(inputs, axis=-1)), axis=-1)
        x = ops.stack([network(x) for network, x in zip(self.networks, inputs)], axis=1)
        return ops.squeeze(ops.matmul(ops.transpose(weights, [0, 2, 1]), x), axis=1)


@example({"a": floats(2), "b": integers(5), "c": floats(1)})
def variable_selection():
    a, b, c = keras.Input((2,), name="a"), keras.Input((), dtype="int32", name="b"), keras.Input((1,), name="c")
    x = VariableSelection(3, 6)([a, layers.Embedding(5, 4)(b), c])
    return keras.Model([a, b, c], layers.Dense(1, name="price")(x))
