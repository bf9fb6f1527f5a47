"""Who of nine speaks: the recurrent classifier beside classifiers that are no networks, on the official split.

    pip install -e ".[train-cpu,data]"
    python -m benchmarks.series_classification [DIRECTORY]     # JapaneseVowels; that of sktime or aeon by default

Ours learns from 216 of the 270 training utterances and keeps the epoch that does best on the other 54; the peers learn
from all 270. What the peers may choose, they choose by cross-validation there. Every seed is shown.
"""

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tfseq.data.optional_packages import import_package

SEEDS = range(5)
STEPS = 10


def support_vectors_accuracy(known: Sequence[np.ndarray], classes, series: Sequence[np.ndarray], true) -> float:
    """An SVM (RBF) that sees each series at ten evenly spaced times, by linear interpolation."""
    selection, pipeline, scaling, machines = (
        import_package(f"sklearn.{module}", "scikit-learn", "Support vectors, to compare with")
        for module in ("model_selection", "pipeline", "preprocessing", "svm")
    )
    grid = {"svc__C": [1, 10, 100], "svc__gamma": [0.001, 0.003, 0.01]}
    steps = pipeline.make_pipeline(scaling.StandardScaler(), machines.SVC())
    search = selection.GridSearchCV(steps, grid, cv=5)
    return float(search.fit(_at_even_times(known), classes).score(_at_even_times(series), true))


def _at_even_times(series: Sequence[np.ndarray]) -> np.ndarray:
    """(series, STEPS * dimensions)."""
    rows = []
    for x in series:
        times = np.linspace(0, len(x) - 1, STEPS)
        rows.append(np.concatenate([np.interp(times, np.arange(len(x)), dimension) for dimension in x.T]))
    return np.array(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?", help="with JapaneseVowels_TRAIN.ts and JapaneseVowels_TEST.ts")
    directory = parser.parse_args().directory

    from pipelines.series_classification import FULL, accuracy, fit, nearest_neighbour_accuracy
    from tfseq.data import japanese_vowels
    from tfseq.training import one_stream_per_core

    one_stream_per_core()
    data = japanese_vowels(directory)
    known = [*data.train.inputs, *data.validation.inputs]
    classes = np.concatenate([data.train.targets, data.validation.targets])
    ours = []
    for seed in SEEDS:
        settings = replace(FULL, seed=seed, training=replace(FULL.training, seed=seed))
        with TemporaryDirectory() as run:
            ours.append(accuracy(fit(settings, data.train, data.validation, len(data.labels), Path(run)), data.test))
    peers = {
        "nearest neighbour by dynamic time warping": nearest_neighbour_accuracy(data),
        "support vectors on ten times": support_vectors_accuracy(known, classes, *data.test),
    }
    print(f"\n{data.source}, {len(data.test)} test series\n\n| | accuracy | |\n|---|---|---|")
    each = ", ".join(f"{a:.1%}" for a in ours)
    print(f"| tfseq, {len(ours)} seeds | {statistics.mean(ours):.1%} | {each} |")
    for name, score in peers.items():
        print(f"| {name} | {score:.1%} | |")


if __name__ == "__main__":
    main()
