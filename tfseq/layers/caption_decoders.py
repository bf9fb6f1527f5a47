"""Caption decoders (recurrent, with attention, Transformer) over the features of an image, behind one interface.

A decoder reads the embeddings of the words so far, and returns a hidden state per position for the next word:

- `build(y_shape, places_shape)` takes the shapes of the embeddings and of the places.
- `remember(places)` encodes the places, (batch, places, units), once per image: the memory, a pytree of tensors
  (batch, ...).
- `initial_state(memory, batch_size)` is the state before the first word.
- `decoder(y, memory)` reads a whole caption, y (batch, time, width) -> (batch, time, units).
- `step(y, state, memory)` is one decode step, y (rows, width): it returns (rows, units), the new state, and attention
  weights (rows, places) float32, or None. Rows that share a memory stand side by side.
- `looks` says whether it attends to places, and returns the weights.
"""

import keras
from keras import ops

from tfseq.layers.encoder_decoder import AttentionDecoder, RecurrentDecoder
from tfseq.layers.layer_norm import LayerNormalization
from tfseq.layers.positions import sinusoidal_positions
from tfseq.layers.transformer_decoder import TransformerDecoder

SUMMARIES = ("max", "mean", "flat")


@keras.saving.register_keras_serializable(package="tfseq")
class Places(keras.layers.Layer):
    """The features f_i of each place i of an image with its position: LayerNorm(W f_i + p_i), p_i learned.

    Convolutional features do not depend on the position; "left of" takes p_i.

    Args:
        units: width of the vector of a place.

    Call arguments:
        features: a grid, (batch, rows, columns, width), or its places row by row, (batch, places, width).

    Returns:
        (batch, places, units).

    Raises:
        ValueError: features of other shapes.
    """

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        policy = {"dtype": self.dtype_policy}
        self.project = keras.layers.Dense(units, name="project", **policy)
        self.norm = LayerNormalization(name="norm", **policy)

    def build(self, input_shape):
        if len(input_shape) not in (3, 4) or None in input_shape[1:]:
            raise ValueError(
                f"The encoder's features have the shape {tuple(input_shape)}; expected (batch, rows, columns, width) "
                "or (batch, places, width), with numbers but for the batch."
            )
        *_, width = input_shape
        self.count = input_shape[1] if len(input_shape) == 3 else input_shape[1] * input_shape[2]
        self.project.build((None, self.count, width))
        initial = keras.initializers.RandomNormal(stddev=0.02)
        self.positions = self.add_weight((self.count, self.units), initial, name="positions")
        self.norm.build((None, self.count, self.units))

    def call(self, features):
        x = self.project(ops.reshape(features, (-1, self.count, features.shape[-1])))
        return self.norm(x + ops.cast(self.positions, x.dtype))

    def get_config(self):
        return super().get_config() | {"units": self.units}


@keras.saving.register_keras_serializable(package="tfseq")
class RecurrentCaptionDecoder(keras.layers.Layer):
    """One vector v of the image enters every step: h_t = cell(h_{t-1}, [y_{t-1}; v]), h_0 = 0.

    For the vanilla cell that is the lecture's h_t = tanh(W_xh y_{t-1} + W_hh h_{t-1} + W_ih v + b), [W_xh, W_ih] being
    one matrix. v pools the places x_i by a layer f(x) = ReLU(W x + b):

    - "max": v = max_i f(x_i), the strongest sign of each feature anywhere; one W for all places, which know where they
      are;
    - "mean": v = f(mean_i x_i);
    - "flat": v = f([x_1; x_2; ...]), a W for every place: it grows with the grid, and each place is learned alone.

    Args:
        units: width of the states.
        depth: recurrent layers, each reading the one below; v enters the first.
        cell: "rnn", "irnn", "lstm" or "gru".
        summary: "max", "mean" or "flat".
        width: of v; None for 2 units.

    Raises:
        ValueError: hyper-parameters that can't be.
    """

    looks = False

    def __init__(self, units=256, depth=1, cell="gru", summary="max", width=None, **kwargs):
        super().__init__(**kwargs)
        _check(units, depth)
        width = 2 * units if width is None else width
        if width < 1:
            raise ValueError(f"width is {width}; expected at least 1.")
        if summary not in SUMMARIES:
            raise ValueError(f"summary is {summary!r}; expected one of {', '.join(SUMMARIES)}.")
        self.units, self.summary, self.width = units, summary, width
        self.settings = {"units": units, "depth": depth, "cell": cell, "summary": summary, "width": width}
        policy = {"dtype": self.dtype_policy}
        self.vector = keras.layers.Dense(width, "relu", name="vector", **policy)
        self.recurrent = RecurrentDecoder(cell, units, depth, name="recurrent", **policy)

    def build(self, y_shape, places_shape):
        _, places, units = places_shape
        self.vector.build((None, places * units if self.summary == "flat" else units))
        self.recurrent.build((None, None, y_shape[-1] + self.width))

    def remember(self, places):
        """v, (batch, width)."""
        match self.summary:
            case "max":
                return ops.max(self.vector(places), axis=1)
            case "mean":
                return self.vector(ops.mean(places, axis=1))
        return self.vector(ops.reshape(places, (-1, places.shape[1] * places.shape[2])))

    def initial_state(self, memory, batch_size):
        """h_0 (and c_0) of every layer: a list of lists of (batch, units)."""
        return self.recurrent.initial_state(batch_size)

    def call(self, y, memory, training=False):
        state = self.initial_state(memory, ops.shape(y)[0])
        return self.recurrent(_beside(y, memory), state, training=training)

    def step(self, y, state, memory):
        y = ops.reshape(y, (ops.shape(memory)[0], -1, y.shape[-1]))  # (sources, rows of each, width)
        x = ops.reshape(_beside(y, memory), (-1, y.shape[-1] + self.width))
        return *self.recurrent.step(x, state), None

    def get_config(self):
        return super().get_config() | self.settings


