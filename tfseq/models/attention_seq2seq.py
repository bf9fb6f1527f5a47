"""Recurrent encoder-decoder with attention over the source (Bahdanau et al., 2015)."""

import keras

from tfseq.layers.encoder_decoder import AttentionDecoder, DeepOutput, RecurrentEncoder
from tfseq.models.generator import Generator
from tfseq.models.hyperparameters import check_sizes


@keras.saving.register_keras_serializable(package="tfseq")
class AttentionSeq2Seq(Generator):
    """RNN encoder-decoder with attention (Bahdanau et al., 2015).

    The encoder reads the source in both directions: h_i = [forward; backward]. At each step of the decoder, anew,

        a_t = softmax(score(s_{t-1}, h_i)) over i,   c_t = sum_i a_ti h_i,   s_t = cell(s_{t-1}, [y_{t-1}; c_t]),
        P(y_t) = softmax(W tanh(U [s_t; c_t; y_{t-1}])),

    where y stands for a token's embedding and s_0 for the encoder's final state, its two directions side by side.

    Args:
        vocabulary_size: size of the target's vocabulary.
        source_vocabulary_size: size of the source's vocabulary; None where source and target share vocabulary and
            embeddings.
        units: width of h_i and s_t; even, half for each direction.
        depth: recurrent layers of encoder and decoder; the top layer's s_{t-1} is the query, the bottom one reads c_t.
        cell: "rnn", "irnn", "lstm" or "gru".
        alignment: the score of s and h: "network", "dot", "general" or "cosine"; see `tfseq.layers.attention`.
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
        self.encoder = RecurrentEncoder(cell, units, depth, bidirectional=True, name="encoder", **policy)
        self.decoder = AttentionDecoder(cell, units, depth, alignment, name="decoder", **policy)
        self.head = DeepOutput(units, vocabulary_size, dropout, name="output", **policy)
        self.dropout = keras.layers.Dropout(dropout, name="dropout", **policy)

    def build(self, input_shape=None):
        for layer in {id(e): e for e in (self.source_embedding, self.target_embedding)}.values():
            layer.build((None, None))
        embedded, states = (None, None, self.embedding_dim), (None, None, self.units)
        self.encoder.build(embedded)
        self.decoder.build(embedded)
        self.head.build([states, states, embedded])
        self.built = True

    def call(self, inputs, training=False):
        memory = self.encode(inputs["source"], training=training)
        y = self.dropout(self.target_embedding(inputs["target"]), training=training)  # (batch, time, embedding)
        s, c = self.decoder(y, memory["ends"], memory, training=training)  # (batch, time, units) each
        return self.head([s, c, y], training=training)

    def encode(self, inputs=None, training=False):
        """The encoder's states, (batch, source_time, units), the alignment's keys, the mask, and the final states."""
        mask = inputs != 0  # (batch, source_time)
        x = self.dropout(self.source_embedding(inputs), training=training)
        x, ends = self.encoder(x, mask=mask, training=training)
        return self.decoder.remember(x, mask) | {"ends": ends}

    def initial_state(self, memory, batch_size):
        """s_0 (and c_0 for LSTM) of every layer: a list of lists of (batch, units)."""
        return memory["ends"]

    def step(self, tokens, state, memory=()):
        logits, state, _ = self.step_with_attention(tokens, state, memory)
        return logits, state

    def step_with_attention(self, tokens, state, memory=()):
        y = self.target_embedding(tokens)  # (rows, embedding)
        s, c, state, weights = self.decoder.step(y, state, memory)
        return self.head([s, c, y]), state, weights

    def get_config(self):
        return super().get_config() | self.settings
