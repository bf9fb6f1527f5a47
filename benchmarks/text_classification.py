"""Accuracy on rt-polarity by ten folds: naive Bayes and logistic regression on words and bigrams, the peers of ours.

    pip install -e ".[train-cpu,data]"
    python -m benchmarks.text_classification DIRECTORY      # with rt-polarity.neg and rt-polarity.pos
    python -m pipelines.text_classification full --data DIRECTORY      # ours, on the same ten folds
    python -m pipelines.text_classification full_transformer --data DIRECTORY

The peers learn from nine tenths; ours keeps a tenth of those to choose the epoch by. All read the same words.
"""

import argparse
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.failures import Failure, attempt
from benchmarks.harness.machine import machine
from benchmarks.harness.rounds import Run, failed_lines, require_any, run_here, values
from tfseq.data.optional_packages import import_package

FOLDS = 10


def peers() -> dict[str, Callable[[], Any]]:
    """Classifiers of counts, by name; all count whether a text has a word or pair, not how often."""
    text, linear, bayes, pipeline = (
        import_package(f"sklearn.{module}", "scikit-learn", "Classifiers of counts")
        for module in ("feature_extraction.text", "linear_model", "naive_bayes", "pipeline")
    )

    def counts(longest):
        return text.CountVectorizer(analyzer=lambda words: _up_to(words, longest), binary=True)

    return {
        "naive Bayes on words": lambda: pipeline.make_pipeline(counts(1), bayes.MultinomialNB()),
        "naive Bayes on words and pairs": lambda: pipeline.make_pipeline(counts(2), bayes.MultinomialNB()),
        "logistic regression on words and pairs": lambda: pipeline.make_pipeline(
            counts(2), linear.LogisticRegression(C=0.1, max_iter=300)
        ),
        "logistic regression on log-count ratios of words and pairs": lambda: pipeline.make_pipeline(
            counts(2), RatioOfCounts(), linear.LogisticRegression(max_iter=300)
        ),
    }


class RatioOfCounts:
    """Scales each count by its log-count ratio: what NBSVM's classifier sees (Wang and Manning, 2012)."""

    def fit(self, counts, labels):
        p, q = (1 + np.asarray(counts[labels == label].sum(0)) for label in (1, 0))
        self.ratios = np.log(p / p.sum() / (q / q.sum()))
        return self

    def transform(self, counts):
        return counts.multiply(self.ratios).tocsr()

    def fit_transform(self, counts, labels):
        return self.fit(counts, labels).transform(counts)


def _up_to(words: Sequence[int], longest: int) -> list[tuple[int, ...]]:
    return [tuple(words[i : i + n]) for n in range(1, longest + 1) for i in range(len(words) - n + 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="with rt-polarity.neg and rt-polarity.pos")
    directory = parser.parse_args().directory

    from tfseq.data import rt_polarity
    from tfseq.data.tokenizers import reading_tokenizer
    from tfseq.terminal import one_line_errors

    classifiers = attempt(peers)
    if isinstance(classifiers, Failure):
        raise SystemExit(f"Nobody could run: {classifiers.reason}.")
    results: dict[str, list[Run]] = {name: [] for name in classifiers}
    for fold in range(FOLDS):
        with one_line_errors("text_classification"):
            data = rt_polarity(directory, fold, FOLDS)
        texts = [*data.train.inputs, *data.validation.inputs]
        tokenizer = reading_tokenizer(texts * 2, 10**6)  # twice, so that none is unknown for being found once
        known, held_out = ([tokenizer.encode(text).tolist() for text in part] for part in (texts, data.test.inputs))
        labels = np.concatenate([data.train.targets, data.validation.targets])
        for name, classifier in classifiers.items():
            score = partial(_accuracy, classifier(), known, labels, held_out, data.test.targets)
            results[name].append(run_here("accuracy", score))
    require_any(results)
    print(machine(), f"| {FOLDS} folds of rt-polarity | mean accuracy | deviation |\n|---|---|---|", sep="\n\n")
    for name, runs in results.items():
        scores = values(runs, "accuracy")
        cells = f"{statistics.mean(scores):.1%} | {statistics.pstdev(scores):.1%}" if scores else " | "
        print(f"| {name} | {cells} |")
    print(*failed_lines(results), sep="\n")


def _accuracy(classifier: Any, known: Any, labels: Any, held_out: Any, right: Any) -> float:
    return classifier.fit(known, labels).score(held_out, right)


if __name__ == "__main__":
    main()
