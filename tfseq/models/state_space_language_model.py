"""Selective state-space language model (Mamba)."""

import keras

from tfseq.keras_versions import RMSNormalization
from tfseq.layers.positions import PositionedEmbedding
from tfseq.layers.state_space import StateSpaceBlock
from tfseq.models.generator import Generator
from tfseq.models.hyperparameters import check_sizes


@keras.saving.register_keras_serializable(package="tfseq")
class StateSpaceLanguageModel(Generator):
    """P(x_t | x_<t) by selective state spaces over x_<t: Mamba (Gu and Dao, 2023).

    Trained with a parallel scan over the whole text, it generates by a recurrence: its state keeps its size however
    long the text is, as that of an LSTM does and a Transformer's cache does not.

    Args:
        vocabulary_size: number of tokens in the vocabulary.
        units: width of the model.
        depth: number of blocks.
        expansion: channels per unit, in each block.
        states: numbers that each channel remembers.
        window: positions that each block's convolution sees; at least 2.
        dropout: rate on embeddings and on what each block adds.
        tied: whether the logits take the embedding matrix, transposed (weight tying).
        end: id of the token that ends a text; None where only the maximum length ends it.

    Call arguments:
        tokens: (batch, time) int32.

    Returns:
        next-token logits at each position, (batch, time, vocabulary) float32.

    Raises:
        ValueError: hyper-parameters that can't be.
    """

    def __init__(
        self,
        vocabulary_size,
        units=256,
        depth=4,
        expansion=2,
        states=16,
        window=4,
        dropout=0.0,
        tied=True,
        end=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        sizes = {"units": units, "expansion": expansion, "states": states, "window": window}
        check_sizes(vocabulary_size=vocabulary_size, depth=depth, **sizes)
        self.vocabulary_size, self.end = vocabulary_size, end
        self.settings = {
            "vocabulary_size": vocabulary_size,
            "depth": depth,
            **sizes,
            "dropout": dropout,
            "tied": tied,
            "end": end,
        }
        policy = {"dtype": self.dtype_policy}
        self.embedding = PositionedEmbedding(
            vocabulary_size, units, positions=None, tied=tied, dropout=dropout, name="embedding", **policy
        )
        block = {**sizes, "dropout": dropout, **policy}
        self.blocks = [StateSpaceBlock(name=f"block_{i + 1}", **block) for i in range(depth)]
        self.norm = RMSNormalization(epsilon=1e-5, name="norm", **policy)

    def build(self, input_shape=None):
        for layer in (self.embedding, *self.blocks, self.norm):
            layer.build((None, None, self.settings["units"]))
        self.built = True

    def call(self, tokens, training=False):
        x = self.embedding(tokens, training=training)  # (batch, time, units)
        for block in self.blocks:
            x = block(x, training=training)
        return self.embedding.logits(self.norm(x))

    def initial_state(self, memory, batch_size):
        return [block.initial_state(batch_size) for block in self.blocks]

    def step(self, tokens, state, memory=()):
        x, states = self.embedding(tokens), []  # (rows, units)
        for block, before in zip(self.blocks, state):
            x, after = block.step(x, before)
            states.append(after)
        return self.embedding.logits(self.norm(x)), states

    def read(self, tokens, state, memory=()):
        x, states = self.embedding(tokens), []  # (batch, time, units)
        for block, before in zip(self.blocks, state):
            x, after = block.read(x, before)
            states.append(after)
        return self.embedding.logits(self.norm(x[:, -1])), states

    def get_config(self):
        return super().get_config() | self.settings
