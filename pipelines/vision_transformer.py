"""One to one, by attention: an image, as a sequence of patches, to what it shows.

Learns from: digits; IDX files, mnist, cifar10.
Makes: a classifier of images.
Quick: 65 s.

    python -m pipelines.vision_transformer quick              # scikit-learn's digits
    python -m pipelines.vision_transformer full --data DIR    # IDX files, MNIST's format
    python -m pipelines.vision_transformer full --tfds cifar10
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import keras
import numpy as np

from pipelines.parts.image_batches import Distortion
from pipelines.parts.image_classifiers import classify_images
from pipelines.parts.presets import run_with_presets
from tfseq.analysis.attention_rollout import plot_rollout, rollout
from tfseq.data import DataSet
from tfseq.models import VisionTransformer
from tfseq.training import Precision, SupervisedSettings, training_precision
from tfseq.training.setting_ranges import CheckedSettings, Depth, Name, ShareBelowOne, Size, check_heads

LOOKED_AT = 12  # images at most in the picture of where it looked


@dataclass(frozen=True)
class VisionTransformerSettings(CheckedSettings):
    """Settings of one run.

    Attributes:
        data: a directory of IDX files; the default is scikit-learn's digits.
        tfds: images of tensorflow-datasets instead, such as mnist or cifar10.
        patch_size: height and width of a patch, in pixels.
        units: width of the states.
        heads: of each attention.
        depth: number of blocks.
        hidden: width of the feed-forward networks; 4 units if none is given.
        activation: in those networks; a step with relu takes a quarter less time than with gelu.
        dropout: rate on what each layer adds.
        distortion: of the images to train on.
        precision: of products while training; auto takes mixed_bfloat16 where this machine computes it faster, else
            float32. What is exported is always float32.
        training: how to train.
        name: of the artefact, in exported/; vision_transformer or vision_transformer_DATA by default.
        resume: go on with the run of this name where it was interrupted.
    """

    data: Path | None = None
    tfds: str | None = None
    patch_size: Size = 4
    units: Size = 64
    heads: Size = 4
    depth: Depth = 4
    hidden: Size | None = None
    activation: Literal["gelu", "relu"] = "gelu"
    dropout: ShareBelowOne = 0.0
    distortion: Distortion = field(default_factory=Distortion)
    precision: Precision = "auto"
    training: SupervisedSettings = field(default_factory=SupervisedSettings)
    name: Name | None = None
    resume: bool = False

    def __post_init__(self):
        super().__post_init__()
        check_heads(self.units, self.heads)


QUICK = VisionTransformerSettings(
    patch_size=2,
    units=48,
    depth=2,
    distortion=Distortion(shift=0.5, turn=10.0, zoom=0.1, slant=0.1),
    training=SupervisedSettings(epochs=40, batch=32, learning_rate=3e-3),
)
FULL = VisionTransformerSettings(
    units=96,
    hidden=192,
    activation="relu",
    distortion=Distortion(shift=1.5, bend=1.2),
    training=SupervisedSettings(epochs=100, batch=64, learning_rate=2e-3, warmup=0.08, weight_decay=0.05),
)


def main(settings: VisionTransformerSettings) -> None:
    what = f"Vision Transformer: patches of {settings.patch_size} x {settings.patch_size}, {settings.depth} blocks"
    classify_images("vision_transformer", settings, build, f"{what} of {settings.units} units", where_it_looked)


def build(settings: VisionTransformerSettings, classes: int) -> VisionTransformer:
    keras.utils.set_random_seed(settings.training.seed)
    return VisionTransformer(
        classes,
        patch_size=settings.patch_size,
        units=settings.units,
        heads=settings.heads,
        hidden=settings.hidden,
        depth=settings.depth,
        activation=settings.activation,
        dropout=settings.dropout,
        dtype=training_precision(settings.precision),
        name="vision_transformer",
    )


def where_it_looked(model: VisionTransformer, data: DataSet, run: Path) -> Sequence[Path]:
    """A picture of the attention rollout of the first test image of each class."""
    images = data.test.inputs[np.unique(data.test.targets, return_index=True)[1][:LOOKED_AT]]
    answers = np.asarray(model(images)).argmax(-1)
    shares = rollout([np.asarray(weights) for weights in model.encoder.attention(images)])
    plot_rollout(images, shares, [data.labels[answer] for answer in answers], run / "rollout.png")
    return [run / "rollout.png"]


if __name__ == "__main__":
    run_with_presets(main, quick=QUICK, full=FULL)
