"""An image as a sequence of glimpses: a recurrent model that chooses where to look, and then says what it saw.

Learns from: digits; IDX files, mnist.
Makes: a classifier of images, and its glimpses.
Quick: 75 s.

    python -m pipelines.glimpses quick              # scikit-learn's digits, glimpses of 4 x 4
    python -m pipelines.glimpses full --data DIR    # IDX files, MNIST's format: six glimpses of 8 x 8
    python -m pipelines.glimpses full --tfds mnist
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import keras
import numpy as np

from pipelines.parts.image_batches import ANSWERED, Distortion, artefact_name, distorted_batches
from pipelines.parts.presets import run_with_presets, with_precision
from pipelines.parts.publish import publish
from pipelines.parts.runs import run_folder
from tfseq.analysis.glimpse_boxes import coverage, plot_glimpses
from tfseq.data import DataSet, load_images, shuffled_batches
from tfseq.exporting import as_float32
from tfseq.models import RecurrentAttentionModel
from tfseq.training import Precision, SupervisedSettings, one_stream_per_core, train_classifier, training_precision
from tfseq.training.setting_ranges import CheckedSettings, Count, Name, PositiveAmount, ShareBelowOne, Size

SHOWN = 12  # images in the picture
SAMPLED = 4  # of them in words


@dataclass(frozen=True)
class Glimpses(CheckedSettings):
    """Settings of one run.

    Attributes:
        data: a directory of IDX files; the default is scikit-learn's digits.
        tfds: images of tensorflow-datasets instead, such as mnist.
        glimpses: how often the model looks.
        size: height and width of a glimpse, pixels.
        scales: crops in a glimpse, each covering twice the height and width of the one before.
        units: width of the state.
        cell: the recurrent cell; irnn is that of the paper.
        sigma: standard deviation of the places tried while training; an image is 2 wide.
        dropout: rate on the last state.
        distortion: of the images to train on.
        precision: of products while training; auto takes mixed_bfloat16 where this machine computes it faster, else
            float32. What is exported is always float32.
        training: how to train.
        name: of the artefact, in exported/; glimpses or glimpses_DATA by default.
        resume: go on with the run of this name where it was interrupted.
    """

    data: Path | None = None
    tfds: str | None = None
    glimpses: Count = 6
    size: Size = 8
    scales: Size = 1
    units: Size = 256
    cell: Literal["rnn", "irnn", "lstm", "gru"] = "irnn"
    sigma: PositiveAmount = 0.1
    dropout: ShareBelowOne = 0.0
    distortion: Distortion = field(default_factory=Distortion)
    precision: Precision = "auto"
    training: SupervisedSettings = field(default_factory=SupervisedSettings)
    name: Name | None = None
    resume: bool = False


QUICK = Glimpses(
    size=4,
    units=128,
    sigma=0.15,
    distortion=Distortion(shift=0.7, turn=8.0, zoom=0.08, slant=0.08),
    training=SupervisedSettings(epochs=50, batch=32, learning_rate=3e-3),
)
FULL = Glimpses(
    distortion=Distortion(shift=2.0, turn=12.0, zoom=0.12, slant=0.12),
    training=SupervisedSettings(epochs=120, batch=128, learning_rate=2e-3),
)


def main(settings: Glimpses) -> None:
    one_stream_per_core(settings.training.batch)
    data = load_images(settings.data, settings.tfds)
    name = settings.name or artefact_name("glimpses", settings, data)
    run = run_folder(name)
    settings = with_precision(settings, run)
    print(f"{data.source}: {len(data.train):,} images of {data.train.inputs.shape[1:]}, {len(data.labels)} classes")
    model = build(settings, len(data.labels))
    batch, seed = settings.training.batch, settings.training.seed
    train_classifier(
        model,
        distorted_batches(data, settings.distortion, batch, seed),
        shuffled_batches(*data.validation, ANSWERED, seed=None)(0),
        settings.training,
        run,
        resume=settings.resume,
        identity={"model": model.get_config(), "data": data.sha256},
    )
    exact = as_float32(model)
    answers = exact.predict(data.test.inputs, batch_size=ANSWERED, verbose=0)
    wrong = answers["probabilities"].argmax(-1) != data.test.targets
    height, width = data.test.inputs.shape[1:3]
    seen = coverage(answers["locations"], height, width, settings.size)
    scores = {
        "test_error": round(float(wrong.mean()), 4),
        "test_errors": int(wrong.sum()),
        "share_of_pixels_seen": round(seen, 3),
    }
    print(f"test: {wrong.mean():.2%} of {len(wrong):,} images wrong, having looked at {seen:.0%} of their pixels")
    publish(
        exact,
        name,
        what=f"Recurrent attention model: {settings.glimpses} glimpses of {settings.size} x {settings.size}",
        data=data.provenance(),
        scores=scores,
        settings=settings,
        run=run,
        sample=lambda file: said_of(file, data, settings.size, run / "glimpses.png"),
        labels=data.labels,
        samples=[data.test.inputs[:8]],
        pictures=[run / "glimpses.png"],
    )


def build(settings: Glimpses, classes: int) -> RecurrentAttentionModel:
    keras.utils.set_random_seed(settings.training.seed)
    return RecurrentAttentionModel(
        classes,
        glimpses=settings.glimpses,
        size=settings.size,
        scales=settings.scales,
        units=settings.units,
        cell=settings.cell,
        sigma=settings.sigma,
        dropout=settings.dropout,
        seed=settings.training.seed,
        dtype=training_precision(settings.precision),
        name="recurrent_attention_model",
    )


def said_of(file, data: DataSet, size: int, picture: Path) -> str:
    """What the file says of a few test images and where it looked, also as a picture."""
    images, truth = data.test.inputs[:SHOWN], [data.labels[label] for label in data.test.targets[:SHOWN]]
    answers, locations = file.classify(images), file.predict(images)["locations"]
    titles = [
        f"{answer.name} ({answer.probability:.0%})" + ("" if answer.name == true else f", truly {true}")
        for answer, true in zip(answers, truth)
    ]
    plot_glimpses(images, locations, titles, size, picture, "Where it looked, in order")
    return "\n".join(
        f"{answer}, truly {true}; looked at " + ", ".join(f"({x:+.2f}, {y:+.2f})" for x, y in np.round(places, 2))
        for answer, true, places in list(zip(answers, truth, locations))[:SAMPLED]
    )


if __name__ == "__main__":
    run_with_presets(main, quick=QUICK, full=FULL)
