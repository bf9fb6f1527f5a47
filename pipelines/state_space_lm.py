"""A character language model of selective state spaces (Mamba): text -> random blocks -> ONNX -> text.

Learns from: Python's help topics; any text.
Makes: a text generator.
Quick: 100 s.

    python -m pipelines.state_space_lm quick                 # the help texts that come with Python
    python -m pipelines.state_space_lm full --data FILE
    python -m pipelines.state_space_lm quick --states 16 --tfds tiny_shakespeare
"""

from dataclasses import dataclass, field
from pathlib import Path

import keras

from pipelines.parts.language_models import run_on_blocks
from pipelines.parts.presets import run_with_presets
from tfseq.models import StateSpaceLanguageModel
from tfseq.training import Precision, SupervisedSettings, training_precision
from tfseq.training.setting_ranges import Amount, CheckedSettings, Count, Depth, Name, ShareBelowOne, Size, Text


@dataclass(frozen=True)
class StateSpaceLM(CheckedSettings):
    """Settings of one run.

    Attributes:
        data: a UTF-8 text file; the default is the English text of Python's own help topics.
        tfds: a text data set of tensorflow-datasets instead, such as tiny_shakespeare.
        block: characters that the model reads at a time while it is trained; it writes texts of any length.
        steps: training steps of an epoch, which ends with an evaluation and a checkpoint.
        units: width of the model; each block has twice as many channels.
        states: numbers that each channel remembers.
        depth: number of blocks.
        dropout: rate on embeddings and on what each block adds.
        precision: of products while training; auto takes mixed_bfloat16 where this machine computes it faster, else
            float32. What is exported is always float32.
        training: how to train.
        name: of the artefact, in exported/; state_space_lm or state_space_lm_DATA by default.
        resume: go on with the run of this name where it was interrupted.
        prompt: what the sample starts with.
        length: characters the sample adds.
        temperature: of the sample, and the file's default.
    """

    data: Path | None = None
    tfds: str | None = None
    block: Count = 64
    steps: Count = 150
    units: Size = 96
    states: Size = 8
    depth: Depth = 2
    dropout: ShareBelowOne = 0.0
    precision: Precision = "auto"
    training: SupervisedSettings = field(default_factory=SupervisedSettings)
    name: Name | None = None
    resume: bool = False
    prompt: Text = "A class "
    length: Count = 400
    temperature: Amount = 0.7


QUICK = StateSpaceLM(training=SupervisedSettings(epochs=3, batch=16, learning_rate=8e-3))
FULL = StateSpaceLM(
    block=256,
    steps=400,
    units=256,
    states=16,
    depth=4,
    dropout=0.2,
    training=SupervisedSettings(epochs=13, batch=16, learning_rate=2e-3, warmup=0.03, weight_decay=0.1),
)


def main(settings: StateSpaceLM) -> None:
    run_on_blocks(
        settings,
        "state_space_lm",
        build,
        what=f"selective state spaces (Mamba), {settings.depth} blocks of {settings.units} units",
    )


def build(settings: StateSpaceLM, vocabulary_size: int) -> StateSpaceLanguageModel:
    keras.utils.set_random_seed(settings.training.seed)
    return StateSpaceLanguageModel(
        vocabulary_size,
        units=settings.units,
        depth=settings.depth,
        states=settings.states,
        dropout=settings.dropout,
        dtype=training_precision(settings.precision),
        name="state_space_lm",
    )


if __name__ == "__main__":
    run_with_presets(main, quick=QUICK, full=FULL)
