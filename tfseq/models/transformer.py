"""Transformer encoder-decoder (Vaswani et al., 2017)."""

import keras

from tfseq.layers.layer_norm import LayerNormalization
from tfseq.layers.positions import PositionedEmbedding, rotary_or_added
from tfseq.layers.transformer import TransformerBlock
from tfseq.layers.transformer_decoder import TransformerDecoder
from tfseq.models.generator import Generator
from tfseq.models.hyperparameters import check_sizes


@keras.saving.register_keras_serializable(package="tfseq")
class Transformer(Generator):
    """Attention Is All You Need (Vaswani et al., 2017); the defaults are its base model, but pre-norm.

    Args:
        vocabulary_size: size of the target's vocabulary.
        source_vocabulary_size: size of the source's vocabulary; None where source and target share vocabulary and
            embeddings.
        units: width of the model, a multiple of `heads`.
        heads: of each attention.
        hidden: width of the feed-forward networks.
        depth: blocks of the encoder.
        decoder_depth: blocks of the decoder; None for as many. Few make decoding quick (Kasai et al., 2021).
        dropout: rate on embeddings and on what each layer adds.
        positions: "sinusoidal"; "learned", of up to `max_positions`; or "rotary" (RoPE; Su et al., 2021), which rotates
            queries and keys by their positions in place of adding to embeddings, in cross-attention, too.
        norm: "pre" or "post", see `tfseq.layers.transformer.Residual`.
        activation: of the feed-forward networks.
        tied: whether the logits take the target's embedding matrix, transposed (weight tying).
        start, end: ids of the tokens that a target begins and ends with.

    Call arguments:
        inputs: {"source": (batch, source_time), "target": (batch, time)} int32, padded on the right with 0.

    Returns:
        next-token logits at each position of the target, (batch, time, vocabulary) float32.

    Raises:
        ValueError: hyper-parameters that can't be.

    Example:
        >>> model = Transformer(vocabulary_size=8000, units=256, heads=4, hidden=1024, depth=3)
        >>> model({"source": keras.ops.ones((2, 7), "int32"), "target": keras.ops.ones((2, 5), "int32")}).shape
        TensorShape([2, 5, 8000])
    """

    shares_memory = True
    sources = (keras.InputSpec(dtype="int32", shape=(None, None), name="source"),)

    def __init__(
        self,
        vocabulary_size,
        source_vocabulary_size=None,
        units=512,
        heads=8,
        hidden=2048,
        depth=6,
        decoder_depth=None,
        dropout=0.1,
        positions="sinusoidal",
        max_positions=512,
        norm="pre",
        activation="relu",
        tied=True,
        start=1,
        end=2,
        **kwargs,
    ):
        super().__init__(**kwargs)
        decoder_depth = depth if decoder_depth is None else decoder_depth
        check_sizes(vocabulary_size=vocabulary_size, units=units, heads=heads, hidden=hidden)
        check_sizes(depth=depth, decoder_depth=decoder_depth)
        self.vocabulary_size, self.start, self.end = vocabulary_size, start, end
        self.units, self.heads, self.norm = units, heads, norm
        self.settings = {
            "vocabulary_size": vocabulary_size,
            "source_vocabulary_size": source_vocabulary_size,
            "units": units,
            "heads": heads,
            "hidden": hidden,
            "depth": depth,
            "decoder_depth": decoder_depth,
            "dropout": dropout,
            "positions": positions,
            "max_positions": max_positions,
            "norm": norm,
            "activation": activation,
            "tied": tied,
            "start": start,
            "end": end,
        }
        policy = {"dtype": self.dtype_policy}
        self.max_positions = max_positions if positions == "learned" else None
        rotary, added = rotary_or_added(positions)
        embedding = {"positions": added, "max_positions": max_positions, "dropout": dropout} | policy
        self.target_embedding = PositionedEmbedding(vocabulary_size, units, tied=tied, name="target", **embedding)
        self.source_embedding = self.target_embedding
        if source_vocabulary_size is not None:
            check_sizes(source_vocabulary_size=source_vocabulary_size)
            self.source_embedding = PositionedEmbedding(source_vocabulary_size, units, name="source", **embedding)
        sizes, options = (units, heads, hidden), (dropout, norm, activation, rotary)
        self.encoder = [TransformerBlock(*sizes, *options, name=f"encoder_{i + 1}", **policy) for i in range(depth)]
        self.decoder = TransformerDecoder(*sizes, decoder_depth, *options, name="decoder", **policy)
        if norm == "pre":  # whose last sum is not normalized yet
            self.encoder_norm: keras.layers.Layer = LayerNormalization(name="encoder_norm", **policy)

    def build(self, input_shape=None):
        shape = (None, None, self.units)
        embeddings = {id(layer): layer for layer in (self.source_embedding, self.target_embedding)}
        norms = [self.encoder_norm] if self.norm == "pre" else []
        for layer in (*embeddings.values(), *self.encoder, self.decoder, *norms):
            layer.build(shape)
        self.built = True

    def call(self, inputs, training=False):
        memory = self.encode(inputs["source"], training=training)
        x = self.target_embedding(inputs["target"], training=training)  # (batch, time, units)
        return self.target_embedding.logits(self.decoder(x, memory, training=training))

    def encode(self, inputs=None, training=False):
        """Keys and values of every block's cross-attention, (batch, heads, source_time, head_dim), and the mask."""
        mask = inputs != 0  # (batch, source_time)
        x = self.source_embedding(inputs, training=training)  # (batch, source_time, units)
        for block in self.encoder:
            x = block(x, mask[:, None, None], training=training)
        return self.decoder.remember(self.encoder_norm(x) if self.norm == "pre" else x, mask, training)

    def initial_state(self, memory, batch_size):
        return self.decoder.initial_state(batch_size)

    def step(self, tokens, state, memory=()):
        logits, state, _ = self.step_with_attention(tokens, state, memory)
        return logits, state

    def step_with_attention(self, tokens, state, memory=()):
        """`step`, and the attention weights of the last block over the source: the mean of its heads."""
        x = self.target_embedding(tokens, state.position)  # (rows, units)
        x, state, weights = self.decoder.step(x, state, memory)
        return self.target_embedding.logits(x), state, weights

    def get_config(self):
        return super().get_config() | self.settings
