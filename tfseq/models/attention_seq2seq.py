"""A recurrent encoder-decoder whose decoder looks back at the source at every step."""

import keras
from keras import ops

from tfseq.layers import loops
from tfseq.layers.attention import alignment_layer
from tfseq.layers.recurrent import recurrent_layer
from tfseq.models.generator import Generator
from tfseq.models.sizes import check_sizes


@keras.saving.register_keras_serializable(package="tfseq")
class AttentionSeq2Seq(Generator):
    """RNN encoder-decoder with attention (Bahdanau et al., 2015).

    The encoder reads the source in both directions: h_i = [forward; backward]. At each step of the decoder, anew,

        a_t = softmax(score(s_{t-1}, h_i)) over i,   c_t = sum_i a_ti h_i,   s_t = cell(s_{t-1}, [y_{t-1}; c_t]),
        P(y_t) = softmax(W tanh(U [s_t; c_t; y_{t-1}])),

    where y stands for a symbol's embedding and s_0 for where the encoder ended, its two directions side by side.

    Args:
        vocabulary_size: symbols of the target.
        source_vocabulary_size: symbols of the source; None where source and target share symbols and embeddings.
        units: width of h_i and s_t; even, half for each direction.
        depth: recurrent layers of encoder and decoder; the top layer's s_{t-1} is compared, the bottom one reads c_t.
        cell: "rnn", "irnn", "lstm" or "gru".
        alignment: how s is compared with h: "network", "dot", "general" or "cosine"; see `tfseq.layers.attention`.
        embedding_dim: width of the embeddings; None for `units`.
        dropout: rate on embeddings and before the logits.
        start, end: symbols that a target begins and ends with.

    Call arguments:
        inputs: {"source": (batch, source_time), "target": (batch, time)} int32, padded on the right with 0.

    Returns:
        logits of the symbol after each position of the target, (batch, time, vocabulary) float32.

    Raises:
        ValueError: hyper-parameters that can't be.
    """

    shares_memory = True
    sources = (keras.InputSpec(dtype="int32", shape=(None, None), name="source"),)

    def __init__(
        self,
        vocabulary_size,
        source_vocabulary_size=None,
        units=256,
        depth=1,
        cell="gru",
        alignment="network",
        embedding_dim=None,
        dropout=0.0,
        start=1,
        end=2,
        **kwargs,
    ):
        super().__init__(**kwargs)
        embedding_dim = units if embedding_dim is None else embedding_dim
        check_sizes(vocabulary_size=vocabulary_size, units=units, depth=depth, embedding_dim=embedding_dim)
        if units % 2:
            raise ValueError(f"units is {units}; expected an even number: each direction of the encoder has half.")
        self.vocabulary_size, self.start, self.end = vocabulary_size, start, end
        self.units, self.embedding_dim = units, embedding_dim
        self.settings = {
            "vocabulary_size": vocabulary_size,
            "source_vocabulary_size": source_vocabulary_size,
            "units": units,
            "depth": depth,
            "cell": cell,
            "alignment": alignment,
            "embedding_dim": embedding_dim,
            "dropout": dropout,
            "start": start,
            "end": end,
        }
        policy = {"dtype": self.dtype_policy}
        self.target_embedding = keras.layers.Embedding(vocabulary_size, embedding_dim, name="target", **policy)
        self.source_embedding = self.target_embedding
        if source_vocabulary_size is not None:
            check_sizes(source_vocabulary_size=source_vocabulary_size)
            self.source_embedding = keras.layers.Embedding(
                source_vocabulary_size, embedding_dim, name="source", **policy
            )
        self.encoder = [
            keras.layers.Bidirectional(recurrent_layer(cell, units // 2, **policy), name=f"encoder_{i + 1}", **policy)
            for i in range(depth)
        ]
        self.decoder = [recurrent_layer(cell, units, name=f"decoder_{i + 1}", **policy) for i in range(depth)]
        self.alignment = alignment_layer(alignment, units, name="alignment", **policy)
        self.readout = keras.layers.Dense(units, "tanh", name="readout", **policy)
        self.head = keras.layers.Dense(vocabulary_size, name="logits", **policy)
        self.dropout = keras.layers.Dropout(dropout, name="dropout", **policy)

    def build(self, input_shape=None):
        for layer in {id(e): e for e in (self.source_embedding, self.target_embedding)}.values():
            layer.build((None, None))
        states = (None, None, self.units)
        width = self.embedding_dim
        for encoder, decoder in zip(self.encoder, self.decoder):
            encoder.build((None, None, width))
            decoder.build((None, None, self.units + width if decoder is self.decoder[0] else self.units))
            width = self.units
        self.alignment.build(states, states)
        self.readout.build((None, None, 2 * self.units + self.embedding_dim))
        self.head.build(states)
        self.built = True

    def call(self, inputs, training=False):
        memory = self.encode(inputs["source"], training=training)
        y = self.dropout(self.target_embedding(inputs["target"]), training=training)  # (batch, time, embedding)

        def step(state, y):
            read, state, _ = self._recur(y, state, memory)
            return state, read

        state = self.initial_state(memory, ops.shape(y)[0])
        _, read = loops.scan(step, state, ops.transpose(y, (1, 0, 2)), self.compute_dtype)  # (time, batch, 2 units)
        return self._logits(ops.transpose(read, (1, 0, 2)), y, training)

    def encode(self, inputs=None, training=False):
        """The encoder's states, (batch, source_time, units), what the alignment makes of them, and where they ended."""
        mask = inputs != 0  # (batch, source_time)
        x = self.dropout(self.source_embedding(inputs), training=training)
        ends = []
        for layer in self.encoder:
            x, *ended = layer(x, mask=mask, training=training)
            half = len(ended) // 2  # forward h (and c), then backward h (and c)
            ends.append([ops.concatenate(both, axis=-1) for both in zip(ended[:half], ended[half:])])
        return {"states": x, "keys": self.alignment.project(x), "mask": mask, "ends": ends}

    def initial_state(self, memory, batch_size):
        """s_0 (and c_0 for LSTM) of every layer: a list of lists of (batch, units)."""
        return memory["ends"]

    def step(self, tokens, state, memory=()):
        logits, state, _ = self.step_with_attention(tokens, state, memory)
        return logits, state

    def step_with_attention(self, tokens, state, memory=()):
        y = self.target_embedding(tokens)  # (rows, embedding)
        read, state, weights = self._recur(y, state, memory)
        return self._logits(read, y), state, weights

    def _recur(self, y, state, memory):
        """One step: [s_t; c_t] (rows, 2 units), the new state, and weights (rows, source_time)."""
        sources, time = ops.shape(memory["mask"])[0], ops.shape(memory["mask"])[1]
        query = ops.reshape(state[-1][0], (sources, -1, self.units))  # rows that share a memory side by side
        weights = self.alignment.align(query, memory["keys"], memory["mask"])  # (sources, rows of each, source_time)
        context = ops.matmul(ops.cast(weights, self.compute_dtype), memory["states"])
        context = ops.reshape(context, (-1, self.units))
        x = ops.concatenate([y, context], axis=-1)
        new_state = []
        for layer, layer_state in zip(self.decoder, state):
            x, layer_state = layer.cell(x, list(layer_state))  # (rows, units)
            new_state.append(list(layer_state))
        return ops.concatenate([x, context], axis=-1), new_state, ops.reshape(weights, (-1, time))

    def _logits(self, read, y, training=False):
        x = self.readout(ops.concatenate([read, y], axis=-1))
        return ops.cast(self.head(self.dropout(x, training=training)), "float32")

    def get_config(self):
        return super().get_config() | self.settings