def _beside(y, v):
    """[y_t; v] at every t: y (batch, time, n), v (batch, width)."""
    v = ops.broadcast_to(v[:, None], (*ops.shape(y)[:2], v.shape[-1]))
    return ops.concatenate([y, v], axis=-1)


@keras.saving.register_keras_serializable(package="tfseq")
class AttentionCaptionDecoder(keras.layers.Layer):
    """A recurrent decoder that attends to the places at each step: Show, Attend and Tell (Xu et al., 2015).

        a_t = softmax(score(s_{t-1}, x_i)) over i,   c_t = sum_i a_ti x_i,   s_t = cell(s_{t-1}, [y_{t-1}; c_t])

    s_0 is tanh(W m + b), m the mean of the places (section 3.1.2), and the state of a position is
    tanh(U [s_t; c_t; y_{t-1}]), as in `DeepOutput`.

    Args:
        units: width of the states.
        depth: recurrent layers; the top layer's s_{t-1} is the query, the bottom one reads c_t.
        cell: "rnn", "irnn", "lstm" or "gru".
        alignment: the score of s and x: "network", "dot", "general" or "cosine"; see `tfseq.layers.attention`.

    Raises:
        ValueError: hyper-parameters that can't be.
    """

    looks = True

    def __init__(self, units=256, depth=1, cell="gru", alignment="network", **kwargs):
        super().__init__(**kwargs)
        _check(units, depth)
        self.units = units
        self.settings = {"units": units, "depth": depth, "cell": cell, "alignment": alignment}
        policy = {"dtype": self.dtype_policy}
        self.attention = AttentionDecoder(cell, units, depth, alignment, name="attention", **policy)
        self.states = depth * (2 if cell == "lstm" else 1)
        self.start = keras.layers.Dense(self.states * units, "tanh", name="start", **policy)
        self.deep = keras.layers.Dense(units, "tanh", name="deep", **policy)

    def build(self, y_shape, places_shape=None):
        self.attention.build(y_shape)
        self.start.build((None, self.units))
        self.deep.build((None, None, 2 * self.units + y_shape[-1]))

    def remember(self, places):
        """The places, the alignment's keys, and the mean of the places."""
        return self.attention.remember(places) | {"mean": ops.mean(places, axis=1)}

    def initial_state(self, memory, batch_size):
        """s_0 (and c_0 for LSTM) of every layer: a list of lists of (batch, units)."""
        states = ops.split(self.start(memory["mean"]), self.states, axis=-1)
        each = self.states // self.settings["depth"]
        return [states[i : i + each] for i in range(0, self.states, each)]

    def call(self, y, memory, training=False):
        state = self.initial_state(memory, ops.shape(y)[0])
        s, c = self.attention(y, state, memory, training=training)
        return self.deep(ops.concatenate([s, c, y], axis=-1))

    def step(self, y, state, memory):
        s, c, state, weights = self.attention.step(y, state, memory)
        return self.deep(ops.concatenate([s, c, y], axis=-1)), state, weights

    def get_config(self):
        return super().get_config() | self.settings


@keras.saving.register_keras_serializable(package="tfseq")
class TransformerCaptionDecoder(keras.layers.Layer):
    """A Transformer's decoder with the places as memory; positions of words are sinusoidal (Vaswani et al., 2017).

    Args:
        units: width of the states and of the words' embeddings, even and a multiple of `heads`.
        heads: of each attention.
        hidden: width of the feed-forward networks; None for 4 units.
        depth: number of blocks.
        dropout: rate on what each layer adds.
        norm: "pre" or "post", see `tfseq.layers.transformer.Residual`.
        activation: of the feed-forward networks.

    Raises:
        ValueError: hyper-parameters that can't be; embeddings of another width.
    """

    looks = True

    def __init__(self, units=256, heads=4, hidden=None, depth=2, dropout=0.0, norm="pre", activation="relu", **kwargs):
        super().__init__(**kwargs)
        hidden = 4 * units if hidden is None else hidden
        _check(units, depth)
        if units % 2:
            raise ValueError(f"units is {units}; expected an even number: sines and cosines take half each.")
        self.units = units
        self.settings = {
            "units": units,
            "heads": heads,
            "hidden": hidden,
            "depth": depth,
            "dropout": dropout,
            "norm": norm,
            "activation": activation,
        }
        self.blocks = TransformerDecoder(**self.settings, name="blocks", dtype=self.dtype_policy)

    def build(self, y_shape, places_shape=None):
        if y_shape[-1] != self.units:
            raise ValueError(
                f"embedding_dim is {y_shape[-1]} and the decoder's units {self.units}; expected equal widths, as "
                "embedding_dim=None gives them."
            )
        self.blocks.build()

    def remember(self, places):
        """Keys and values of each block, (batch, heads, places, head_dim) each."""
        return self.blocks.remember(places)

    def initial_state(self, memory, batch_size):
        """An empty KV cache, a `CachedState`."""
        return self.blocks.initial_state(batch_size)

    def call(self, y, memory, training=False):
        positions = sinusoidal_positions(ops.arange(ops.shape(y)[1], dtype="int32"), self.units)
        return self.blocks(y + ops.cast(positions, y.dtype), memory, training=training)

    def step(self, y, state, memory):
        position = sinusoidal_positions(state.position, self.units)
        return self.blocks.step(y + ops.cast(position, y.dtype), state, memory)

    def get_config(self):
        return super().get_config() | self.settings


def _check(units, depth):
    if units < 1 or depth < 1:
        raise ValueError(f"units is {units} and depth {depth}; expected at least 1 of each.")
