"""Many to one on series: a recurrent network hears a vowel and says which of nine speakers it was.

Learns from: JapaneseVowels.
Makes: a classifier of series of any length.
Quick: 75 s.

    python -m pipelines.series_classification quick                 # the utterances that come with sktime or aeon
    python -m pipelines.series_classification quick --cell lstm --data DIRECTORY
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import keras
import numpy as np

from pipelines.parts.presets import run_with_presets, with_precision
from pipelines.parts.publish import publish
from pipelines.parts.runs import run_folder
from tfseq.data import DataSet, Part, bucketed_batches, japanese_vowels
from tfseq.exporting import as_float32
from tfseq.models import RecurrentClassifier
from tfseq.runtime import Model
from tfseq.training import Precision, SupervisedSettings, one_stream_per_core, train_classifier, training_precision
from tfseq.training.setting_ranges import Amount, CheckedSettings, Depth, Name, Seed, ShareBelowOne, Size


@dataclass(frozen=True)
class SeriesClassification(CheckedSettings):
    """Settings of one run.

    Attributes:
        data: a directory with JapaneseVowels_TRAIN.ts and JapaneseVowels_TEST.ts; those of sktime or aeon if none.
        cell: the recurrent cell.
        units: width of the hidden state, in each direction.
        depth: recurrent layers.
        bidirectional: read from both ends.
        pooling: what of the states is classified.
        dropout: rate between layers and before the softmax.
        noise: standard deviation of what is added to the standardised series while training.
        lost_steps: share of the steps that are zeroed while training.
        precision: of products while training; auto takes mixed_bfloat16 where this machine computes it faster, else
            float32. What is exported is always float32.
        training: how to train.
        seed: of the first weights.
        name: of the artefact, in exported/.
    """

    data: Path | None = None
    cell: Literal["rnn", "irnn", "lstm", "gru"] = "gru"
    units: Size = 64
    depth: Depth = 1
    bidirectional: bool = True
    pooling: Literal["last", "max", "mean"] = "mean"
    dropout: ShareBelowOne = 0.5
    noise: Amount = 0.3
    lost_steps: ShareBelowOne = 0.1
    precision: Precision = "auto"
    training: SupervisedSettings = field(default_factory=lambda: SupervisedSettings(epochs=40, batch=32))
    seed: Seed = 0
    name: Name = "series_classification"


QUICK = FULL = SeriesClassification()  # 270 utterances: the whole takes seconds


def main(settings: SeriesClassification) -> None:
    one_stream_per_core(settings.training.batch)
    data = japanese_vowels(settings.data)
    run = run_folder(settings.name)
    settings = with_precision(settings, run)
    print(f"{data.source}: {len(data.train)} series to learn from, {len(data.test)} to test on")
    model = fit(settings, data.train, data.validation, len(data.labels), run)
    scores = {
        "test_accuracy": accuracy(model, data.test),
        "dtw_nearest_neighbour": nearest_neighbour_accuracy(data),
    }
    print("\n".join(f"{name.replace('_', ' ')}: {score:.4f}" for name, score in scores.items()))
    direction = "bidirectional " if settings.bidirectional else ""
    publish(
        model,
        settings.name,
        what=f"Classifier of series: {settings.depth} x {settings.units} {direction}{settings.cell.upper()}",
        data=data.provenance(),
        scores={name: round(score, 4) for name, score in scores.items()},
        settings=settings,
        run=run,
        sample=lambda file: sample(file, data),
        labels=data.labels,
    )


def build(settings: SeriesClassification, series: Sequence[np.ndarray], classes: int) -> RecurrentClassifier:
    """The model; each dimension of its input is standardised by the mean and deviation in these series."""
    steps = np.concatenate(series)  # (all steps, dimensions)
    scale = 1 / np.maximum(steps.std(axis=0), 1e-6)
    keras.utils.set_random_seed(settings.seed)
    front = keras.Sequential(
        [
            keras.layers.Masking(),  # steps of zeros are padding
            keras.layers.Rescaling(scale.tolist(), (-steps.mean(axis=0) * scale).tolist()),
            keras.layers.GaussianNoise(settings.noise),
            keras.layers.Dropout(settings.lost_steps, noise_shape=(None, None, 1)),
        ],
        name="standardised",
    )
    return RecurrentClassifier(
        front,
        classes,
        settings.units,
        depth=settings.depth,
        cell=settings.cell,
        bidirectional=settings.bidirectional,
        pooling=settings.pooling,
        dropout=settings.dropout,
        dtype=training_precision(settings.precision),
        name="series_classifier",
    )


def fit(
    settings: SeriesClassification, training: Part, validation: Part, classes: int, run: Path
) -> RecurrentClassifier:
    """A trained model, with the weights of the epoch that did best on the validation part."""
    model = build(settings, training.inputs, classes)
    train_classifier(
        model,
        bucketed_batches(*training, settings.training.batch, seed=settings.training.seed),
        bucketed_batches(*validation, 64, seed=settings.training.seed)(0),
        settings.training,
        run,
        monitor="loss",
    )
    return model


def accuracy(model: RecurrentClassifier, part: Part) -> float:
    """The share of series whose likeliest class is theirs, by a float32 copy of the model."""
    exact = as_float32(model)
    batches = bucketed_batches(*part, 64, seed=0)(0)
    return float(np.concatenate([exact.predict_on_batch(x).argmax(-1) == y.numpy() for x, y in batches]).mean())


def nearest_neighbour_accuracy(data: DataSet) -> float:
    """The peer: each test series has the class of the nearest one of all others, by dynamic time warping."""
    known = [*data.train.inputs, *data.validation.inputs]
    classes = np.concatenate([data.train.targets, data.validation.targets])
    nearest = warped_distances(data.test.inputs, known).argmin(axis=1)
    return float((classes[nearest] == data.test.targets).mean())


def warped_distances(series: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> np.ndarray:
    """Dynamic time warping: the least sum of squared distances along any alignment (Sakoe and Chiba, 1978).

    D[i, j] = |x_i - y_j|^2 + min(D[i-1, j], D[i, j-1], D[i-1, j-1]), all dimensions warped together.

    Args:
        series, others: (time, dimensions) each, at least one step.

    Returns:
        (series, others).
    """
    lengths, last = (np.array([len(x) for x in group]) for group in (series, others))
    x, y = (keras.utils.pad_sequences(group, dtype="float32", padding="post") for group in (series, others))
    distances = np.zeros((len(x), len(y)), "float32")
    before = np.full((y.shape[1] + 1, *distances.shape), np.inf, "float32")  # D[i-1, j] of all pairs, j from 1
    before[0] = 0
    for i in range(x.shape[1]):
        row = np.full_like(before, np.inf)
        for j in range(y.shape[1]):
            cost = np.square(x[:, None, i] - y[None, :, j]).sum(axis=-1)  # (series, others)
            row[j + 1] = cost + np.minimum(np.minimum(before[j + 1], row[j]), before[j])
        ended = np.flatnonzero(lengths == i + 1)
        distances[ended] = row[last[None, :], ended[:, None], np.arange(len(y))]
        before = row
    return distances


def sample(file: Model, data: DataSet) -> str:
    """What the file makes of some series of the test part, and what is so."""
    some = slice(None, None, -(-len(data.test) // 5))  # they are sorted by class
    rows = zip(data.test.inputs[some], data.test.targets[some])
    said = [(file.classify(series[None])[0], data.labels[target], len(series)) for series, target in rows]
    return "\n".join(f"{steps} steps of 12 numbers: {label}; it is {true}" for label, true, steps in said)


if __name__ == "__main__":
    run_with_presets(main, quick=QUICK, full=FULL)
