"""Synchronous many to many: an answer to each frame of a clip, as it comes: which digit is this?

Learns from: digits that change; IDX files, mnist.
Makes: a classifier of frames, step by step.
Quick: 100 s.

Digits come and go, and each frame shows only a part of their pixels, so that it helps to know what was before.

    python -m pipelines.frame_classification quick                  # scikit-learn's digits
    python -m pipelines.frame_classification full --data DIR        # digits of IDX files (MNIST's format)
    python -m pipelines.frame_classification full --tfds mnist
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import keras
import numpy as np

from pipelines.parts.filmstrip import draw_filmstrips
from pipelines.parts.presets import run_with_presets, with_precision
from pipelines.parts.publish import EXPORTED, publish
from pipelines.parts.runs import run_folder
from tfseq import runtime
from tfseq.data import DataSet, changing_digits, load_images, shuffled_batches
from tfseq.exporting import as_float32
from tfseq.layers.convolutional import ConvolutionalEncoder
from tfseq.models import RecurrentTagger
from tfseq.training import Precision, SupervisedSettings, one_stream_per_core, train_classifier, training_precision
from tfseq.training.setting_ranges import CheckedSettings, Count, Depth, Name, Share, ShareBelowOne, Size

SHOWN = 3  # clips on the card
CHUNKS = (1, 4, 2)  # lengths in which clips are read, again and again


@dataclass(frozen=True)
class FrameClassification(CheckedSettings):
    """Settings of one run.

    Attributes:
        data: a directory of images in IDX files, from which clips are drawn; the default is scikit-learn's digits.
        tfds: images of tensorflow-datasets instead, such as mnist.
        shown: share of the pixels that each frame shows.
        canvas: height and width of a frame, larger than those of an image.
        frames: per clip.
        sizes: clips to train, to validate and to test on.
        filters: kernels of each stage of the CNN.
        features: width of what it says of a frame; the mean over places, as wide as the last stage, if None.
        cell: the recurrent cell.
        units: width of the hidden state.
        depth: recurrent layers.
        dropout: rate on each recurrent layer's output.
        precision: of products while training; auto takes mixed_bfloat16 where this machine computes it faster, else
            float32. What is exported is always float32.
        training: how to train.
        name: of the artefact, in exported/.
        resume: go on with the run of this name where it was interrupted.
    """

    data: Path | None = None
    tfds: str | None = None
    shown: Share = 0.5
    canvas: Size = 12
    frames: Count = 10
    sizes: tuple[Count, Count, Count] = (2_000, 300, 500)
    filters: tuple[Size, ...] = (16, 32, 64)
    features: Size | None = None
    cell: Literal["rnn", "irnn", "lstm", "gru"] = "gru"
    units: Size = 64
    depth: Depth = 1
    dropout: ShareBelowOne = 0.2
    precision: Precision = "auto"
    training: SupervisedSettings = field(default_factory=SupervisedSettings)
    name: Name = "frame_classification"
    resume: bool = False


QUICK = FrameClassification(
    shown=0.75, sizes=(6_000, 300, 500), training=SupervisedSettings(epochs=4, batch=50, learning_rate=1e-2)
)
FULL = FrameClassification(
    canvas=32,
    sizes=(15_000, 500, 1_000),
    filters=(16, 32, 32),
    features=128,
    cell="lstm",
    units=128,
    dropout=0.3,
    training=SupervisedSettings(epochs=6, batch=50, learning_rate=3e-3),
    name="frame_classification_full",
)


def main(settings: FrameClassification) -> None:
    one_stream_per_core(settings.training.batch)
    run = run_folder(settings.name)
    settings = with_precision(settings, run)
    data = load(settings)
    print(f"{data.source}: {len(data.train):,} clips of {settings.frames} frames to learn from")
    model = build(settings, len(data.labels))
    batch, seed = settings.training.batch, settings.training.seed
    train_classifier(
        model,
        shuffled_batches(*data.train, batch, seed=seed),
        shuffled_batches(*data.validation, batch, seed=None)(0),
        settings.training,
        run,
        resume=settings.resume,
        identity={"model": model.get_config(), "data": data.sha256},
    )
    exact = as_float32(model)
    clips, digits = data.test  # (clips, time, canvas, canvas, 1), (clips, time)
    answers = probabilities(exact, clips).argmax(-1)
    alone = probabilities(exact, clips.reshape(-1, 1, *clips.shape[2:])).argmax(-1).reshape(digits.shape)
    scores = {
        "test_frames": round(float((answers == digits).mean()), 4),
        "test_frames_alone": round(float((alone == digits).mean()), 4),
    }
    print(f"test: {scores['test_frames']:.2%} of frames, {scores['test_frames_alone']:.2%} if each is read alone")
    publish(
        exact,
        settings.name,
        what=f"Frame classifier: a CNN for each frame, {settings.depth} x {settings.units} {settings.cell.upper()}, "
        "an answer to each frame as it comes",
        data=data.provenance(),
        scores=scores,
        settings=settings,
        run=run,
        sample=lambda file: said_of(file, EXPORTED / settings.name / "model.step.onnx", data, run / "clips.png"),
        labels=data.labels,
        samples=[clips[:2]],
        streaming=True,
        pictures=[run / "clips.png"],
    )


def load(settings: FrameClassification) -> DataSet:
    images = load_images(settings.data, settings.tfds)
    return changing_digits(settings.sizes, settings.frames, settings.shown, settings.canvas, images)


def build(settings: FrameClassification, classes: int) -> RecurrentTagger:
    keras.utils.set_random_seed(settings.training.seed)
    return RecurrentTagger(
        ConvolutionalEncoder(
            settings.filters, settings.features, dtype=training_precision(settings.precision), name="frames"
        ),
        classes,
        units=settings.units,
        depth=settings.depth,
        cell=settings.cell,
        dropout=settings.dropout,
        dtype=training_precision(settings.precision),
        name="frame_classifier",
    )


def probabilities(model, clips: np.ndarray, batch: int = 50) -> np.ndarray:
    """(clips, time, classes)."""
    return np.concatenate([model.predict_on_batch(clips[i : i + batch]) for i in range(0, len(clips), batch)])


def in_chunks(file: runtime.Model, clips: np.ndarray, lengths=CHUNKS) -> np.ndarray:
    """`probabilities` of a step graph that reads the clips in chunks of these lengths, over and over."""
    stream, answers, at, i = file.stream(), [], 0, 0
    while at < clips.shape[1]:
        chunk = clips[:, at : at + lengths[i % len(lengths)]]
        answers.append(np.asarray(stream.predict(chunk)))
        at, i = at + chunk.shape[1], i + 1
    return np.concatenate(answers, axis=1)


def said_of(file: runtime.Model, step_graph: Path, data, picture: Path) -> str:
    """What the file says of a few test clips, also as a picture; and that the step graph says the same of them all."""
    clips, digits = data.test
    steps = runtime.load(step_graph)
    whole = np.concatenate([np.asarray(file.predict(clips[i : i + 50])) for i in range(0, len(clips), 50)])
    lines = [
        f"{' '.join(answer.name for answer in answers)}   truly {' '.join(data.labels[digit] for digit in truly)}"
        for answers, truly in zip(file.classify(clips[:SHOWN]), digits)
    ]
    for how, lengths in (("frame by frame", (1,)), (f"in chunks of {', '.join(map(str, CHUNKS))}", CHUNKS)):
        streamed = in_chunks(steps, clips, lengths)
        same = (streamed.argmax(-1) == whole.argmax(-1)).mean()
        lines.append(
            f"{step_graph.name}, {how}: {same:.2%} of {digits.size:,} answers are those to the whole clip, "
            f"probabilities within {np.abs(streamed - whole).max():.1e}"
        )
    marks = [
        [data.labels[a] if a == d else f"{data.labels[a]} ({data.labels[d]})" for a, d in zip(row, truly)]
        for row, truly in zip(whole[:SHOWN].argmax(-1), digits)
    ]
    draw_filmstrips(list(clips[:SHOWN]), marks, picture, "what it says of each frame (and what it is, if another)")
    return "\n".join(lines)


if __name__ == "__main__":
    run_with_presets(main, quick=QUICK, full=FULL)
