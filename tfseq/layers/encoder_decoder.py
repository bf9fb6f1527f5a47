"""Layers of recurrent encoder-decoders: encoder, decoders with and without attention, deep output."""

import keras
from keras import ops

from tfseq.layers import loops
from tfseq.layers.attention import alignment_layer
from tfseq.layers.recurrent import cell_weights, recurrent_layer


@keras.saving.register_keras_serializable(package="tfseq")
class RecurrentEncoder(keras.layers.Layer):
    """Recurrent layers on top of one another that read a whole source.

    Args:
        cell: "rnn", "irnn", "lstm" or "gru".
        units: width of the states; of two directions each has half.
        depth: number of layers.
        bidirectional: whether a second half of each layer reads from the end: h_i = [forward; backward].

    Call arguments:
        x: (batch, time, width).
        mask: True where x is real, (batch, time); padding on the right changes nothing.

    Returns:
        the top layer's h_i (batch, time, units), and every layer's final state: h (and c for LSTM), (batch, units)
        each, as a list of lists; of two directions side by side.

    Raises:
        ValueError: `units` is odd and `bidirectional` True.
    """

    def __init__(self, cell, units, depth=1, bidirectional=False, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        if bidirectional and units % 2:
            raise ValueError(f"units is {units}; expected an even number: each direction of the encoder has half.")
        self.cell, self.units, self.depth, self.bidirectional = cell, units, depth, bidirectional
        self.layers = [self._layer(f"layer_{i + 1}") for i in range(depth)]

    def _layer(self, name):
        policy = {"dtype": self.dtype_policy, "name": name}
        if not self.bidirectional:
            return recurrent_layer(self.cell, self.units, **policy)
        half = recurrent_layer(self.cell, self.units // 2, dtype=self.dtype_policy)
        return keras.layers.Bidirectional(half, **policy)

    def build(self, input_shape):
        for layer in self.layers:
            layer.build(input_shape)
            input_shape = (*input_shape[:-1], self.units)

    def call(self, x, mask=None, training=False):
        ends = []
        for layer in self.layers:
            x, *ended = layer(x, mask=mask, training=training)
            if self.bidirectional:
                half = len(ended) // 2  # forward h (and c), then backward h (and c)
                ended = [ops.concatenate(both, axis=-1) for both in zip(ended[:half], ended[half:])]
            ends.append(ended)
        return x, ends

    def get_config(self):
        settings = {"cell": self.cell, "units": self.units, "depth": self.depth, "bidirectional": self.bidirectional}
        return super().get_config() | settings


@keras.saving.register_keras_serializable(package="tfseq")
class RecurrentDecoder(keras.layers.Layer):
    """Recurrent layers on top of one another that go on from a given state, over a sequence or step by step.

    Args:
        cell: "rnn", "irnn", "lstm" or "gru".
        units: width of the states.
        depth: number of layers.

    Call arguments:
        x: (batch, time, width).
        state: h (and c for LSTM) of every layer, (batch, units) each, as a list of lists.

    Returns:
        the top layer's states, (batch, time, units).
    """

    def __init__(self, cell, units, depth=1, **kwargs):
        super().__init__(**kwargs)
        self.cell, self.units, self.depth = cell, units, depth
        policy = {"dtype": self.dtype_policy}
        self.layers = [recurrent_layer(cell, units, name=f"layer_{i + 1}", **policy) for i in range(depth)]

    def build(self, input_shape):
        for layer in self.layers:
            layer.build(input_shape)
            input_shape = (*input_shape[:-1], self.units)

    def call(self, x, state, training=False):
        for layer, layer_state in zip(self.layers, state):
            x, *_ = layer(x, initial_state=list(layer_state), training=training)
        return x

    def initial_state(self, batch_size):
        """Zeros: h (and c for LSTM) of every layer, (batch, units) each, as a list of lists."""
        return [list(layer.cell.get_initial_state(batch_size)) for layer in self.layers]

    def step(self, x, state):
        """One decode step: x (rows, width) -> the top layer's state (rows, units), and the new states of all layers."""
        new_state = []
        for layer, layer_state in zip(self.layers, state):
            x, layer_state = layer.cell(x, list(layer_state))  # (rows, units)
            new_state.append(list(layer_state))
        return x, new_state

    def get_config(self):
        return super().get_config() | {"cell": self.cell, "units": self.units, "depth": self.depth}


@keras.saving.register_keras_serializable(package="tfseq")
class AttentionDecoder(keras.layers.Layer):
    """A `RecurrentDecoder` that attends to a memory at each step (Bahdanau et al., 2015).

        a_t = softmax(score(s_{t-1}, h_i)) over i,   c_t = sum_i a_ti h_i,   s_t = cell(s_{t-1}, [y_{t-1}; c_t])

    Args:
        cell: "rnn", "irnn", "lstm" or "gru".
        units: width of the states and of the memory.
        depth: number of layers; the top layer's s_{t-1} is the query, the bottom one reads c_t.
        alignment: the score of s and h: "network", "dot", "general" or "cosine"; see `tfseq.layers.attention`.

    Call arguments:
        y: (batch, time, width).
        state: h (and c for LSTM) of every layer, (batch, units) each, as a list of lists.
        memory: as `remember` returned it.

    Returns:
        s_t and c_t, (batch, time, units) each.
    """

    def __init__(self, cell, units, depth=1, alignment="network", **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.settings = {"cell": cell, "units": units, "depth": depth, "alignment": alignment}
        policy = {"dtype": self.dtype_policy}
        self.recurrent = RecurrentDecoder(cell, units, depth, name="recurrent", **policy)
        self.alignment = alignment_layer(alignment, units, name="alignment", **policy)

    def build(self, input_shape):
        self.recurrent.build((None, None, input_shape[-1] + self.units))
        self.alignment.build((None, None, self.units), (None, None, self.units))

    def remember(self, states, mask=None):
        """The memory: states h, (batch, places, units), the alignment's keys of them, and the mask."""
        memory = {"states": states, "keys": self.alignment.project(states)}
        return memory if mask is None else memory | {"mask": mask}

    def call(self, y, state, memory, training=False):
        if (equations := self._equations(training)) is not None:
            return self._by_kernel(equations, y, state, memory)

        def step(state, y):
            s, c, state, _ = self.step(y, state, memory)
            return state, (s, c)

        dtypes = (self.compute_dtype, self.compute_dtype)
        _, (s, c) = loops.scan(step, state, ops.transpose(y, (1, 0, 2)), dtypes)  # (time, batch, units) each
        return ops.transpose(s, (1, 0, 2)), ops.transpose(c, (1, 0, 2))

    def _equations(self, training):
        """The cell for the CPU training kernel; None where it doesn't apply, or would recompute too much."""
        if len(self.recurrent.layers) > 1 or self.alignment.has_hidden_layer:
            return None
        return self.recurrent.layers[0].equations(training=training)

    def _by_kernel(self, equations, y, state, memory):
        """What `call` returns, by the CPU training kernel."""
        from tfseq.layers.attention_kernel import attentive_recurrence  # loads TensorFlow

        def attend(s, memory, weights):
            with keras.StatelessScope(zip(variables, weights)):
                return self._attend(s, dict(zip(names, memory)))[0]

        names = [name for name in ("states", "keys", "mask") if name in memory]
        variables = self.alignment.trainable_variables
        weights = [ops.cast(w, y.dtype) for w in cell_weights(self.recurrent.layers[0].cell)]
        h, carry = ops.cast(state[0][0], y.dtype), ops.cast(state[0][-1], "float32")
        given, fixed = [memory[name] for name in names], [variable.value for variable in variables]
        return attentive_recurrence(equations, attend, y, weights, h, carry, given, fixed)

    def _attend(self, query, memory):
        """Contexts (batch, queries, units) and weights (batch, queries, places) of queries, (batch, queries, units)."""
        weights = self.alignment.align(query, memory["keys"], memory.get("mask"))
        return ops.matmul(ops.cast(weights, self.compute_dtype), memory["states"]), weights

    def step(self, y, state, memory):
        """One decode step: y (rows, width) -> s_t and c_t, (rows, units), the new state, and weights (rows, places)."""
        sources, places = ops.shape(memory["states"])[0], ops.shape(memory["states"])[1]
        query = ops.reshape(state[-1][0], (sources, -1, self.units))  # rows that share a memory side by side
        c, weights = self._attend(query, memory)  # (sources, rows of each, units or places)
        c = ops.reshape(c, (-1, self.units))
        s, state = self.recurrent.step(ops.concatenate([y, c], axis=-1), state)
        return s, c, state, ops.reshape(weights, (-1, places))

    def get_config(self):
        return super().get_config() | self.settings


@keras.saving.register_keras_serializable(package="tfseq")
class DeepOutput(keras.layers.Layer):
    """Logits W tanh(U [s_t; c_t; y_{t-1}]): of state, context and last token (Bahdanau et al., 2015, A.2.2).

    The paper has maxout in place of tanh.

    Args:
        units: width of the hidden layer.
        vocabulary_size: number of tokens in the vocabulary.
        dropout: rate before the logits.

    Call arguments:
        parts: a list of tensors, (..., width) each, to concatenate.

    Returns:
        logits (..., vocabulary) float32.
    """

    def __init__(self, units, vocabulary_size, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.units, self.vocabulary_size, self.rate = units, vocabulary_size, dropout
        policy = {"dtype": self.dtype_policy}
        self.hidden = keras.layers.Dense(units, "tanh", name="hidden", **policy)
        self.dropout = keras.layers.Dropout(dropout, name="dropout", **policy)
        self.logits = keras.layers.Dense(vocabulary_size, name="logits", **policy)

    def build(self, parts_shape):
        self.hidden.build((*parts_shape[0][:-1], sum(shape[-1] for shape in parts_shape)))
        self.logits.build((*parts_shape[0][:-1], self.units))

    def call(self, parts, training=False):
        x = self.dropout(self.hidden(ops.concatenate(parts, axis=-1)), training=training)
        return ops.cast(self.logits(x), "float32")

    def get_config(self):
        settings = {"units": self.units, "vocabulary_size": self.vocabulary_size, "dropout": self.rate}
        return super().get_config() | settings
