"""Recurrent encoder-decoder with one fixed context vector (Cho et al., 2014; Sutskever et al., 2014)."""

import keras
from keras import ops

from tfseq.layers.encoder_decoder import DeepOutput, RecurrentDecoder, RecurrentEncoder
from tfseq.models.generator import Generator
from tfseq.models.hyperparameters import check_sizes


@keras.saving.register_keras_serializable(package="tfseq")
class Seq2Seq(Generator):
    """RNN encoder-decoder (Cho et al., 2014; Sutskever et al., 2014).

    The encoder reads the source. Its final state starts the decoder, s_0 = c, and is its context at every step:

        s_t = cell(s_{t-1}, [y_{t-1}; c]),   P(y_t) = softmax(W tanh(U [s_t; c; y_{t-1}])),

    where y stands for a token's embedding. All that the decoder knows of a source, long or short, is c.

    Args:
        vocabulary_size: size of the target's vocabulary.
        source_vocabulary_size: size of the source's vocabulary; None where source and target share vocabulary and
            embeddings.
        units: width of the encoder's states and of s_t; even where the encoder is bidirectional.
        depth: recurrent layers of encoder and decoder; each starts from the encoder's final state, c is the top one's.
        cell: "rnn", "irnn", "lstm" or "gru".
        bidirectional: whether the encoder also reads from the end; each direction then has half the units.
        embedding_dim: width of the embeddings; None for `units`.
        dropout: rate on embeddings and before the logits.
        start, end: ids of the tokens that a target begins and ends with.

    Call arguments:
        inputs: {"source": (batch, source_time), "target": (batch, time)} int32, padded on the right with 0.

    Returns:
        next-token logits at each position of the target, (batch, time, vocabulary) float32.

    Raises:
        ValueError: hyper-parameters that can't be.
    """

    sources = (keras.InputSpec(dtype="int32", shape=(None, None), name="source"),)

    def __init__(
        self,
        vocabulary_size,
        source_vocabulary_size=None,
        units=256,
        depth=1,
        cell="gru",
        bidirectional=False,
        embedding_dim=None,
        dropout=0.0,
        start=1,
        end=2,
        **kwargs,
    ):
        super().__init__(**kwargs)
        embedding_dim = units if embedding_dim is None else embedding_dim
        check_sizes(vocabulary_size=vocabulary_size, units=units, depth=depth, embedding_dim=embedding_dim)
        self.vocabulary_size, self.start, self.end = vocabulary_size, start, end
        self.units, self.embedding_dim = units, embedding_dim
        self.settings = {
            "vocabulary_size": vocabulary_size,
            "source_vocabulary_size": source_vocabulary_size,
            "units": units,
            "depth": depth,
            "cell": cell,
            "bidirectional": bidirectional,
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
        self.encoder = RecurrentEncoder(cell, units, depth, bidirectional, name="encoder", **policy)
        self.decoder = RecurrentDecoder(cell, units, depth, name="decoder", **policy)
        self.head = DeepOutput(units, vocabulary_size, dropout, name="output", **policy)
        self.dropout = keras.layers.Dropout(dropout, name="dropout", **policy)

    def build(self, input_shape=None):
        for layer in {id(e): e for e in (self.source_embedding, self.target_embedding)}.values():
            layer.build((None, None))
        embedded, states = (None, None, self.embedding_dim), (None, None, self.units)
        self.encoder.build(embedded)
        self.decoder.build((None, None, self.embedding_dim + self.units))
        self.head.build([states, states, embedded])
        self.built = True

    def call(self, inputs, training=False):
        memory = self.encode(inputs["source"], training=training)
        y = self.dropout(self.target_embedding(inputs["target"]), training=training)  # (batch, time, embedding)
        c = ops.broadcast_to(memory["context"][:, None], (*ops.shape(y)[:2], self.units))  # (batch, time, units)
        s = self.decoder(ops.concatenate([y, c], axis=-1), memory["ends"], training=training)  # (batch, time, units)
        return self.head([s, c, y], training=training)

    def encode(self, inputs=None, training=False):
        """c, (batch, units), and the final states of every encoder layer."""
        x = self.dropout(self.source_embedding(inputs), training=training)  # (batch, source_time, embedding)
        _, ends = self.encoder(x, mask=inputs != 0, training=training)
        return {"context": ends[-1][0], "ends": ends}

    def initial_state(self, memory, batch_size):
        """s_0 (and c_0 for LSTM) of every layer: a list of lists of (batch, units)."""
        return memory["ends"]

    def step(self, tokens, state, memory=()):
        y, c = self.target_embedding(tokens), memory["context"]  # (batch, embedding), (batch, units)
        s, state = self.decoder.step(ops.concatenate([y, c], axis=-1), state)
        return self.head([s, c, y]), state

    def get_config(self):
        return super().get_config() | self.settings
