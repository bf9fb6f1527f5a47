"""From a CSV file to a file that says high or normal, beside logistic regression."""

import os
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("tensorflow")
metrics = pytest.importorskip("sklearn.metrics")

from pipelines import blood_pressure
from pipelines.blood_pressure import BloodPressure
from tfseq import runtime
from tfseq.data import load_table
from tfseq.training import SupervisedSettings

TINY = BloodPressure(hidden=(8,), training=SupervisedSettings(epochs=12, batch=16, learning_rate=0.03), folds=2)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two numbers, the second large, whose product decides: no straight line does."""
    folder = tmp_path_factory.mktemp("pipeline")
    numbers = np.random.default_rng(0).normal(size=(300, 2)) * [1.0, 100.0]
    rows = [f"{a:.3f},{b:.3f},{'over' if a * b > 0 else 'below'}" for a, b in numbers]
    (folder / "products.csv").write_text("\n".join(["first,second,sign", *rows]), encoding="utf-8")
    before = os.getcwd()
    os.chdir(folder)
    try:
        blood_pressure.main(replace(TINY, data=folder / "products.csv", dropout=0.0, name="products"))
    finally:
        os.chdir(before)
    return folder


def test_the_file_takes_numbers_as_they_are_and_names_the_class(run):
    file = runtime.load(run / "exported" / "products" / "model.onnx")
    answers = file.classify(np.array([[1.5, 150.0], [1.5, -150.0], [-1.5, -150.0]], "float32"))
    assert [answer.name for answer in answers] == ["over", "below", "over"]


def test_scores_are_those_of_the_file_on_the_test_part_and_of_the_peer(run):
    file = runtime.load(run / "exported" / "products" / "model.onnx")
    data = load_table(run / "products.csv")
    expected = metrics.roc_auc_score(data.test.targets, np.asarray(file.predict(data.test.inputs))[:, 0])
    recorded = file.manifest.provenance["data"]
    assert recorded["test_roc_auc"] == pytest.approx(expected, abs=1e-4)
    assert recorded["test_roc_auc"] > 0.85
    assert recorded["logistic_regression_test_roc_auc"] < 0.7  # a straight line
    assert recorded["roc_auc_of_2_folds"] > recorded["logistic_regression_roc_auc_of_2_folds"]
    assert recorded["columns"] == ["first", "second"]


def test_the_card_says_who_was_asked_about(run):
    card = (run / "exported" / "products" / "card.md").read_text(encoding="utf-8")
    assert "first " in card
    assert "truly " in card
    assert str(run) not in card


def test_the_defaults_read_no_file():
    for preset in (blood_pressure.QUICK, blood_pressure.FULL):
        assert (preset.data, preset.name) == (None, "blood_pressure")
