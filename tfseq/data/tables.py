"""Tabular data for binary classification: blood pressures of scikit-learn's diabetes data, or a CSV file."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfseq.data.dataset import DataSet, split_by_class
from tfseq.data.files import decode, read_bytes, sha256
from tfseq.data.optional_packages import import_package, package_version
from tfseq.errors import DataError

SEED = 0
VALIDATION, TEST = 0.15, 0.25  # shares: of what the test part left, and of all

# Mean arterial pressure is the diastolic one and a third of what the systolic one is above it; hypertension begins at
# 130/80 mmHg (Whelton et al., 2018, the guideline of the ACC and AHA).
HIGH = 80 + (130 - 80) / 3

_MEASURED = {
    "age": "age",
    "sex": "sex",
    "bmi": "body mass index",
    "s1": "cholesterol",
    "s2": "LDL",
    "s3": "HDL",
    "s4": "cholesterol / HDL",
    "s5": "log of triglycerides",
    "s6": "glucose",
}


@dataclass(frozen=True, eq=False)
class Table(DataSet):
    """Classified rows of numbers: inputs (rows, columns) float32 as they were measured, targets (rows,) int32.

    Attributes:
        columns: what each number of a row is.
    """

    columns: tuple[str, ...] = ()


def blood_pressure() -> Table:
    """Is a person's blood pressure high or normal? 442 people of scikit-learn's diabetes data (Efron et al., 2004).

    Nine numbers each: age in years, sex (1 or 2), body mass index in kg/m2 and six measurements of blood serum. The
    target is whether the mean arterial pressure, which is left out of the inputs, is `HIGH` or above, in mmHg.

    Raises:
        DataError: scikit-learn is not installed.
    """
    library = import_package("sklearn.datasets", "scikit-learn", "The blood pressures: scikit-learn's diabetes data")
    people = library.load_diabetes(scaled=False)
    names = list(people.feature_names)
    inputs = people.data[:, [names.index(name) for name in _MEASURED]].astype("float32")
    targets = (people.data[:, names.index("bp")] >= HIGH).astype("int32")
    source = f"sklearn.datasets.load_diabetes of scikit-learn {package_version('scikit-learn')}"
    digest = sha256([inputs.tobytes(), targets.tobytes()])
    return _table("blood_pressure", inputs, targets, source, digest, ("normal", "high"), tuple(_MEASURED.values()))


def load_table(path: Path | str) -> Table:
    """A CSV file: a line of column names, then numbers, and the class in the last column, one of two.

    The classes count in their order as text: the second is the one whose probability a model gives. The rows are split
    as `blood_pressure` is: a quarter to test on, 15 % of the rest to validate on.

    Raises:
        DataError: the file can't be read, a line has no number where one should be, or there are not two classes.
    """
    path = Path(path)
    content = read_bytes(path, "a CSV file with a line of column names")
    lines = [line for line in csv.reader(decode(content, path).splitlines()) if line]
    if len(lines) < 2 or len(lines[0]) < 2:
        raise DataError(f"{path} has no row of numbers; expected a line of column names, rows, a class at the end.")
    (*columns, _), *rows = lines
    numbers = np.zeros((len(rows), len(columns)), "float32")
    for at, row in enumerate(rows):
        try:
            numbers[at] = [float(value) for _, value in zip(columns, row[:-1], strict=True)]
        except ValueError as error:
            raise DataError(
                f"{path}, row {at + 1}: {error}. Expected {len(columns)} numbers ({', '.join(columns)}) and a class."
            ) from error
    classes = [row[-1].strip() for row in rows]
    labels = tuple(sorted(set(classes)))
    if len(labels) != 2:
        found = ", ".join(labels[:5]) + (" and more" if len(labels) > 5 else "")
        raise DataError(f"The last column of {path} has {len(labels)} classes, {found}; expected two.")
    targets = np.array([labels.index(name) for name in classes], "int32")
    return _table(path.stem, numbers, targets, f"file {path.name}", sha256([content]), labels, tuple(columns))


def _table(name, inputs, targets, source, digest, labels, columns) -> Table:
    parts = split_by_class(inputs, targets, VALIDATION, TEST, SEED)
    return Table(name, *parts, source, digest, labels, columns)
