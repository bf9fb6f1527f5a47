"""Many to one: a CNN sees each frame, a recurrent network reads what it saw, and says what the clip shows.

Learns from: digits that move; clips, ucf101.
Makes: a classifier of clips.
Quick: 80 s.

    python -m pipelines.video_classification quick             # where do handwritten digits drift: four directions
    python -m pipelines.video_classification full              # eight directions, clips of different lengths
    python -m pipelines.video_classification quick --data DIR  # clips: LABEL/CLIP.npy or LABEL/CLIP/FRAME.png
    python -m pipelines.video_classification quick --tfds ucf101
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from pipelines.parts.filmstrip import draw_filmstrips
from pipelines.parts.presets import run_with_presets, with_precision
from pipelines.parts.publish import publish
from pipelines.parts.runs import run_folder
from tfseq.data import clips_of_tfds, load_clips, moving_digits, shuffled_batches
from tfseq.errors import DataError
from tfseq.exporting import as_float32
from tfseq.layers.convolutional import ConvolutionalEncoder
from tfseq.models import RecurrentClassifier
from tfseq.training import Precision, SupervisedSettings, one_stream_per_core, train_classifier, training_precision
from tfseq.training.setting_ranges import CheckedSettings, Count, Depth, Name, ShareBelowOne, Size

SHOWN = 5  # clips on the card


@dataclass(frozen=True)
class VideoClassification(CheckedSettings):
    """Settings of one run.

    Attributes:
        data: a folder of clips with a sub-folder per label; the default is digits that drift, drawn from real ones.
        tfds: a set of videos of tensorflow-datasets instead, such as ucf101.
        frames: per clip; of longer clips so many that are evenly spaced.
        size: height and width to which videos of tensorflow-datasets are scaled.
        directions: of the default data: 4, or 8 with the diagonals.
        sizes: clips of the default data to train, to validate and to test on.
        filters: kernels of each stage of the CNN.
        features: width of what it says of a frame.
        cell: the recurrent cell.
        units: width of the hidden state.
        depth: recurrent layers.
        bidirectional: read the frames from both ends.
        dropout: rate between layers and before the answer.
        precision: of products while training; auto takes mixed_bfloat16 where this machine computes it faster, else
            float32. What is exported is always float32.
        training: how to train.
        name: of the artefact, in exported/.
        resume: go on with the run of this name where it was interrupted.
    """

    data: Path | None = None
    tfds: str | None = None
    frames: Count = 10
    size: tuple[Size, Size] = (64, 64)
    directions: Literal[4, 8] = 4
    sizes: tuple[Count, Count, Count] = (2_000, 300, 500)
    filters: tuple[Size, ...] = (8, 16)
    features: Size = 64
    cell: Literal["rnn", "irnn", "lstm", "gru"] = "lstm"
    units: Size = 64
    depth: Depth = 1
    bidirectional: bool = False
    dropout: ShareBelowOne = 0.0
    precision: Precision = "auto"
    training: SupervisedSettings = field(default_factory=SupervisedSettings)
    name: Name = "video_classification"
    resume: bool = False


QUICK = VideoClassification(training=SupervisedSettings(epochs=6, batch=50, learning_rate=5e-3))
FULL = VideoClassification(
    directions=8,
    sizes=(8_000, 1_000, 2_000),
    filters=(16, 32),
    features=128,
    units=128,
    training=SupervisedSettings(epochs=12, batch=50, learning_rate=3e-3),
    name="video_classification_8",
)


@dataclass(frozen=True)
class Clips:
    """What there is to learn from: batches of clips (batch, time, height, width, channels) uint8 and their labels."""

    train: Any
    validation: Iterable
    test: Iterable
    labels: tuple[str, ...]
    provenance: dict[str, Any]


def main(settings: VideoClassification) -> None:
    one_stream_per_core(settings.training.batch)
    run = run_folder(settings.name)
    settings = with_precision(settings, run)
    clips = load(settings)
    print(f"{clips.provenance['source']}: {len(clips.labels)} labels")
    model = build(settings, len(clips.labels))
    train_classifier(
        model,
        clips.train,
        clips.validation,
        settings.training,
        run,
        resume=settings.resume,
        identity={"model": model.get_config(), "data": clips.provenance},
    )
    exact = as_float32(model)
    draw = np.random.default_rng(0)
    scores = {
        "test_accuracy": accuracy(exact, clips.test),
        "test_accuracy_frames_shuffled": accuracy(exact, clips.test, lambda clip: draw.permuted(clip, axis=1)),
    }
    print("test: " + ", ".join(f"{name.removeprefix('test_')} {score:.2%}" for name, score in scores.items()))
    publish(
        exact,
        settings.name,
        what=f"Video classifier: a CNN for each frame, {settings.depth} x {settings.units} {settings.cell.upper()}",
        data=clips.provenance,
        scores=scores,
        settings=settings,
        run=run,
        sample=lambda file: said_of(file, clips, run / "clips.png"),
        labels=clips.labels,
        samples=[next(iter(clips.test))[0].numpy()[:2]],
        pictures=[run / "clips.png"],
    )


def load(settings: VideoClassification) -> Clips:
    if settings.data is not None and settings.tfds is not None:
        raise DataError(f"Both a folder ({settings.data}) and a data set ({settings.tfds}) were given; give one.")
    if settings.tfds is not None:
        return clips_from_tfds(settings.tfds, settings)
    if settings.data is None:
        data = moving_digits(settings.sizes, settings.frames, settings.directions)
    else:
        data = load_clips(settings.data)
    batch, seed = settings.training.batch, settings.training.seed
    train, validation, test = (
        (evenly_spaced(part.inputs, settings.frames), part.targets) for part in (data.train, data.validation, data.test)
    )
    return Clips(
        shuffled_batches(*train, batch, seed=seed),
        shuffled_batches(*validation, batch, seed=None)(0),
        shuffled_batches(*test, batch, seed=None)(0),
        data.labels,
        data.provenance(),
    )


def clips_from_tfds(name: str, settings: VideoClassification) -> Clips:
    """A tenth of the training split validates."""
    batch, seed = settings.training.batch, settings.training.seed
    train, test, labels = clips_of_tfds(name, settings.frames, settings.size)
    held_out = -(-int(train.cardinality()) // 10)
    return Clips(
        train.skip(held_out).shuffle(1_000, seed=seed).batch(batch).prefetch(2),
        train.take(held_out).batch(batch),
        test.batch(batch),
        labels,
        {"name": name, "source": f"{name} of tensorflow-datasets"},
    )


def evenly_spaced(clips, frames: int) -> np.ndarray:
    """`frames` frames of each clip, (clips, frames, height, width, channels); a short clip repeats some."""
    sizes = {clip.shape[1:] for clip in clips}
    if len(sizes) > 1:
        raise DataError(f"The clips are of {len(sizes)} sizes, such as {sorted(sizes)[:2]}; scale them to one.")
    return np.stack([clip[np.linspace(0, len(clip) - 1, frames).round().astype(int)] for clip in clips])


def build(settings: VideoClassification, classes: int) -> RecurrentClassifier:
    keras.utils.set_random_seed(settings.training.seed)
    return RecurrentClassifier(
        ConvolutionalEncoder(
            settings.filters, settings.features, dtype=training_precision(settings.precision), name="frames"
        ),
        classes,
        units=settings.units,
        depth=settings.depth,
        cell=settings.cell,
        bidirectional=settings.bidirectional,
        dropout=settings.dropout,
        dtype=training_precision(settings.precision),
        name="video_classifier",
    )


def accuracy(model, batches, change=lambda clips: clips) -> float:
    """Share of clips that are labelled rightly, of those that `change` makes of the batches' clips."""
    right = [
        np.argmax(model.predict_on_batch(change(np.asarray(clips))), axis=-1) == np.asarray(labels)
        for clips, labels in batches
    ]
    return round(float(np.concatenate(right).mean()), 4)


def said_of(file, clips: Clips, picture: Path) -> str:
    """What the file says of a few test clips, also as a picture."""
    shown, labels = (np.asarray(array)[:SHOWN] for array in next(iter(clips.test)))
    answers = [f"{answer}, truly {clips.labels[label]}" for answer, label in zip(file.classify(shown), labels)]
    draw_filmstrips(list(shown), answers, picture)
    return "\n".join(answers)


if __name__ == "__main__":
    run_with_presets(main, quick=QUICK, full=FULL)
