"""One to one: nine numbers about a person to high or normal blood pressure, by a dense network with a sigmoid.

Learns from: diabetes data; a CSV file.
Makes: a classifier of tables.
Quick: 25 s.

    python -m pipelines.blood_pressure quick               # scikit-learn's diabetes data
    python -m pipelines.blood_pressure full                # the same, and ten folds beside logistic regression
    python -m pipelines.blood_pressure quick --data FILE   # CSV: column names, numbers, one of two classes at the end
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import keras
import numpy as np

from pipelines.parts.presets import run_with_presets
from pipelines.parts.publish import publish
from pipelines.parts.runs import run_folder
from tfseq.data import Part, blood_pressure, load_table, shuffled_batches, stratified_folds
from tfseq.data.dataset import rows_of
from tfseq.data.optional_packages import import_package
from tfseq.data.tables import Table
from tfseq.models import DenseClassifier
from tfseq.training import SupervisedSettings, one_stream_per_core, train
from tfseq.training.setting_ranges import CheckedSettings, CountOrNone, Name, ShareBelowOne, Size

SHOWN = 5  # people on the card


@dataclass(frozen=True)
class BloodPressure(CheckedSettings):
    """Settings of one run.

    Attributes:
        data: a CSV file with two classes in its last column; the default is scikit-learn's diabetes data.
        hidden: units of each hidden layer.
        activation: of the hidden layers.
        dropout: rate on the hidden layers' output.
        folds: of a cross-validation of all rows, beside logistic regression on the same folds; 0 for none.
        training: how to train.
        name: of the artefact, in exported/.
        resume: go on with the run of this name where it was interrupted.
    """

    data: Path | None = None
    hidden: tuple[Size, ...] = (16,)
    activation: Literal["tanh", "relu", "gelu"] = "tanh"
    dropout: ShareBelowOne = 0.5
    folds: CountOrNone = 0
    training: SupervisedSettings = field(
        default_factory=lambda: SupervisedSettings(epochs=40, batch=32, learning_rate=1e-2, weight_decay=0.3)
    )
    name: Name = "blood_pressure"
    resume: bool = False


QUICK = BloodPressure()
FULL = BloodPressure(folds=10)


def main(settings: BloodPressure) -> None:
    one_stream_per_core(settings.training.batch)
    data = blood_pressure() if settings.data is None else load_table(settings.data)
    print(
        f"{data.source}: {len(data.train)} rows to learn from, {len(data.test)} to test on: {', '.join(data.columns)}"
    )
    run = run_folder(settings.name)
    model = fitted(settings, data.train, data.validation, run, settings.resume, {"data": data.sha256})
    known = Part(*(np.concatenate(pair) for pair in zip(data.train, data.validation)))  # the peer needs no validation
    scores = {
        "test_roc_auc": roc_auc(data.test.targets, answers(model, data.test.inputs)),
        "logistic_regression_test_roc_auc": roc_auc(data.test.targets, logistic_regression(known, data.test.inputs)),
    }
    if settings.folds:
        scores |= cross_validated(settings, data, run)
    print("\n".join(f"{name.replace('_', ' ')}: {score:.4f}" for name, score in scores.items()))
    publish(
        model,
        settings.name,
        what=f"Dense classifier: {' and '.join(map(str, settings.hidden)) or 'no'} hidden units, a sigmoid",
        data=data.provenance() | {"columns": list(data.columns)},
        scores=scores,
        settings=settings,
        run=run,
        sample=lambda file: said_of(file, data),
        labels=data.labels,
        samples=[data.test.inputs],
    )


def fitted(
    settings: BloodPressure, learn: Part, choose: Part, run: Path, resume=False, identity=None
) -> DenseClassifier:
    """A model that learned from one part, with the weights of its best epoch on another."""
    batch, seed = settings.training.batch, settings.training.seed
    keras.utils.set_random_seed(seed)
    model = DenseClassifier(settings.hidden, settings.activation, settings.dropout, name="blood_pressure")
    model.normalize.adapt(learn.inputs)
    train(
        model,
        shuffled_batches(learn.inputs, learn.targets[:, None], batch, seed=seed),
        shuffled_batches(choose.inputs, choose.targets[:, None], batch, seed=None)(0),
        settings.training,
        run,
        loss=keras.losses.BinaryCrossentropy(),
        monitor="loss",
        resume=resume,
        identity={"model": model.get_config()} | (identity or {}),
        verbose=0,
    )
    return model


def cross_validated(settings: BloodPressure, data: Table, run: Path) -> dict[str, float]:
    """Mean ROC AUC of the folds, each answered by models that never saw it.

    Both learn from all other folds: no row is kept to choose an epoch by, so ours is about the last one.
    """
    inputs, targets = (np.concatenate(parts) for parts in zip(data.train, data.validation, data.test))
    ours, theirs = [], []
    for fold, (known, asked) in enumerate(stratified_folds(targets, settings.folds, settings.training.seed)):
        learn = rows_of(inputs, targets, known)
        model = fitted(settings, learn, learn, run / f"fold_{fold}")
        ours.append(roc_auc(targets[asked], answers(model, inputs[asked])))
        theirs.append(roc_auc(targets[asked], logistic_regression(learn, inputs[asked])))
    means = {"roc_auc": ours, "logistic_regression_roc_auc": theirs}
    return {f"{name}_of_{settings.folds}_folds": float(np.mean(values)) for name, values in means.items()}


def answers(model: DenseClassifier, inputs: np.ndarray) -> np.ndarray:
    """Probabilities, (rows,)."""
    return np.asarray(model(inputs))[:, 0]


def logistic_regression(known: Part, asked: np.ndarray) -> np.ndarray:
    """The peer's probabilities, (rows,): scikit-learn's, with its default regularization, on standardized numbers."""
    pipeline, linear, scaling = (
        import_package(f"sklearn.{module}", "scikit-learn", "Logistic regression, to compare with")
        for module in ("pipeline", "linear_model", "preprocessing")
    )
    peer = pipeline.make_pipeline(scaling.StandardScaler(), linear.LogisticRegression())
    return peer.fit(known.inputs, known.targets).predict_proba(asked)[:, 1]


def roc_auc(targets: np.ndarray, probabilities: np.ndarray) -> float:
    metrics = import_package("sklearn.metrics", "scikit-learn", "The ROC AUC")
    return float(metrics.roc_auc_score(targets, probabilities))


def said_of(file, data: Table) -> str:
    """A few people of the test part, and what the file says of them."""
    inputs, targets = data.test.inputs[:SHOWN], data.test.targets[:SHOWN]

    def line(numbers, answer, target):
        about = ", ".join(f"{name} {number:g}" for name, number in zip(data.columns, numbers))
        return f"{about}: {answer}, truly {data.labels[target]}"

    return "\n".join(line(*row) for row in zip(inputs, file.classify(inputs), targets))


if __name__ == "__main__":
    run_with_presets(main, quick=QUICK, full=FULL)
