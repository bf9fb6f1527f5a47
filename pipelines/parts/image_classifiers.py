"""What every classifier of images goes through, whatever it sees with: data -> fit -> evaluate -> publish."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tfseq
from pipelines.parts.contact_sheet import draw_contact_sheet
from pipelines.parts.image_batches import ANSWERED, artefact_name, distorted_batches
from pipelines.parts.presets import with_precision
from pipelines.parts.publish import publish
from pipelines.parts.runs import run_folder
from tfseq.data import DataSet, load_images, shuffled_batches
from tfseq.exporting import as_float32
from tfseq.training import one_stream_per_core, train_classifier

SHOWN = 24  # images on the card
SAMPLED = 5  # of them in words


def classify_images(
    pipeline: str,
    settings: Any,
    build: Callable[[Any, int], keras.Model],
    what: str,
    draw: Callable[[keras.Model, DataSet, Path], Sequence[Path]] = lambda model, data, run: (),
) -> None:
    """Trains a classifier of images and publishes it.

    Args:
        pipeline: its name, which the artefact has, too.
        settings: with `data`, `tfds`, `distortion`, `training`, `name` and `resume`, as `ImageClassification` has them.
        build: from the settings and the number of classes to a model that ends in probabilities.
        what: the architecture, in a line.
        draw: makes further pictures of the float32 model, and says where they are.
    """
    one_stream_per_core(settings.training.batch)
    data = load_images(settings.data, settings.tfds)
    name = settings.name or artefact_name(pipeline, settings, data)
    run = run_folder(name)
    settings = with_precision(settings, run)
    print(f"{data.source}: {len(data.train):,} images of {data.train.inputs.shape[1:]}, {len(data.labels)} classes")
    model = build(settings, len(data.labels))
    train_classifier(
        model,
        distorted_batches(data, settings.distortion, settings.training.batch, settings.training.seed),
        shuffled_batches(*data.validation, ANSWERED, seed=None)(0),
        settings.training,
        run,
        resume=settings.resume,
        identity={"model": model.get_config(), "data": data.sha256},
    )
    exact = as_float32(model)
    probabilities = exact.predict(data.test.inputs, batch_size=ANSWERED, verbose=0)  # (images, classes)
    right = probabilities.argmax(-1) == data.test.targets
    print(f"test: {right.mean():.2%} of {len(right):,} images right")
    publish(
        exact,
        name,
        what=what,
        data=data.provenance(),
        scores={"test_accuracy": float(right.mean()), "test_errors": int((~right).sum())},
        settings=settings,
        run=run,
        sample=lambda file: _said_of(file, data, run / "images.png"),
        labels=data.labels,
        samples=[data.test.inputs[:8]],
        pictures=[run / "images.png", *draw(exact, data, run)],
    )


def _said_of(file: tfseq.runtime.Model, data: DataSet, picture: Path) -> str:
    """What the file says of a few test images, also as a picture."""
    images, labels = data.test.inputs[:SHOWN], data.test.targets[:SHOWN]
    answers = file.classify(images)
    draw_contact_sheet(images, [answer.name for answer in answers], picture)
    return "\n".join(
        f"{answer}, truly {data.labels[label]}" for answer, label in zip(answers[:SAMPLED], np.asarray(labels))
    )
