"""A character language model of Transformer blocks: text -> random blocks -> ONNX -> text.

Learns from: Python's help topics; any text.
Makes: a text generator.
Quick: 125 s.

    python -m pipelines.transformer_lm quick                 # the help texts that come with Python
    python -m pipelines.transformer_lm full --data FILE      # the figure of benchmarks/RESULTS.md
    python -m pipelines.transformer_lm quick --positions learned --tfds tiny_shakespeare
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import keras

from pipelines.parts.language_models import run_on_blocks
from pipelines.parts.presets import run_with_presets
from tfseq.models import TransformerLanguageModel
from tfseq.training import Precision, SupervisedSettings, training_precision
from tfseq.training.setting_ranges import (
    Amount,
    CheckedSettings,
    Count,
    Depth,
    Name,
    ShareBelowOne,
    Size,
    Text,
    check_heads,
)


@dataclass(frozen=True)
class TransformerLM(CheckedSettings):
    """Settings of one run.

    Attributes:
        data: a UTF-8 text file; the default is the English text of Python's own help topics.
        tfds: a text data set of tensorflow-datasets instead, such as tiny_shakespeare.
        block: characters that the model reads at a time while it is trained.
        steps: training steps of an epoch, which ends with an evaluation and a checkpoint.
        units: width of the states.
        heads: of each attention.
        depth: number of blocks of layers.
        dropout: rate on embeddings and on what each layer adds.
        positions: learned for each of the first `block`, sinusoidal, or rotary, which turns queries and keys.
        window: characters that each layer looks back at, which with rotary positions lets the model write texts of any
            length; none looks back at all of the block, and writes badly beyond it.
        precision: of products while training; auto takes mixed_bfloat16 where this machine computes it faster, else
            float32. What is exported is always float32.
        training: how to train.
        name: of the artefact, in exported/; transformer_lm or transformer_lm_DATA by default.
        resume: go on with the run of this name where it was interrupted.
        prompt: what the sample starts with.
        length: characters the sample adds.
        temperature: of the sample, and the file's default.
    """

    data: Path | None = None
    tfds: str | None = None
    block: Count = 64
    steps: Count = 100
    units: Size = 112
    heads: Size = 2
    depth: Depth = 2
    dropout: ShareBelowOne = 0.0
    positions: Literal["learned", "sinusoidal", "rotary"] = "rotary"
    window: Size | None = 32
    precision: Precision = "auto"
    training: SupervisedSettings = field(default_factory=SupervisedSettings)
    name: Name | None = None
    resume: bool = False
    prompt: Text = "A class "
    length: Count = 400
    temperature: Amount = 0.7

    def __post_init__(self):
        super().__post_init__()
        check_heads(self.units, self.heads)


QUICK = TransformerLM(training=SupervisedSettings(epochs=7, batch=16, learning_rate=4e-3))
FULL = TransformerLM(
    block=256,
    window=128,
    steps=400,
    units=256,
    heads=4,
    depth=6,
    dropout=0.2,
    training=SupervisedSettings(epochs=13, batch=16, learning_rate=2e-3, warmup=0.03, weight_decay=0.1),
)


def main(settings: TransformerLM) -> None:
    run_on_blocks(
        settings,
        "transformer_lm",
        build,
        what=f"decoder-only Transformer, {settings.depth} blocks of {settings.units} units",
    )


def build(settings: TransformerLM, vocabulary_size: int) -> TransformerLanguageModel:
    keras.utils.set_random_seed(settings.training.seed)
    return TransformerLanguageModel(
        vocabulary_size,
        units=settings.units,
        heads=settings.heads,
        depth=settings.depth,
        dropout=settings.dropout,
        positions=settings.positions,
        max_positions=settings.block,
        window=settings.window,
        dtype=training_precision(settings.precision),
        name="transformer_lm",
    )


if __name__ == "__main__":
    run_with_presets(main, quick=QUICK, full=FULL)
