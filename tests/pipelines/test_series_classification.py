"""Series in, speakers out: the artefact, and the peer it is measured by."""

import os
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("sklearn")

from pipelines import series_classification
from tfseq import runtime
from tfseq.errors import DataError
from tfseq.training import SupervisedSettings

DRAW = np.random.default_rng(0)
LABELS = ("rising", "falling", "steady")


def line(label, steps):
    """Two dimensions that tell the class only together with the order of time."""
    slope = {"rising": 1, "falling": -1, "steady": 0}[label]
    x = 100 + slope * (np.arange(steps) - steps / 2)[:, None] + DRAW.normal(0, 0.3, (steps, 2))
    return ":".join(",".join(f"{value:.3f}" for value in dimension) for dimension in x.T)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("series")
    for part, count in (("TRAIN", 30), ("TEST", 10)):
        rows = [f"{line(label, DRAW.integers(5, 12))}:{label}" for label in LABELS for _ in range(count)]
        text = "\n".join([f"@classLabel true {' '.join(LABELS)}", "@data", *rows])
        (folder / f"JapaneseVowels_{part}.ts").write_text(text + "\n", encoding="utf-8")
    settings = replace(
        series_classification.QUICK,
        data=folder,
        units=12,
        noise=0.0,
        training=SupervisedSettings(epochs=12, batch=16, learning_rate=0.02),
    )
    before = os.getcwd()
    os.chdir(folder)
    try:
        series_classification.main(settings)
    finally:
        os.chdir(before)
    return folder / "exported" / "series_classification"


def test_the_file_tells_raw_series_of_any_length_apart(exported):
    file = runtime.load(exported / "model.onnx")
    for steps in (5, 11, 20):
        rising = 100 + np.arange(steps)[:, None].repeat(2, axis=1) - steps / 2
        said = file.classify(np.stack([rising, rising[::-1]]).astype("float32"))
        assert [label.name for label in said] == ["speaker rising", "speaker falling"]


def test_padding_changes_nothing_in_the_file(exported):
    file = runtime.load(exported / "model.onnx")
    series = DRAW.normal(100, 3, (2, 8, 2)).astype("float32")
    padded = np.concatenate([series, np.zeros((2, 5, 2), "float32")], axis=1)
    np.testing.assert_allclose(file.predict(padded), file.predict(series), atol=1e-5)


def test_the_card_names_the_peer(exported):
    card = (exported / "card.md").read_text(encoding="utf-8")
    assert "dtw nearest neighbour" in card
    assert "test accuracy" in card
    assert str(exported.parents[1]) not in card


def test_warped_distances_are_those_of_the_recursion():
    @cache
    def distance(a, b, i, j):
        if i == 0 or j == 0:
            return 0.0 if i == j else np.inf
        cost = float(((series[a][i - 1] - others[b][j - 1]) ** 2).sum())
        return cost + min(distance(a, b, i - 1, j), distance(a, b, i, j - 1), distance(a, b, i - 1, j - 1))

    series = [DRAW.normal(size=(n, 3)).astype("float32") for n in (1, 4, 6)]
    others = [DRAW.normal(size=(n, 3)).astype("float32") for n in (5, 1)]
    expected = [[distance(a, b, len(series[a]), len(others[b])) for b in range(2)] for a in range(3)]
    np.testing.assert_allclose(series_classification.warped_distances(series, others), expected, rtol=1e-5)


def test_warping_finds_a_stretched_series():
    x = np.array([[0.0], [1.0], [5.0]], "float32")
    assert series_classification.warped_distances([x], [x.repeat(3, axis=0), x + 1])[0].argmin() == 0
    assert series_classification.warped_distances([x], [x.repeat(3, axis=0)])[0, 0] == 0


def test_a_directory_without_the_files_is_refused(tmp_path):
    with pytest.raises(DataError, match="JapaneseVowels_TRAIN"):
        series_classification.main(replace(series_classification.QUICK, data=tmp_path))
