"""Tabular data for binary classification: scikit-learn's diabetes data, and CSV files."""

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn.datasets")

from tfseq.data import blood_pressure, load_table
from tfseq.errors import DataError


def test_people_are_told_by_everything_but_their_blood_pressure():
    data = blood_pressure()
    people = sklearn.load_diabetes(scaled=False)
    order = ["age", "sex", "bmi", "s1", "s2", "s3", "s4", "s5", "s6"]
    expected = people.data[:, [people.feature_names.index(name) for name in order]].astype("float32")
    pressure = people.data[:, people.feature_names.index("bp")]
    rows = {row.tobytes(): bp for row, bp in zip(expected, pressure)}
    parts = (data.train, data.validation, data.test)
    assert sum(len(part) for part in parts) == 442
    for part in parts:
        pressures = np.array([rows[row.tobytes()] for row in part.inputs])
        np.testing.assert_array_equal(part.targets, pressures > 96.6)  # 130/80: 80 and a third of 50
    assert data.labels == ("normal", "high")
    assert (data.columns[0], data.columns[2], len(data.columns)) == ("age", "body mass index", 9)
    shares = [part.targets.mean() for part in (data.train, data.test)]
    assert abs(shares[0] - shares[1]) < 0.01


def written(folder, rows, header="weight,height,answer"):
    path = folder / "people.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_a_csv_file_is_read_as_it_is(tmp_path):
    rows = [f"{i},{i / 2},{'yes' if i % 2 else 'no'}" for i in range(40)]
    data = load_table(written(tmp_path, rows))
    assert (data.columns, data.labels, data.source) == (("weight", "height"), ("no", "yes"), "file people.csv")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [25, 5, 10]
    for inputs, targets in (data.train, data.validation, data.test):
        np.testing.assert_array_equal(inputs[:, 1], inputs[:, 0] / 2)
        np.testing.assert_array_equal(targets, inputs[:, 0] % 2)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no row of numbers"),
        (["1,2,a", "1,two,b"], "row 2: .*two.* Expected 2 numbers"),
        (["1,2,a", "1,b"], "row 2: .*Expected 2 numbers .weight, height. and a class"),
        (["1,2,a", "1,2,a"], "has 1 classes, a; expected two"),
        (["1,2,a", "1,2,b", "1,2,c"], "has 3 classes, a, b, c; expected two"),
        (["1,2,a", "1,2,b"], "can't be split"),
    ],
)
def test_other_files_are_refused(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        load_table(written(tmp_path, rows))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="There is no file"):
        load_table(tmp_path / "nothing.csv")
