"""One to many: an image enters at the first step, its English name comes out character by character.

Learns from: digits; IDX files, mnist, cifar10.
Makes: a writer of images' names.
Quick: 60 s.

    python -m pipelines.image_naming quick              # scikit-learn's digits: zero to nine
    python -m pipelines.image_naming full --data DIR    # IDX files, MNIST's format
    python -m pipelines.image_naming full --tfds cifar10
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

import tfseq
from pipelines.parts.contact_sheet import draw_contact_sheet
from pipelines.parts.image_batches import ANSWERED, Distortion, artefact_name, distorted_batches
from pipelines.parts.presets import run_with_presets, with_precision
from pipelines.parts.publish import publish
from pipelines.parts.runs import run_folder
from tfseq.data import DataSet, character_tokenizer, load_images, shuffled_batches
from tfseq.data.optional_packages import import_package
from tfseq.decoding import generate
from tfseq.exporting import as_float32
from tfseq.layers.convolutional import ConvolutionalEncoder
from tfseq.models import ImageNamer
from tfseq.runtime import CharacterTokenizer
from tfseq.training import Precision, SupervisedSettings, WholeAnswers, one_stream_per_core, train, training_precision
from tfseq.training.setting_ranges import CheckedSettings, Depth, Name, ShareBelowOne, Size

SHOWN = 24  # images on the card
SAMPLED = 5  # of them in words


@dataclass(frozen=True)
class ImageNaming(CheckedSettings):
    """Settings of one run.

    Attributes:
        data: a directory of IDX files; the default is scikit-learn's digits.
        tfds: images of tensorflow-datasets instead, such as mnist or cifar10.
        filters: kernels of each stage of convolution.
        convolutions: of each stage.
        features: width of the vector that enters at the first step.
        cell: the recurrent cell.
        units: width of each hidden state.
        depth: recurrent layers.
        dropout: rate on the vector and on each layer's output.
        distortion: of the images to train on.
        precision: of products while training; auto takes mixed_bfloat16 where this machine computes it faster, else
            float32. What is exported is always float32.
        training: how to train.
        name: of the artefact, in exported/; image_naming or image_naming_DATA by default.
        resume: go on with the run of this name where it was interrupted.
    """

    data: Path | None = None
    tfds: str | None = None
    filters: tuple[Size, ...] = (32, 64)
    convolutions: Size = 1
    features: Size = 128
    cell: Literal["rnn", "irnn", "lstm", "gru"] = "gru"
    units: Size = 64
    depth: Depth = 1
    dropout: ShareBelowOne = 0.3
    distortion: Distortion = field(default_factory=Distortion)
    precision: Precision = "auto"
    training: SupervisedSettings = field(default_factory=SupervisedSettings)
    name: Name | None = None
    resume: bool = False


QUICK = ImageNaming(training=SupervisedSettings(epochs=36, batch=64, learning_rate=5e-3))
FULL = ImageNaming(
    convolutions=2,
    distortion=Distortion(shift=2.5),
    training=SupervisedSettings(epochs=30, batch=64, learning_rate=3e-3),
)


def main(settings: ImageNaming) -> None:
    one_stream_per_core(settings.training.batch)
    data = load_images(settings.data, settings.tfds)
    names = english_names(data.labels)
    tokenizer = character_tokenizer("".join(names), start_and_end=True)
    name = settings.name or artefact_name("image_naming", settings, data)
    run = run_folder(name)
    settings = with_precision(settings, run)
    print(f"{data.source}: {len(data.train):,} images of {data.train.inputs.shape[1:]}, named {', '.join(names)}")
    model = build(settings, data.train.inputs.shape[1:], tokenizer)
    batch, seed = settings.training.batch, settings.training.seed
    images = distorted_batches(data, settings.distortion, batch, seed)
    train(
        model,
        spelled(images, names, tokenizer),
        spelled(shuffled_batches(*data.validation, ANSWERED, seed=None), names, tokenizer)(0),
        settings.training,
        run,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight"),
        metrics=[WholeAnswers()],
        monitor="loss",
        resume=settings.resume,
        identity={"model": model.get_config(), "data": data.sha256},
    )
    exact = as_float32(model)
    right = np.array([names[label] for label in data.test.targets]) == written(
        exact, data.test.inputs, tokenizer, names
    )
    scores = {"test_whole_words": float(right.mean()), "test_errors": int((~right).sum())}
    print(f"test: {right.mean():.2%} of {len(right):,} images have every character of their name")
    publish(
        exact,
        name,
        what=f"Image namer, one to many: a CNN's vector, then zeros, into {settings.depth} x {settings.units} "
        f"{settings.cell.upper()}",
        data=data.provenance(),
        scores=scores,
        settings=settings,
        run=run,
        sample=lambda file: said_of(file, data, names, run / "images.png"),
        tokenizer=tokenizer,
        decode=tfseq.Greedy(),
        pictures=[run / "images.png"],
    )


def english_names(labels: Sequence[str]) -> list[str]:
    """Labels that are numbers in words; others are names already."""
    if not any(label.isdecimal() for label in labels):
        return list(labels)
    library = import_package("num2words", "num2words", "Naming numbers in words")
    return [library.num2words(int(label)) if label.isdecimal() else label for label in labels]


def spelled(batches: Callable, names: Sequence[str], tokenizer: CharacterTokenizer) -> Callable:
    """Batches of images and labels as the namer learns from them: `({"image", "target"}, tokens, weights)`.

    Tokens are those of the name and the end, (batch, time) int32, padded with 0; weights are 0 at padding.
    """
    spellings = [[*tokenizer.encode(name), tokenizer.end] for name in names]
    time = max(map(len, spellings))
    table = np.array([[*spelling, *[0] * (time - len(spelling))] for spelling in spellings], "int32")  # (classes, time)
    before = np.concatenate([np.full((len(names), 1), tokenizer.start), table[:, :-1]], axis=1).astype("int32")

    def spell(images: Any, labels: Any):
        tokens = ops.take(table, labels, axis=0)
        inputs = {"image": images, "target": ops.take(before, labels, axis=0)}
        return inputs, tokens, ops.cast(tokens != 0, "float32")

    return lambda epoch: batches(epoch).map(spell)


def build(settings: ImageNaming, image_shape: Sequence[int], tokenizer: CharacterTokenizer) -> ImageNamer:
    keras.utils.set_random_seed(settings.training.seed)
    return ImageNamer(
        ConvolutionalEncoder(
            settings.filters,
            settings.features,
            convolutions=settings.convolutions,
            dtype=training_precision(settings.precision),
            name="encoder",
        ),
        image_shape,
        tokenizer.vocabulary_size,
        units=settings.units,
        depth=settings.depth,
        cell=settings.cell,
        dropout=settings.dropout,
        start=tokenizer.start,
        end=tokenizer.end,
        dtype=training_precision(settings.precision),
        name="image_namer",
    )


def written(model: ImageNamer, images: np.ndarray, tokenizer: CharacterTokenizer, names: Sequence[str]) -> np.ndarray:
    """What the model writes under each image, character by character, (images,) texts."""
    longest = max(map(len, names)) + 1
    texts = []
    for first in range(0, len(images), ANSWERED):
        tokens, lengths, *_ = generate(model, source=images[first : first + ANSWERED], max_length=longest)
        texts += [tokenizer.decode(row[:length]) for row, length in zip(np.asarray(tokens), np.asarray(lengths))]
    return np.array(texts)


def said_of(file, data: DataSet, names: Sequence[str], picture: Path) -> str:
    """What the file writes under a few test images, also as a picture."""
    images, labels = data.test.inputs[:SHOWN], data.test.targets[:SHOWN]
    answers = file.generate(images, max_length=max(map(len, names)) + 1)
    draw_contact_sheet(images, answers, picture)
    return "\n".join(f"{answer}, truly {names[label]}" for answer, label in zip(answers[:SAMPLED], labels))


if __name__ == "__main__":
    run_with_presets(main, quick=QUICK, full=FULL)
