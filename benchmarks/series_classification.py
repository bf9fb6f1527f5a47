"""Accuracy on JapaneseVowels (nine speakers): the recurrent classifier beside nearest neighbour and SVM.

    pip install -e ".[train-cpu,data]"
    python -m benchmarks.series_classification [DIRECTORY]     # JapaneseVowels; that of sktime or aeon by default

On the official split. Ours learns from 216 of the 270 training utterances and keeps the epoch that does best on the
other 54; the peers learn from all 270. What the peers may choose, they choose by cross-validation there. Every seed is
shown.
"""

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.harness.machine import machine
from benchmarks.harness.rounds import Run, failed_lines, require_any, run_here, values
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
    from tfseq.terminal import one_line_errors
    from tfseq.training import one_stream_per_core

    one_stream_per_core()
    with one_line_errors("series_classification"):
        data = japanese_vowels(directory)
    known = [*data.train.inputs, *data.validation.inputs]
    classes = np.concatenate([data.train.targets, data.validation.targets])

    def trained(seed: int) -> float:
        settings = replace(FULL, seed=seed, training=replace(FULL.training, seed=seed))
        with TemporaryDirectory() as run:
            return accuracy(fit(settings, data.train, data.validation, len(data.labels), Path(run)), data.test)

    results: dict[str, list[Run]] = {
        f"tfseq, {len(SEEDS)} seeds": [run_here("accuracy", partial(trained, seed)) for seed in SEEDS],
        "nearest neighbour by dynamic time warping": [run_here("accuracy", lambda: nearest_neighbour_accuracy(data))],
        "SVM on ten interpolated times": [
            run_here("accuracy", lambda: support_vectors_accuracy(known, classes, *data.test))
        ],
    }
    require_any(results)
    print(machine(), f"{data.source}, {len(data.test)} test series", "| | accuracy | |\n|---|---|---|", sep="\n\n")
    for name, runs in results.items():
        scores = values(runs, "accuracy")
        mean = f"{statistics.mean(scores):.1%}" if scores else ""
        each = ", ".join(f"{score:.1%}" for score in scores) if len(scores) > 1 else ""
        print(f"| {name} | {mean} | {each} |")
    print(*failed_lines(results), sep="\n")


if __name__ == "__main__":
    main()
