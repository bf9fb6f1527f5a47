"""Stratified splits and folds: those of scikit-learn, the same everywhere; a missing package is named."""

import json
import sys

import numpy as np
import pytest

from tfseq.data import (
    DataSet,
    Part,
    addition,
    dates,
    japanese_vowels,
    languages,
    load_images,
    load_tunes,
    number_words,
    stratified_folds,
    stratified_split,
    sunspots,
)
from tfseq.errors import DataError

LABELS = np.array([0] * 30 + [1] * 20)


def test_a_split_has_the_shares_of_each_class_and_loses_nothing():
    rest, held_out = stratified_split(LABELS, 10)
    assert np.bincount(LABELS[held_out]).tolist() == [6, 4]
    assert sorted([*rest, *held_out]) == list(range(50))


def test_folds_test_on_every_example_once():
    folds = stratified_folds(LABELS, 10)
    assert sorted(row for _, test in folds for row in test) == list(range(50))
    assert all(np.bincount(LABELS[test]).tolist() == [3, 2] for _, test in folds)
    assert all(not set(train) & set(test) and len(train) == 45 for train, test in folds)


def test_folds_are_the_same_on_every_machine_and_differ_by_seed():
    assert [row.tolist() for row in stratified_folds([0] * 4 + [1] * 4, 4)[0]] == [[0, 1, 2, 5, 6, 7], [3, 4]]
    assert not np.array_equal(stratified_folds(LABELS, 5, seed=1)[0][1], stratified_folds(LABELS, 5, seed=0)[0][1])


def test_too_few_examples_are_refused():
    with pytest.raises(DataError, match=r"3 folds .* expected 2 folds to 2"):
        stratified_folds([0, 0, 0, 1, 1], 3)
    with pytest.raises(DataError, match="can't be split"):
        stratified_split([0, 0, 1], 1)


def test_provenance_is_json_with_the_sizes_of_the_parts():
    data = DataSet("toy", Part([1, 2], [0, 1]), Part([3], [0]), Part([4], [1]), "a file", "00")
    assert json.loads(json.dumps(data.provenance())) == {
        "name": "toy",
        "source": "a file",
        "sha256": "00",
        "train_examples": 2,
        "validation_examples": 1,
        "test_examples": 1,
    }
    inputs, targets = data.train
    assert (inputs, targets) == ([1, 2], [0, 1])


@pytest.mark.parametrize(
    ("load", "module", "package"),
    [
        (load_images, "sklearn.datasets", "scikit-learn"),
        (languages, "music21", "music21"),
        (load_tunes, "music21", "music21"),
        (sunspots, "statsmodels.datasets", "statsmodels"),
        (dates, "babel", "Babel"),
        (number_words, "num2words", "num2words"),
    ],
)
def test_a_missing_package_is_named_with_what_installs_it(monkeypatch, load, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError, match=rf'needs {package}, which is not installed: pip install "tfseq\[data\]"'):
        load()


def test_the_vowels_come_with_either_of_two_packages(monkeypatch):
    for package in ("sktime", "aeon"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DataError, match="needs sktime"):
        japanese_vowels()


def test_sizes_that_can_not_be_are_refused():
    with pytest.raises(DataError, match="expected three numbers of sums"):
        addition((50, 5, 5), digits=1)
