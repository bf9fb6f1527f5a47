"""One to one: an image to what it shows, by stages of convolution and pooling.

Learns from: digits; IDX files, mnist, cifar10.
Makes: a classifier of images.
Quick: 45 s.

    python -m pipelines.image_classification quick              # scikit-learn's digits
    python -m pipelines.image_classification full --data DIR    # IDX files, MNIST's format
    python -m pipelines.image_classification full --tfds cifar10
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import keras

from pipelines.parts.image_batches import Distortion
from pipelines.parts.image_classifiers import classify_images
from pipelines.parts.presets import run_with_presets
from tfseq.models import ConvolutionalClassifier
from tfseq.training import Precision, SupervisedSettings, training_precision
from tfseq.training.setting_ranges import CheckedSettings, Name, ShareBelowOne, Size


@dataclass(frozen=True)
class ImageClassification(CheckedSettings):
    """Settings of one run.

    Attributes:
        data: a directory of IDX files; the default is scikit-learn's digits.
        tfds: images of tensorflow-datasets instead, such as mnist or cifar10.
        filters: kernels of each stage.
        units: width of the vector that is classified.
        kernel_size: height and width of the kernels.
        stride: step of the kernels, in the first convolution of each stage.
        padding: same keeps the size of an image, valid has kernels stay inside.
        pool: height and width of the squares that are pooled after each stage.
        convolutions: of each stage.
        dropout: rate on the vector.
        distortion: of the images to train on.
        precision: of products while training; auto takes mixed_bfloat16 where this machine computes it faster, else
            float32. What is exported is always float32.
        training: how to train.
        name: of the artefact, in exported/; image_classification or image_classification_DATA by default.
        resume: go on with the run of this name where it was interrupted.
    """

    data: Path | None = None
    tfds: str | None = None
    filters: tuple[Size, ...] = (32, 64)
    units: Size = 128
    kernel_size: Size = 3
    stride: Size = 1
    padding: Literal["same", "valid"] = "same"
    pool: Size = 2
    convolutions: Size = 1
    dropout: ShareBelowOne = 0.5
    distortion: Distortion = field(default_factory=Distortion)
    precision: Precision = "auto"
    training: SupervisedSettings = field(default_factory=SupervisedSettings)
    name: Name | None = None
    resume: bool = False


QUICK = ImageClassification(training=SupervisedSettings(epochs=30, batch=32, learning_rate=3e-3))
FULL = ImageClassification(
    convolutions=2,
    distortion=Distortion(shift=2.5),
    training=SupervisedSettings(epochs=30, batch=64, learning_rate=3e-3),
)


def main(settings: ImageClassification) -> None:
    what = f"Convolutional image classifier: stages of {' and '.join(map(str, settings.filters))} kernels"
    classify_images("image_classification", settings, build, what)


def build(settings: ImageClassification, classes: int) -> ConvolutionalClassifier:
    keras.utils.set_random_seed(settings.training.seed)
    return ConvolutionalClassifier(
        classes,
        filters=settings.filters,
        units=settings.units,
        kernel_size=settings.kernel_size,
        stride=settings.stride,
        padding=settings.padding,
        pool=settings.pool,
        convolutions=settings.convolutions,
        dropout=settings.dropout,
        dtype=training_precision(settings.precision),
        name="image_classifier",
    )


if __name__ == "__main__":
    run_with_presets(main, quick=QUICK, full=FULL)
