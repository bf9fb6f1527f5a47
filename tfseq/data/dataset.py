"""Data sets of train, validation and test parts with their provenance; stratified splits and folds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfseq.data.optional_packages import import_package
from tfseq.errors import DataError


@dataclass(frozen=True, eq=False)
class Part:
    """Examples of one part of a data set.

    Attributes:
        inputs: one per example: an array (examples, ...), or a list where lengths differ or examples are texts.
        targets: the expected output of each, in the same forms.
    """

    inputs: Any
    targets: Any

    def __len__(self) -> int:
        return len(self.inputs)

    def __iter__(self):
        """Unpacks: `inputs, targets = data.train`."""
        return iter((self.inputs, self.targets))


@dataclass(frozen=True, eq=False)
class DataSet:
    """Three parts without a common example.

    Attributes:
        name: a short name.
        train: to learn from.
        validation: to choose settings and weights by.
        test: to report on, once.
        source: what was read, for people: never a path of this machine.
        sha256: of the bytes of the files, or of the examples where a package made them.
        labels: names of the classes that integer targets count; empty where targets are something else.
    """

    name: str
    train: Part
    validation: Part
    test: Part
    source: str
    sha256: str
    labels: tuple[str, ...] = ()

    def provenance(self) -> dict[str, str | int]:
        """What an exported model says of its data: JSON values only."""
        sizes = {f"{part}_examples": len(getattr(self, part)) for part in ("train", "validation", "test")}
        return {"name": self.name, "source": self.source, "sha256": self.sha256} | sizes


def stratified_split(
    labels: Sequence[int] | np.ndarray, held_out: int | float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Shuffles examples into two parts with the same shares of each class.

    The same as scikit-learn's `train_test_split(..., test_size=held_out, stratify=labels, random_state=seed)`.

    Args:
        labels: class of each example, (examples,).
        held_out: examples in the second part, or their share.
        seed: of the shuffle.

    Returns:
        indices of the first part and of the second.

    Raises:
        DataError: there are too few examples of some class, or scikit-learn is missing.
    """
    selection = import_package("sklearn.model_selection", "scikit-learn", "Splitting examples by class")
    try:
        first, second = selection.train_test_split(
            np.arange(len(labels)), test_size=held_out, stratify=np.asarray(labels), random_state=seed
        )
    except ValueError as error:
        reason = str(error).rstrip(".")
        raise DataError(
            f"{len(labels)} examples can't be split with {held_out} held out: {reason}. Give more of each class."
        ) from error
    return first, second


def stratified_folds(
    labels: Sequence[int] | np.ndarray, folds: int = 10, seed: int = 0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Folds for cross-validation, the same on every machine: each example is tested on exactly once.

    The same as scikit-learn's `StratifiedKFold(folds, shuffle=True, random_state=seed)`.

    Args:
        labels: class of each example, (examples,).
        folds: how many.
        seed: of the shuffle.

    Returns:
        (indices to train on, indices to test on) per fold.

    Raises:
        DataError: a class has fewer examples than there are folds, or scikit-learn is missing.
    """
    labels = np.asarray(labels)
    _, counts = np.unique(labels, return_counts=True)
    if folds < 2 or len(labels) == 0 or counts.min() < folds:
        fewest = counts.min() if len(labels) else 0
        raise DataError(f"{folds} folds of classes with {fewest} examples or more; expected 2 folds to {fewest}.")
    selection = import_package("sklearn.model_selection", "scikit-learn", "Splitting examples by class")
    splitter = selection.StratifiedKFold(folds, shuffle=True, random_state=seed)
    return list(splitter.split(np.zeros(len(labels)), labels))


def split_by_class(
    inputs: Any, targets: np.ndarray, validation: int | float, test: int | float, seed: int = 0
) -> tuple[Part, Part, Part]:
    """Train, validation and test parts of classified examples: first the test part is drawn, then the validation part.

    Args:
        inputs: an array or list, one per example.
        targets: class of each, (examples,) integers.
        validation: examples in this part, or their share of what the test part left.
        test: examples in this part, or their share.
        seed: of both shuffles.
    """
    rest, test_rows = stratified_split(targets, test, seed)
    train_rows, validation_rows = (rest[rows] for rows in stratified_split(targets[rest], validation, seed))
    return (
        rows_of(inputs, targets, train_rows),
        rows_of(inputs, targets, validation_rows),
        rows_of(inputs, targets, test_rows),
    )


def rows_of(inputs: Any, targets: Any, rows: np.ndarray) -> Part:
    """The examples of these indices, in this order."""
    return Part(_taken(inputs, rows), _taken(targets, rows))


def _taken(values, rows):
    return values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows]
