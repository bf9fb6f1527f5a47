"""Time series: a chronological split of the sunspots, and the official split of the spoken vowels."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from tfseq.data import japanese_vowels, sunspots
from tfseq.data.time_series import read_ts, windows
from tfseq.errors import DataError

HEADER = "#comment\n@dimensions 2\n@classLabel true a b\n@data\n"


def test_windows_by_hand():
    part = windows(np.arange(6.0), past=2, ahead=1, begin=3)
    np.testing.assert_array_equal(part.inputs[..., 0], [[1, 2], [2, 3], [3, 4]])
    np.testing.assert_array_equal(part.targets, [[3], [4], [5]])
    assert len(windows(np.arange(6.0), past=2, ahead=2)) == 3
    assert len(windows(np.arange(6.0), past=6, ahead=1)) == 0


def test_sunspots_are_forecast_in_the_order_of_time():
    statsmodels = pytest.importorskip("statsmodels.datasets")
    data = sunspots(past=11, ahead=3)
    table = statsmodels.sunspots.load_pandas().data.set_index("YEAR")["SUNACTIVITY"]
    assert [len(part) for part in (data.train, data.validation, data.test)] == [1900 - 1711 - 2, 48, 57]
    np.testing.assert_allclose(data.validation.targets[0], table.loc[1900:1902])
    np.testing.assert_allclose(data.validation.inputs[0, :, 0], table.loc[1889:1899])
    np.testing.assert_allclose(data.train.targets[-1], table.loc[1897:1899])
    np.testing.assert_allclose(data.test.targets[-1], table.loc[2006:2008])
    with pytest.raises(DataError, match="expected years between 1700 and 2008"):
        sunspots(test_from=2020)


def test_vowels_of_nine_speakers():
    pytest.importorskip("sktime")
    data = japanese_vowels()
    assert [len(part) for part in (data.train, data.validation, data.test)] == [216, 54, 370]
    counts = [31, 35, 88, 44, 29, 24, 40, 50, 29]  # of the test part, as the UCI archive states them
    assert np.bincount(data.test.targets).tolist() == counts
    assert np.bincount(data.train.targets).tolist() == [24] * 9
    lengths = [len(series) for part in (data.train, data.validation, data.test) for series in part.inputs]
    assert (min(lengths), max(lengths)) == (7, 29)
    assert all(series.shape[1] == 12 and series.dtype == np.float32 for series in data.train.inputs)
    assert data.labels[0] == "speaker 1"


def test_a_small_ts_file(tmp_path):
    path = tmp_path / "x.ts"
    path.write_text(f"{HEADER}1,2,3:4,5,6:b\n7:8:a\n")
    series, targets, labels = read_ts(path)
    np.testing.assert_array_equal(series[0], [[1, 4], [2, 5], [3, 6]])
    np.testing.assert_array_equal(series[1], [[7, 8]])
    assert (targets.tolist(), labels) == ([1, 0], ("a", "b"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("nothing", "not in the .ts format"),
        (f"{HEADER}1,2:3,4:a\n1,2:3:b\n", "line 6: .*dimensions of equal length"),
        (f"{HEADER}1,x:3,4:a\n", "line 5: .*numbers divided by commas"),
        (f"{HEADER}1,2:3,4:c\n", "line 5: .*one of a, b"),
    ],
)
def test_damaged_ts_files_are_refused(tmp_path, content, message):
    (tmp_path / "JapaneseVowels_TRAIN.ts").write_text(content)
    with pytest.raises(DataError, match=message):
        japanese_vowels(tmp_path)
